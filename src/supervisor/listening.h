/* supervisor/listening.h - listening TCP sockets as the kernel knows them: probe, bind, steer.
 * The sockets of one address form a reuseport group, one for each worker slot. A small packet
 * program says which members get new connections, so that a member is taken out of service without
 * losing one: first steered away from, then its queue is emptied, then it is closed.
 * Sources: tcp(7) TCP_DEFER_ACCEPT; sock_diag(7); linux/net/ipv4/inet_connection_sock.c; socket(7)
 * SO_REUSEPORT and SO_ATTACH_REUSEPORT_CBPF; linux/net/core/sock_reuseport.c:
 * members are numbered in the order in which they began to listen, and the last takes the number
 * of one that closes. */
#ifndef VF_SUPERVISOR_LISTENING_H
#define VF_SUPERVISOR_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"

enum {
    VF_LISTENING_TEXT_BYTES = 56,
    VF_LISTENING_MEMBERS = 64,
    /* Who has begun to connect is in the queue after this time, once nobody is sent to a socket any
     * more and it defers nobody: a handshake takes a round trip, and the kernel asks a client that
     * it had deferred again a second after its handshake (some 1.1 s, as exact as its timers are),
     * and takes the answer, a round trip later. */
    VF_LISTENING_SETTLE_MS = 2500
};

/* Writes "127.0.0.1:8000" or "[::1]:8000", NUL-terminated. */
void vf_listening_format(const struct vf_snap_address *address, char out[VF_LISTENING_TEXT_BYTES]);

/* Returns true when both are the same address and port. */
bool vf_listening_same(const struct vf_snap_address *a, const struct vf_snap_address *b);

/* Tries whether nobody listens on `address` by binding a socket without SO_REUSEPORT, which is
 * closed again. Returns 0 or -errno (EADDRINUSE, EACCES, EADDRNOTAVAIL, ...). Port 0 is free. */
int vf_listening_probe(const struct vf_snap_address *address);

/* Binds and listens with SO_REUSEPORT: non-blocking, close-on-exec, IPv6 without IPv4. Returns the
 * descriptor, owned by the caller, and stores what was bound in *bound (the port, if it was 0);
 * or -errno. */
int vf_listening_open(const struct vf_snap_address *address, struct vf_snap_address *bound);

/* Spreads new connections of the group of `fd` over the members whose numbers are in `members`
 * (1 .. VF_LISTENING_MEMBERS of them). Returns 0 or -errno. */
int vf_listening_steer(int fd, const uint8_t *members, size_t n_members);

/* Drops the opening packets of new connections to `fd` (a client tries again a second later, and
 * finds a successor or nobody), while handshakes under way are finished; or stops doing so. Returns
 * 0 or -errno. */
int vf_listening_refuse(int fd, bool refuse);

/* Lets connections to `fd` wait in the kernel until their first bytes come, or about a second have
 * passed since their handshake; or stops doing so, which those that wait notice within a second.
 * They are in no queue meanwhile: when `fd` is closed they are reset. Only for protocols in which
 * the client speaks first. Returns 0 or -errno. */
int vf_listening_defer(int fd, bool defer);

/* Returns 1 when connections to `address` are on the way to a queue (handshakes under way, and who
 * is deferred), 0 when none is, or -errno when the kernel does not say. */
int vf_listening_is_awaited(const struct vf_snap_address *address);

/* Returns what a person should read about the failure `rc` of probe or open. Static memory. */
const char *vf_listening_fault(int rc);

#endif

/* supervisor/listening.h - listening TCP sockets as the kernel knows them: probe, bind, steer.
 * The sockets of one address form a reuseport group, one for each worker slot. A small packet
 * program says which members get new connections, so that a member is taken out of service without
 * losing one: first steered away from, then its queue is emptied, then it is closed.
 * Sources: socket(7) SO_REUSEPORT and SO_ATTACH_REUSEPORT_CBPF; linux/net/core/sock_reuseport.c:
 * members are numbered in the order in which they began to listen, and the last takes the number
 * of one that closes. */
#ifndef VF_SUPERVISOR_LISTENING_H
#define VF_SUPERVISOR_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"

enum { VF_LISTENING_TEXT_BYTES = 56, VF_LISTENING_MEMBERS = 64 };

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

/* Returns what a person should read about the failure `rc` of probe or open. Static memory. */
const char *vf_listening_fault(int rc);

#endif

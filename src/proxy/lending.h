/* proxy/lending.h - connections of the upstream pool for code that speaks on them by itself, on
 * sockets that are pulled (net/socket.h): the HTTP client of plugins.
 *
 *   connecting, the borrower's --note--> lent --give back--> kept --lend--> lent ...
 *                                         \-> closed          \-> closed: by the peer, time, limits
 *
 * A connection counts as one of its peer's from the beginning to its end: in the limit of the pool,
 * in gauges and counters. Those that are kept serve exchanges and borrowers alike: what changes
 * hands moves from one to the other form, what does not costs no system call. A peer is a backend,
 * or an address that a plugin has named. */
#ifndef VF_PROXY_LENDING_H
#define VF_PROXY_LENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vf_peer;
struct vf_socket;
struct vf_sockets;
struct vf_upstreams;

/* Finds the peer of an address that no pool has: "192.0.2.1:80", "example.com:80", or the path of a
 * unix socket. Plugins' targets (set_target) are the same. NULL when out of memory. */
struct vf_peer *vf_lending_target(struct vf_upstreams *upstreams, const char *address, size_t len);

/* Takes a kept connection of the peer's with this TLS (0: plain): an open socket, the caller's from
 * here on. Those with another go. NULL: there is none. */
struct vf_socket *vf_lend_kept(struct vf_peer *peer, struct vf_sockets *sockets, uint64_t tls_id);

/* `socket`, which the caller connects, is a connection of the peer's from here on. Without memory
 * for that it is not counted, nor kept later. */
void vf_lend_new(struct vf_peer *peer, struct vf_socket *socket, uint64_t tls_id);

/* Closes a connection that borrowers have kept, one peer after the other, because no socket can be
 * made any more. Returns false when there is none. */
bool vf_lending_make_room(struct vf_upstreams *upstreams);

/* Connecting by itself failed: counts that. */
void vf_lend_failed(struct vf_peer *peer);

/* Gives a socket back, which is not the caller's any more, to be kept for `idle_ms`. It is closed
 * when it is not fit for that (something was received, is unsent or waits), its backend is gone, or
 * the process drains. */
void vf_lend_back(struct vf_socket *socket, uint64_t idle_ms);

#endif

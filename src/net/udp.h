/* net/udp.h - datagrams to and from one peer, for code that waits in between (see net/socket.h).
 * Datagrams are sent at once or not at all: one that the kernel has no room for is the caller's to
 * drop, as the network might. */
#ifndef VF_NET_UDP_H
#define VF_NET_UDP_H

#include "net/socket.h"

enum { VF_UDP_BYTES = 65507 }; /* the largest payload over IPv4 */

struct vf_udp;

/* Makes one without a peer; it counts as a socket of `sockets`. Owned by the caller. NULL: out of
 * memory or too many. */
struct vf_udp *vf_udp_new(struct vf_sockets *sockets);

bool vf_udp_is_open(const struct vf_udp *udp);

/* Closes it: it has no peer, and what waits on it ends with UV_ECANCELED. */
void vf_udp_close(struct vf_udp *udp);
void vf_udp_free(struct vf_udp *udp);

/* For vf_sockets_free. */
void vf_udps_close(struct vf_sockets *sockets);

/* The operation of vf_udp_connect and vf_udp_receive. */
struct vf_op *vf_udp_op(struct vf_udp *udp);

/* Sets the peer: datagrams go to it, and only its own are received. Codes and `port` (-1: a unix
 * datagram socket) as for vf_socket_connect. */
int vf_udp_connect(struct vf_udp *udp, const char *host, size_t len, int port, uint64_t timeout_ms);

/* As vf_socket_why. */
const char *vf_udp_why(const struct vf_udp *udp, int rc);

/* Sends one datagram. Returns 0, UV_ENOTCONN, UV_EMSGSIZE, UV_EAGAIN (no room), or what the peer's
 * host answered to an earlier one (UV_ECONNREFUSED). */
int vf_udp_send(struct vf_udp *udp, const char *data, size_t len);

/* Receives one datagram. When it returned 0, or the operation ended with 0, vf_udp_take has it. */
int vf_udp_receive(struct vf_udp *udp, uint64_t timeout_ms);

/* Takes what was received; valid until the next call for any such socket. */
void vf_udp_take(struct vf_udp *udp, struct vf_str *out);

#endif

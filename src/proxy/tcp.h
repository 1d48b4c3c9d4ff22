/* proxy/tcp.h - client connections that are passed on as they are: listeners of the modes tcp and
 * tls_passthrough. Each is one exchange that is a tunnel from its beginning (is_raw): no head goes
 * either way, the rest is that of any tunnel.
 *
 *   PROXY header -> ClientHello (tls_passthrough) -> connecting, with failover -> tunnel -> closed
 *
 * Until the backend's connection stands, what the client has sent waits; it is sent once. */
#ifndef VF_PROXY_TCP_H
#define VF_PROXY_TCP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct vf_downstream;
struct vf_exchange;

/* A connection in mode tcp: asks the pool of its listener for a backend. Returns false when the
 * connection was closed. */
bool vf_tcp_begin(struct vf_downstream *client);

/* A connection in mode tls_passthrough, before there is an exchange: looks at the ClientHello in
 * the first `len` bytes; when it is complete, asks the pool of its name for a backend. Uses none of
 * the bytes: returns 0. */
size_t vf_tcp_read_hello(struct vf_downstream *client, const char *data, size_t len);

/* The ClientHello will not come, for `reason`: logs that, and closes. */
void vf_tcp_give_up(struct vf_downstream *client, const char *reason);

/* A backend's connection stands. */
void vf_tcp_on_connected(struct vf_exchange *ex);

#endif

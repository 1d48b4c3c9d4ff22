/* proxy/tunnel.h - an exchange of a handler (proxy/proxy.h) that becomes a tunnel: after 101 its
 * bytes go to the handler and come from there. The connection stays the proxy's, with its limits,
 * counters and drain.
 *
 *   on_request -> vf_tunnel_begin -> on_tunnel_data, on_tunnel_drained ...
 *                                    -> on_tunnel_end -> vf_tunnel_end
 *                                    -> on_gone       (the client broke off, or was closed)
 *
 * What a function below says of its exchange holds until on_gone or vf_tunnel_end. Outside of
 * callbacks of the proxy, vf_proxy_flush follows. */
#ifndef VF_PROXY_TUNNEL_H
#define VF_PROXY_TUNNEL_H

#include <stdbool.h>

#include "base/str.h"

struct vf_exchange;
struct vf_fields;

/* Answers a request that was handed to the handler with 101 and `fields` (text that lives as long
 * as the exchange) and opens the tunnel. `protocol` is what it is upgraded to. The request has no
 * content. From here on ex->tunnel is `tunnel`, the handler's own, which is not NULL. What the
 * client sent ahead comes in on_tunnel_data, soon. */
void vf_tunnel_begin(struct vf_exchange *ex, struct vf_str protocol, const struct vf_fields *fields,
                     void *tunnel);

/* Sends bytes, which are borrowed until the next flush. */
void vf_tunnel_send(struct vf_exchange *ex, struct vf_str slice);

/* Returns true while sent bytes wait for the client: on_tunnel_drained follows. */
bool vf_tunnel_is_blocked(const struct vf_exchange *ex);

/* Back pressure: while held, the client is not read from. */
void vf_tunnel_hold(struct vf_exchange *ex, bool is_held);

/* Everything is said: sends what is queued, then end of file. The exchange ends; on_gone is not
 * called. */
void vf_tunnel_end(struct vf_exchange *ex);

/* Closes the connection at once; `reason` as in the access log. on_gone is not called. */
void vf_tunnel_cut(struct vf_exchange *ex, const char *reason);

#endif

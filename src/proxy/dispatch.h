/* proxy/dispatch.h - which backend gets an exchange, and what happens when it fails: choosing by
 * cookie or balancer, connecting, failing over, the one second try on a fresh connection. What
 * vf_exchange_on_upstream_failed (proxy/exchange.h) does is here too. */
#ifndef VF_PROXY_DISPATCH_H
#define VF_PROXY_DISPATCH_H

#include "proxy/exchange.h"

/* Finds a backend of ex->pool that can be connected to and sends the request there; answers 502,
 * 503 or 504 when there is none. */
void vf_dispatch(struct vf_exchange *ex);

/* The same once the balancer phase for the first try is through, and outside of the client's
 * events. */
void vf_dispatch_to_chosen(struct vf_exchange *ex);

/* Sends the request to `host` (an IP address or a name) instead of a backend of the pool. Returns
 * 0 or UV_ENOMEM. */
int vf_dispatch_set_target(struct vf_exchange *ex, struct vf_str host, uint16_t port);

#endif

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

/* What consistent_hash of a pool of ex->snapshot looks at in the request; data NULL: nothing of it,
 * the client's address. */
struct vf_str vf_dispatch_hash_key(struct vf_exchange *ex, const struct vf_snap_pool *pool);

/* The id of an address that a plugin has named ("192.0.2.1:80"), among those of backends. */
uint64_t vf_dispatch_target_id(const char *address, size_t len);

/* Sends the request to `host` (an IP address or a name) instead of a backend of the pool. Returns
 * 0 or UV_ENOMEM. */
int vf_dispatch_set_target(struct vf_exchange *ex, struct vf_str host, uint16_t port);

#endif

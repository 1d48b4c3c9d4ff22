/* proxy/request.h - what becomes of a request: its target and host are judged, a route is found,
 * and the route's action is taken. vf_exchange_on_request and vf_exchange_on_fault
 * (proxy/exchange.h) are here. */
#ifndef VF_PROXY_REQUEST_H
#define VF_PROXY_REQUEST_H

#include "proxy/exchange.h"

/* How much content the request may have, in bytes; UINT64_MAX: any amount. */
uint64_t vf_exchange_body_limit(const struct vf_exchange *ex);

/* The phase `done` (REWRITE or ACCESS), which had waited, is through: on to the route's action. */
void vf_request_go_on(struct vf_exchange *ex, enum vf_phase done);

/* Gives the complete request to the proxy's handler. */
void vf_exchange_hand_over(struct vf_exchange *ex);

#endif

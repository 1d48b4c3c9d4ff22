/* proxy/forward.h - what a request and an answer look like when they are forwarded: the fields that
 * a proxy takes away and adds (RFC 9110 section 7.6), edits of the configuration, the target. */
#ifndef VF_PROXY_FORWARD_H
#define VF_PROXY_FORWARD_H

#include "proxy/exchange.h"

/* Finds ex->client_ip and ex->request_id, believing what a trusted peer says. */
void vf_forward_identify(struct vf_exchange *ex);

/* Readies ex->request's fields, ex->host and ex->forward_target for ex->route. `captures` are the
 * route's match. Returns 0 or UV_ENOMEM. */
struct vf_route_match;
int vf_forward_request(struct vf_exchange *ex, const struct vf_route_match *match);

/* Readies ex->response's fields for the client. */
void vf_forward_response(struct vf_exchange *ex);

/* Returns the request-target for the backend; data is NULL when out of memory. */
struct vf_str vf_forward_target(struct vf_exchange *ex, const struct vf_route_match *match);

/* Returns the three in a row, in the arena; data is NULL when out of memory. */
struct vf_str vf_forward_join(struct vf_exchange *ex, struct vf_str first, struct vf_str separator,
                              struct vf_str second);

/* Returns `template` with $1..$9 (captures of `match`), $host (without port), $path and $query
 * filled in; $$ is a dollar sign. In the arena; NULL data when out of memory. */
struct vf_str vf_forward_expand(struct vf_exchange *ex, struct vf_str template,
                                const struct vf_route_match *match);

#endif

/* proxy/unrouted.h - requests that no route is asked for: CONNECT, what may go no further (RFC 9110
 * section 7.6.2), what comes plainly where https is wanted, and what goes in circles. */
#ifndef VF_PROXY_UNROUTED_H
#define VF_PROXY_UNROUTED_H

#include <stdbool.h>

struct vf_exchange;

/* Answers a request, whose target was read, if it is of these. Returns whether it did. */
bool vf_unrouted_answer(struct vf_exchange *ex);

#endif

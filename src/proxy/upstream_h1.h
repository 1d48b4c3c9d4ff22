/* proxy/upstream_h1.h - what the parts of a connection to an HTTP/1.1 backend share: upstream_h1.c
 * (requests, timers, failures) and upstream_h1_read.c (answers). Private to them. */
#ifndef VF_PROXY_UPSTREAM_H1_H
#define VF_PROXY_UPSTREAM_H1_H

#include "proxy/upstream_conn.h"

/* Takes the connection off its exchange; returns that, or NULL. */
struct vf_exchange *vf_upstream_h1_detach(struct vf_upstream_conn *up);

/* Closes the connection and tells its exchange. `fault` is NULL unless the answer was malformed. */
void vf_upstream_h1_fail(struct vf_upstream_conn *up, enum vf_upstream_failure failure,
                         const struct vf_fault *fault);

/* Returns true when the connection may serve another exchange once its answer, behind which `stray`
 * bytes came, is complete. */
bool vf_upstream_h1_is_reusable(const struct vf_upstream_conn *up, size_t stray);

/* Reads what there is of the answer, as long as the client takes it. */
void vf_upstream_h1_on_readable(struct vf_stream *stream);

/* Returns true when an answer is due, and goes on to the client (net/stream.h). */
bool vf_upstream_h1_will_read(const struct vf_stream *stream);

#endif

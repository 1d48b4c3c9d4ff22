/* tls/output.h - records on their way out. They are gathered in tls->output, which all connections
 * share, and leave in one piece at the end of a call; what the kernel does not take is kept by the
 * connection, counts into net->buffered_bytes and goes first. Private to src/tls. */
#ifndef VF_TLS_OUTPUT_H
#define VF_TLS_OUTPUT_H

#include "tls/core.h"

/* Adds a record to what is gathered, for mbedTLS; `conn` as void. */
int vf_tls_output_add(void *conn, const unsigned char *data, size_t len);

/* Sends what is gathered. Returns 0, or a negative code when nothing can be sent any more. */
int vf_tls_output_push(struct vf_tls_conn *conn);

/* Sends what the kernel did not take before, once it takes more. Returns likewise. */
int vf_tls_output_resume(struct vf_tls_conn *conn);

/* Keeps bytes behind what was not sent yet: copied. Returns 0 or UV_ENOMEM. */
int vf_tls_output_keep(struct vf_tls_conn *conn, const char *data, size_t len);

/* Lets go of the first `n` bytes of that: they were sent, or never will be. */
void vf_tls_output_drop(struct vf_tls_conn *conn, size_t n);

#endif

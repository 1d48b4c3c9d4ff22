/* tls/buffers.h - record buffers that connections borrow. mbedTLS gives each connection two; when
 * a handshake is over they go to a pool, and from then on a connection has one only while a call
 * works on it or a record is incomplete. The one file that knows where mbedTLS keeps pointers into
 * them. Private to src/tls. */
#ifndef VF_TLS_BUFFERS_H
#define VF_TLS_BUFFERS_H

#include "tls/core.h"

/* Lends the connection what it needs to read, or to write. Returns 0 or UV_ENOMEM. */
int vf_tls_borrow_input(struct vf_tls_conn *conn);
int vf_tls_borrow_output(struct vf_tls_conn *conn);

/* Takes back what holds nothing; only after the handshake. */
void vf_tls_return_buffers(struct vf_tls_conn *conn);

/* Frees the pool. */
void vf_tls_free_buffers(struct vf_tls *tls);

#endif

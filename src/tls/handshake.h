/* tls/handshake.h - the handshake of a connection, step by step, mended where mbedTLS does not do
 * what the standard wants. Private to src/tls. */
#ifndef VF_TLS_HANDSHAKE_H
#define VF_TLS_HANDSHAKE_H

#include "tls/core.h"

/* Goes on with it as far as the peer's messages allow. Returns 0 when it is over, UV_EAGAIN, or why
 * it failed. */
int vf_tls_handshake_go_on(struct vf_tls_conn *conn);

/* Gives back the identities that it was for. */
void vf_tls_handshake_forget(struct vf_tls_conn *conn);

#endif

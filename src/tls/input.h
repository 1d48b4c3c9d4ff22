/* tls/input.h - bytes on their way in: one large read into tls->input, which all connections share,
 * and from which mbedTLS takes what it asks for. Each record is judged by its head first, more
 * strictly than mbedTLS does. Private to src/tls. */
#ifndef VF_TLS_INPUT_H
#define VF_TLS_INPUT_H

#include "tls/core.h"

/* Gives mbedTLS up to `len` bytes; `conn` as void. Returns how many, or a code of mbedTLS's:
 * WANT_READ when the socket has none (conn->is_starved), CONN_EOF at its end, or why a record is
 * not read. */
int vf_tls_input_take(void *conn, unsigned char *out, size_t len);

/* At the end of a call, for tls->input is another's soon: keeps what is left of it. Returns 0 or
 * UV_ENOMEM. */
int vf_tls_input_keep(struct vf_tls_conn *conn);

#endif

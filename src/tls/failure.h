/* tls/failure.h - a connection fails: the peer is told by an alert, the reason is kept for the log
 * (vf_tls_reason). Private to src/tls. */
#ifndef VF_TLS_FAILURE_H
#define VF_TLS_FAILURE_H

#include "tls/core.h"

/* Remembers why, by a code of mbedTLS's or an enumerator of core.h, and tells the peer, unless
 * mbedTLS has done that. Returns the first failure of the connection: UV_ENOMEM or VF_E*. */
int vf_tls_failure_note(struct vf_tls_conn *conn, int code);

#endif

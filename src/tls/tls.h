/* tls/tls.h - TLS 1.2 and 1.3 on mbedTLS: what all TLS connections of a process share.
 *
 *   vf_tls           random numbers, record buffers                        one per process
 *   vf_tls_server    how a listener shakes hands; vf_tls_client: how we do few, counted
 *   vf_tls_identity  a certificate chain and its key                       counted: identity.h
 *   vf_tls_trust     whose certificates are believed                       counted: trust.h
 *   transport        one connection, below its stream                      transport.h
 *
 * mbedTLS keeps two buffers of 17 KB for as long as a connection lives. Here a connection has them
 * during its handshake and while a record is incomplete; else they are lent for the length of one
 * call from a pool that all share, so that idle connections hold none (tls/buffers.h). */
#ifndef VF_TLS_TLS_H
#define VF_TLS_TLS_H

#include "net/stream.h"
#include "tls/ticket_keys.h"

struct vf_tls;

/* `net` is borrowed and outlives it. Returns 0, UV_ENOMEM or UV_EIO (no random numbers). */
int vf_tls_new(struct vf_net *net, struct vf_tls **out);

/* After all connections, servers and clients are gone. NULL is left alone. */
void vf_tls_free(struct vf_tls *tls);

#endif

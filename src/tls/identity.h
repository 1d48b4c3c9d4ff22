/* tls/identity.h - who we are: a certificate chain and the private key of its first certificate.
 * Counted, because a handshake uses it while the configuration moves on. */
#ifndef VF_TLS_IDENTITY_H
#define VF_TLS_IDENTITY_H

#include "base/str.h"

struct vf_tls_identity;

/* Reads a chain (DER certificates, one behind the other, the own first) and its key (DER: PKCS#8,
 * PKCS#1 or SEC1). Whether they fit is not asked. Returns 0, UV_ENOMEM or UV_EINVAL. */
int vf_tls_identity_new(struct vf_str chain, struct vf_str key, struct vf_tls_identity **out);

struct vf_tls_identity *vf_tls_identity_retain(struct vf_tls_identity *identity);

/* Clears the caller's pointer; NULL is left alone. */
void vf_tls_identity_release(struct vf_tls_identity **identity);

#endif

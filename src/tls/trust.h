/* tls/trust.h - whose certificates are believed: authorities, and what they have revoked. Counted,
 * because connections refer to it as long as they live. */
#ifndef VF_TLS_TRUST_H
#define VF_TLS_TRUST_H

#include "base/str.h"

struct vf_tls_trust;

/* Reads authorities and revocation lists (DER, one behind the other; `revocations` may be empty).
 * Returns 0, UV_ENOMEM or UV_EINVAL. */
int vf_tls_trust_new(struct vf_str authorities, struct vf_str revocations,
                     struct vf_tls_trust **out);

struct vf_tls_trust *vf_tls_trust_retain(struct vf_tls_trust *trust);

/* Clears the caller's pointer; NULL is left alone. */
void vf_tls_trust_release(struct vf_tls_trust **trust);

#endif

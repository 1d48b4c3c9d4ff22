#include "tls/trust.h"

#include <stdlib.h>
#include <uv.h>

#include "tls/der.h"
#include "tls/trust_parts.h"

int vf_tls_trust_new(struct vf_str authorities, struct vf_str revocations,
                     struct vf_tls_trust **out)
{
    struct vf_tls_trust *trust = calloc(1, sizeof(*trust));
    if (trust == NULL)
        return UV_ENOMEM;
    trust->refs = 1;
    trust->has_revocations = revocations.len > 0;
    mbedtls_x509_crt_init(&trust->authorities);
    mbedtls_x509_crl_init(&trust->revocations);
    int rc = vf_tls_parse_certificates(&trust->authorities, authorities);
    if (rc == 0)
        rc = vf_tls_parse_revocations(&trust->revocations, revocations);
    if (rc != 0) {
        vf_tls_trust_release(&trust);
        return rc == MBEDTLS_ERR_X509_ALLOC_FAILED ? UV_ENOMEM : UV_EINVAL;
    }
    *out = trust;
    return 0;
}

struct vf_tls_trust *vf_tls_trust_retain(struct vf_tls_trust *trust)
{
    trust->refs++;
    return trust;
}

void vf_tls_trust_release(struct vf_tls_trust **at)
{
    struct vf_tls_trust *trust = *at;
    *at = NULL;
    if (trust == NULL || --trust->refs > 0)
        return;
    mbedtls_x509_crt_free(&trust->authorities);
    mbedtls_x509_crl_free(&trust->revocations);
    free(trust);
}

#include "tls/identity.h"

#include <stdlib.h>
#include <uv.h>

#include "tls/accel/keys.h"
#include "tls/core.h"
#include "tls/der.h"
#include "tls/identity_parts.h"

int vf_tls_identity_new(struct vf_str chain, struct vf_str key, struct vf_tls_identity **out)
{
    struct vf_tls_identity *identity = calloc(1, sizeof(*identity));
    if (identity == NULL)
        return UV_ENOMEM;
    identity->refs = 1;
    mbedtls_x509_crt_init(&identity->chain);
    mbedtls_pk_init(&identity->key);
    int rc = vf_tls_parse_certificates(&identity->chain, chain);
    if (rc == 0)
        rc = mbedtls_pk_parse_key(&identity->key, (const unsigned char *)key.data, key.len, NULL, 0,
                                  vf_tls_system_random, NULL);
    if (rc != 0) {
        vf_tls_identity_release(&identity);
        return rc == MBEDTLS_ERR_X509_ALLOC_FAILED || rc == UV_ENOMEM ? UV_ENOMEM : UV_EINVAL;
    }
    vf_accel_prepare(&identity->key);
    *out = identity;
    return 0;
}

struct vf_tls_identity *vf_tls_identity_retain(struct vf_tls_identity *identity)
{
    identity->refs++;
    return identity;
}

void vf_tls_identity_release(struct vf_tls_identity **at)
{
    struct vf_tls_identity *identity = *at;
    *at = NULL;
    if (identity == NULL || --identity->refs > 0)
        return;
    mbedtls_x509_crt_free(&identity->chain);
    vf_accel_forget(&identity->key);
    mbedtls_pk_free(&identity->key);
    free(identity);
}

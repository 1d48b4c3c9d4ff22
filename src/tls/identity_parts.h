/* tls/identity_parts.h - an identity inside. Private to src/tls. */
#ifndef VF_TLS_IDENTITY_PARTS_H
#define VF_TLS_IDENTITY_PARTS_H

#include <mbedtls/x509_crt.h>

#include "tls/identity.h"

struct vf_tls_identity {
    uint32_t refs;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
};

#endif

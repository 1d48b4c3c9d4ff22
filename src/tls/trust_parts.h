/* tls/trust_parts.h - trust inside. Private to src/tls. */
#ifndef VF_TLS_TRUST_PARTS_H
#define VF_TLS_TRUST_PARTS_H

#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#include "tls/trust.h"

struct vf_tls_trust {
    uint32_t refs;
    mbedtls_x509_crt authorities;
    mbedtls_x509_crl revocations;
    bool has_revocations;
};

#endif

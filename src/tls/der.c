#include "tls/der.h"

#include <mbedtls/asn1.h>
#include <mbedtls/entropy.h>
#include <sys/random.h>

bool vf_tls_next_der(struct vf_str *list, struct vf_str *value)
{
    unsigned char *begin = (unsigned char *)(uintptr_t)list->data, *at = begin;
    unsigned char *end = begin + list->len;
    size_t len;
    if (list->len == 0 ||
        mbedtls_asn1_get_tag(&at, end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0)
        return false;
    size_t total = (size_t)(at - begin) + len;
    *value = vf_str_make(list->data, total);
    *list = vf_str_make(list->data + total, list->len - total);
    return true;
}

int vf_tls_parse_certificates(mbedtls_x509_crt *chain, struct vf_str list)
{
    struct vf_str value;
    while (vf_tls_next_der(&list, &value)) {
        int rc = mbedtls_x509_crt_parse_der(chain, (const unsigned char *)value.data, value.len);
        if (rc != 0)
            return rc;
    }
    return list.len == 0 ? 0 : MBEDTLS_ERR_X509_INVALID_FORMAT;
}

int vf_tls_parse_revocations(mbedtls_x509_crl *revocations, struct vf_str list)
{
    struct vf_str value;
    while (vf_tls_next_der(&list, &value)) {
        int rc =
            mbedtls_x509_crl_parse_der(revocations, (const unsigned char *)value.data, value.len);
        if (rc != 0)
            return rc;
    }
    return list.len == 0 ? 0 : MBEDTLS_ERR_X509_INVALID_FORMAT;
}

int vf_tls_system_random(void *unused, unsigned char *out, size_t len)
{
    (void)unused;
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n <= 0)
            return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

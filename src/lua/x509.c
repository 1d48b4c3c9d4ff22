#include "lua/x509.h"

#include <arpa/inet.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "lua/x509_parts.h"

enum { NAME_BYTES = 1024 };

static int64_t seconds_of(const mbedtls_x509_time *time)
{
    struct tm parts = {.tm_year = time->year - 1900,
                       .tm_mon = time->mon - 1,
                       .tm_mday = time->day,
                       .tm_hour = time->hour,
                       .tm_min = time->min,
                       .tm_sec = time->sec};
    return timegm(&parts);
}

static bool same_raw(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* Names */

static bool add_address(struct vf_x509_text *names, const mbedtls_x509_buf *value)
{
    char text[INET6_ADDRSTRLEN];
    if (value->len != 4 && value->len != 16)
        return true;
    inet_ntop(value->len == 4 ? AF_INET : AF_INET6, value->p, text, sizeof(text));
    return vf_x509_append(names, text, strlen(text) + 1);
}

static bool add_dns(struct vf_x509_text *names, const mbedtls_x509_buf *value)
{
    for (size_t i = 0; i < value->len; i++)
        if (value->p[i] < 0x21 || value->p[i] > 0x7e) /* no host name */
            return true;
    for (size_t i = 0; i < value->len; i++) {
        char c = vf_lower((char)value->p[i]);
        if (!vf_x509_append(names, &c, 1))
            return false;
    }
    return vf_x509_append(names, "", 1);
}

static bool add_alternative(struct vf_x509_text *names, const mbedtls_x509_buf *raw)
{
    mbedtls_x509_subject_alternative_name name;
    bool done = true;
    if (mbedtls_x509_parse_subject_alt_name(raw, &name) != 0)
        return true; /* of a kind that we do not serve */
    if (name.type == MBEDTLS_X509_SAN_DNS_NAME)
        done = add_dns(names, &name.san.unstructured_name);
    else if (name.type == MBEDTLS_X509_SAN_IP_ADDRESS)
        done = add_address(names, &name.san.unstructured_name);
    mbedtls_x509_free_subject_alt_name(&name);
    return done;
}

static bool add_common_name(struct vf_x509_text *names, const mbedtls_x509_name *subject)
{
    for (; subject != NULL; subject = subject->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &subject->oid) == 0)
            return add_dns(names, &subject->val);
    return true;
}

static bool list_names(const mbedtls_x509_crt *certificate, struct vf_str *out)
{
    struct vf_x509_text names = {0};
    bool done = true;
    if (mbedtls_x509_crt_has_ext_type(certificate, MBEDTLS_X509_EXT_SUBJECT_ALT_NAME)) {
        for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names;
             at != NULL && at->buf.p != NULL && done; at = at->next)
            done = add_alternative(&names, &at->buf);
    } else {
        done = add_common_name(&names, &certificate->subject);
    }
    *out = vf_x509_give(&names);
    return done;
}

/* Certificates */

void vf_x509_free(struct vf_x509 *certificates)
{
    if (certificates == NULL)
        return;
    vf_x509_free_str(certificates->subject);
    vf_x509_free_str(certificates->issuer);
    vf_x509_free_str(certificates->serial);
    vf_x509_free_str(certificates->names);
    vf_x509_free_str(certificates->der);
    free(certificates);
}

static bool is_weak(const mbedtls_x509_crt *certificate)
{
    mbedtls_md_type_t hash = certificate->MBEDTLS_PRIVATE(sig_md);
    bool is_root = same_raw(&certificate->subject_raw, &certificate->issuer_raw);
    return !is_root && (hash == MBEDTLS_MD_MD5 || hash == MBEDTLS_MD_SHA1);
}

static bool describe_chain(const mbedtls_x509_crt *chain, struct vf_x509 *out)
{
    struct vf_x509_text der = {0};
    bool done = true;
    for (const mbedtls_x509_crt *at = chain; at != NULL; at = at->next) {
        int64_t after_s = seconds_of(&at->valid_to);
        out->n++;
        if (out->n == 1 || after_s < out->last_after_s)
            out->last_after_s = after_s;
        if (is_weak(at))
            out->flags |= VF_X509_WEAK_HASH;
        if (at->next != NULL && out->broken_link == 0 &&
            !same_raw(&at->issuer_raw, &at->next->subject_raw))
            out->broken_link = out->n;
        done = done && vf_x509_append(&der, at->raw.p, at->raw.len);
    }
    out->der = vf_x509_give(&der);
    return done;
}

static bool describe_first(const mbedtls_x509_crt *first, struct vf_x509 *out)
{
    char text[NAME_BYTES];
    int n = mbedtls_x509_dn_gets(text, sizeof(text), &first->subject);
    if (!vf_x509_copy(text, n > 0 ? (size_t)n : 0, &out->subject))
        return false;
    n = mbedtls_x509_dn_gets(text, sizeof(text), &first->issuer);
    if (!vf_x509_copy(text, n > 0 ? (size_t)n : 0, &out->issuer))
        return false;
    n = mbedtls_x509_serial_gets(text, sizeof(text), &first->serial);
    if (!vf_x509_copy(text, n > 0 ? (size_t)n : 0, &out->serial))
        return false;
    out->not_before_s = seconds_of(&first->valid_from);
    out->not_after_s = seconds_of(&first->valid_to);
    out->key_bits = (uint32_t)mbedtls_pk_get_bitlen(&first->pk);
    out->key_kind = mbedtls_pk_can_do(&first->pk, MBEDTLS_PK_RSA) ? VF_STR("RSA") : VF_STR("EC");
    if (mbedtls_x509_crt_get_ca_istrue(first) == 1)
        out->flags |= VF_X509_IS_CA;
    if (same_raw(&first->subject_raw, &first->issuer_raw))
        out->flags |= VF_X509_SELF_SIGNED;
    return mbedtls_sha256(first->raw.p, first->raw.len, out->fingerprint, 0) == 0 &&
           list_names(first, &out->names);
}

static int read_certificates(const char *pem, size_t len, bool is_lenient, struct vf_x509 **out,
                             const char **problem)
{
    if (!vf_x509_has_block(pem, len, "CERTIFICATE"))
        return vf_x509_refuse(problem, UV_EINVAL,
                              "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
    unsigned char *text = vf_x509_terminated(pem, len);
    struct vf_x509 *certificates = calloc(1, sizeof(*certificates));
    mbedtls_x509_crt chain;
    mbedtls_x509_crt_init(&chain);
    int rc = text == NULL || certificates == NULL ? UV_ENOMEM : 0;
    int failed = rc == 0 ? mbedtls_x509_crt_parse(&chain, text, len + 1) : 0;
    if (failed < 0 || (failed > 0 && !is_lenient))
        rc = vf_x509_refuse(problem, UV_EINVAL,
                            "holds a certificate that is damaged or of an unknown kind");
    else if (rc == 0 &&
             (!describe_chain(&chain, certificates) || !describe_first(&chain, certificates)))
        rc = UV_ENOMEM;
    if (rc == UV_ENOMEM)
        *problem = "out of memory";
    mbedtls_x509_crt_free(&chain);
    free(text);
    if (rc == 0)
        *out = certificates;
    else
        vf_x509_free(certificates);
    return rc;
}

int vf_x509_read(const char *pem, size_t len, struct vf_x509 **out, const char **problem)
{
    return read_certificates(pem, len, false, out, problem);
}

int vf_x509_read_authorities(const char *pem, size_t len, struct vf_x509 **out,
                             const char **problem)
{
    return read_certificates(pem, len, true, out, problem);
}

/* Revocation lists */

void vf_x509_free_revocations(struct vf_x509_revocations *revocations)
{
    if (revocations == NULL)
        return;
    vf_x509_free_str(revocations->der);
    free(revocations);
}

static bool describe_revocations(const mbedtls_x509_crl *list, struct vf_x509_revocations *out)
{
    struct vf_x509_text der = {0};
    bool done = true;
    for (const mbedtls_x509_crl *at = list; at != NULL && at->raw.p != NULL; at = at->next) {
        int64_t next_s = at->next_update.year == 0 ? 0 : seconds_of(&at->next_update);
        out->n++;
        if (next_s != 0 && (out->next_update_s == 0 || next_s < out->next_update_s))
            out->next_update_s = next_s;
        done = done && vf_x509_append(&der, at->raw.p, at->raw.len);
    }
    out->der = vf_x509_give(&der);
    return done;
}

int vf_x509_read_revocations(const char *pem, size_t len, struct vf_x509_revocations **out,
                             const char **problem)
{
    if (!vf_x509_has_block(pem, len, "X509 CRL"))
        return vf_x509_refuse(problem, UV_EINVAL,
                              "holds no revocation list in PEM (-----BEGIN X509 CRL-----)");
    unsigned char *text = vf_x509_terminated(pem, len);
    struct vf_x509_revocations *revocations = calloc(1, sizeof(*revocations));
    mbedtls_x509_crl list;
    mbedtls_x509_crl_init(&list);
    int rc = text == NULL || revocations == NULL ? UV_ENOMEM : 0;
    if (rc == 0 && mbedtls_x509_crl_parse(&list, text, len + 1) != 0)
        rc = vf_x509_refuse(problem, UV_EINVAL, "holds a revocation list that is damaged");
    else if (rc == 0 && !describe_revocations(&list, revocations))
        rc = UV_ENOMEM;
    if (rc == UV_ENOMEM)
        *problem = "out of memory";
    mbedtls_x509_crl_free(&list);
    free(text);
    if (rc == 0)
        *out = revocations;
    else
        vf_x509_free_revocations(revocations);
    return rc;
}

/* lua/x509_key.c - private keys as people have them. */
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509_crt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

#include "lua/x509.h"
#include "lua/x509_parts.h"

enum { KEY_BYTES = 16 * 1024 };

static int random_bytes(void *unused, unsigned char *out, size_t len)
{
    (void)unused;
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n <= 0)
            return -1;
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

void vf_x509_free_key(struct vf_x509_key *key)
{
    if (key == NULL)
        return;
    if (key->der.data != NULL)
        mbedtls_platform_zeroize((char *)(uintptr_t)key->der.data, key->der.len);
    vf_x509_free_str(key->der);
    free(key);
}

static int read_key(mbedtls_pk_context *pk, const char *pem, size_t len, const char **problem)
{
    unsigned char *text = vf_x509_terminated(pem, len);
    if (text == NULL)
        return vf_x509_refuse(problem, UV_ENOMEM, "out of memory");
    int rc = mbedtls_pk_parse_key(pk, text, len + 1, NULL, 0, random_bytes, NULL);
    mbedtls_platform_zeroize(text, len);
    free(text);
    if (rc == 0)
        return 0;
    if (rc == MBEDTLS_ERR_PK_PASSWORD_REQUIRED ||
        vf_x509_has_block(pem, len, "ENCRYPTED PRIVATE KEY"))
        return vf_x509_refuse(problem, UV_EINVAL,
                              "is encrypted: a key without a passphrase is needed");
    if (memmem(pem, len, "PRIVATE KEY-----", 16) == NULL)
        return vf_x509_refuse(problem, UV_EINVAL,
                              "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)");
    return vf_x509_refuse(problem, UV_EINVAL, "is damaged, or no RSA or EC key");
}

static bool is_usable_curve(mbedtls_ecp_group_id curve)
{
    return curve == MBEDTLS_ECP_DP_SECP256R1 || curve == MBEDTLS_ECP_DP_SECP384R1 ||
           curve == MBEDTLS_ECP_DP_SECP521R1;
}

static const char *judge_key(mbedtls_pk_context *pk)
{
    if (mbedtls_pk_can_do(pk, MBEDTLS_PK_RSA)) {
        if (mbedtls_pk_get_bitlen(pk) < 2048)
            return "is an RSA key of fewer than 2048 bits: too weak";
        return mbedtls_pk_get_bitlen(pk) > 8192 ? "is an RSA key of more than 8192 bits" : NULL;
    }
    if (!mbedtls_pk_can_do(pk, MBEDTLS_PK_ECDSA))
        return "is no RSA or EC key that signs";
    if (!is_usable_curve(mbedtls_pk_ec(*pk)->MBEDTLS_PRIVATE(grp).id))
        return "is on another curve than P-256, P-384 and P-521";
    return NULL;
}

int vf_x509_read_key(const char *pem, size_t len, struct vf_x509_key **out, const char **problem)
{
    unsigned char der[KEY_BYTES];
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    int n = 0, rc = read_key(&pk, pem, len, problem);
    if (rc == 0 && (*problem = judge_key(&pk)) != NULL)
        rc = UV_EINVAL;
    if (rc == 0 && (n = mbedtls_pk_write_key_der(&pk, der, sizeof(der))) <= 0)
        rc = vf_x509_refuse(problem, UV_EINVAL, "is damaged, or no RSA or EC key");
    struct vf_x509_key *key = rc == 0 ? calloc(1, sizeof(*key)) : NULL;
    if (rc == 0 &&
        (key == NULL || !vf_x509_copy((char *)der + sizeof(der) - n, (size_t)n, &key->der))) {
        vf_x509_free_key(key);
        rc = vf_x509_refuse(problem, UV_ENOMEM, "out of memory");
    }
    if (rc == 0) {
        key->bits = (uint32_t)mbedtls_pk_get_bitlen(&pk);
        key->kind = mbedtls_pk_can_do(&pk, MBEDTLS_PK_RSA) ? VF_STR("RSA") : VF_STR("EC");
        *out = key;
    }
    mbedtls_platform_zeroize(der, sizeof(der));
    mbedtls_pk_free(&pk);
    return rc;
}

uint32_t vf_x509_owner(const struct vf_x509 *certificates, const struct vf_x509_key *key)
{
    const unsigned char *at = (const unsigned char *)certificates->der.data;
    const unsigned char *end = at + certificates->der.len;
    mbedtls_pk_context pk;
    uint32_t owner = 0;
    mbedtls_pk_init(&pk);
    if (mbedtls_pk_parse_key(&pk, (const unsigned char *)key->der.data, key->der.len, NULL, 0,
                             random_bytes, NULL) != 0)
        at = end;
    for (uint32_t i = 1; at < end && owner == 0; i++) {
        mbedtls_x509_crt one;
        mbedtls_x509_crt_init(&one);
        if (mbedtls_x509_crt_parse_der_nocopy(&one, at, (size_t)(end - at)) == 0) {
            if (mbedtls_pk_check_pair(&one.pk, &pk, random_bytes, NULL) == 0)
                owner = i;
            at += one.raw.len;
        } else {
            at = end;
        }
        mbedtls_x509_crt_free(&one);
    }
    mbedtls_pk_free(&pk);
    return owner;
}

#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls/accel/keys.h"

#include <mbedtls/platform_util.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_DER_BYTES = 16 * 1024 }; /* an RSA key of 16,384 bits has some 9 KiB */

static void *keys; /* tree of struct vf_accel_key, by address of the key */

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct vf_accel_key *)a)->pk;
    uintptr_t y = (uintptr_t)((const struct vf_accel_key *)b)->pk;
    return (x > y) - (x < y);
}

/* Gives the key to libcrypto. It stays empty when that does not take it. */
static void convert(struct vf_accel_key *key)
{
    unsigned char *der = malloc(MAX_DER_BYTES);
    int len = der != NULL ? mbedtls_pk_write_key_der(key->pk, der, MAX_DER_BYTES) : -1;
    if (len > 0) {
        const unsigned char *at = der + MAX_DER_BYTES - len; /* written from the end */
        if (mbedtls_pk_get_type(key->pk) == MBEDTLS_PK_RSA)
            key->rsa = d2i_RSAPrivateKey(NULL, &at, len);
        else if (mbedtls_pk_get_type(key->pk) == MBEDTLS_PK_ECKEY)
            key->ec = d2i_ECPrivateKey(NULL, &at, len);
    }
    if (der != NULL)
        mbedtls_platform_zeroize(der, MAX_DER_BYTES);
    free(der);
}

static void free_key(struct vf_accel_key *key)
{
    RSA_free(key->rsa);
    EC_KEY_free(key->ec);
    free(key);
}

void vf_accel_prepare(const mbedtls_pk_context *pk)
{
    struct vf_accel_key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return;
    key->pk = pk;
    convert(key);
    if ((key->rsa == NULL && key->ec == NULL) || vf_accel_key(pk) != NULL ||
        tsearch(key, &keys, by_address) == NULL)
        free_key(key);
}

const struct vf_accel_key *vf_accel_key(const mbedtls_pk_context *pk)
{
    const struct vf_accel_key wanted = {.pk = pk};
    void *node = tfind(&wanted, &keys, by_address);
    return node != NULL ? *(struct vf_accel_key **)node : NULL;
}

void vf_accel_forget(const mbedtls_pk_context *pk)
{
    struct vf_accel_key *key = (struct vf_accel_key *)vf_accel_key(pk);
    if (key == NULL)
        return;
    tdelete(key, &keys, by_address);
    free_key(key);
}

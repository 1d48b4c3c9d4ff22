/* Signatures of handshakes by libcrypto: mbedTLS's functions are replaced at link time
 * (-Wl,--wrap). Private keys must have been prepared (keys.h). Of the verifications only ECDSA is
 * replaced: that of RSA is cheap, its exponent is small. What is not ours goes on to mbedTLS. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tls/accel/curve.h"
#include "tls/accel/keys.h"

typedef int (*random_fn)(void *, unsigned char *, size_t);

int __wrap_mbedtls_pk_sign(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash,
                           size_t hash_len, unsigned char *sig, size_t room, size_t *len,
                           random_fn random, void *state);
int __wrap_mbedtls_pk_sign_ext(mbedtls_pk_type_t type, mbedtls_pk_context *pk, mbedtls_md_type_t md,
                               const unsigned char *hash, size_t hash_len, unsigned char *sig,
                               size_t room, size_t *len, random_fn random, void *state);
int __wrap_mbedtls_pk_verify(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                             const unsigned char *hash, size_t hash_len, const unsigned char *sig,
                             size_t len);
int __wrap_mbedtls_pk_verify_restartable(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                         const unsigned char *hash, size_t hash_len,
                                         const unsigned char *sig, size_t len,
                                         mbedtls_pk_restart_ctx *restart);
int __wrap_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options,
                                 mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                 const unsigned char *hash, size_t hash_len,
                                 const unsigned char *sig, size_t len);
int __real_mbedtls_pk_sign(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash,
                           size_t hash_len, unsigned char *sig, size_t room, size_t *len,
                           random_fn random, void *state);
int __real_mbedtls_pk_sign_ext(mbedtls_pk_type_t type, mbedtls_pk_context *pk, mbedtls_md_type_t md,
                               const unsigned char *hash, size_t hash_len, unsigned char *sig,
                               size_t room, size_t *len, random_fn random, void *state);
int __real_mbedtls_pk_verify(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                             const unsigned char *hash, size_t hash_len, const unsigned char *sig,
                             size_t len);
int __real_mbedtls_pk_verify_restartable(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                         const unsigned char *hash, size_t hash_len,
                                         const unsigned char *sig, size_t len,
                                         mbedtls_pk_restart_ctx *restart);
int __real_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options,
                                 mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                 const unsigned char *hash, size_t hash_len,
                                 const unsigned char *sig, size_t len);

/* The hashes that TLS 1.2 and 1.3 sign. */
static const EVP_MD *hash_of(mbedtls_md_type_t md)
{
    switch (md) {
    case MBEDTLS_MD_SHA1:
        return EVP_sha1();
    case MBEDTLS_MD_SHA256:
        return EVP_sha256();
    case MBEDTLS_MD_SHA384:
        return EVP_sha384();
    case MBEDTLS_MD_SHA512:
        return EVP_sha512();
    default:
        return NULL;
    }
}

/* mbedTLS lets a length of 0 stand for that of the hash. */
static size_t length_of(mbedtls_md_type_t md, size_t hash_len)
{
    return hash_len != 0 ? hash_len : mbedtls_md_get_size_from_type(md);
}

/* libcrypto keeps a list of errors per thread, which nobody reads here. */
static bool outcome(bool ok)
{
    if (!ok)
        ERR_clear_error();
    return ok;
}

/* --- Signing --- */

static bool sign_ecdsa(EC_KEY *ec, const unsigned char *hash, size_t hash_len, unsigned char *sig,
                       size_t room, size_t *len)
{
    unsigned n = 0;
    if ((size_t)ECDSA_size(ec) > room)
        return false;
    if (!outcome(ECDSA_sign(0, hash, (int)hash_len, sig, &n, ec) == 1))
        return false;
    *len = n;
    return true;
}

static bool sign_pkcs1(RSA *rsa, const EVP_MD *md, const unsigned char *hash, size_t hash_len,
                       unsigned char *sig, size_t room, size_t *len)
{
    unsigned n = 0;
    if ((size_t)RSA_size(rsa) > room)
        return false;
    if (!outcome(RSA_sign(EVP_MD_get_type(md), hash, (unsigned)hash_len, sig, &n, rsa) == 1))
        return false;
    *len = n;
    return true;
}

/* The salt is as long as the hash (RFC 8446 section 4.2.3). */
static bool sign_pss(RSA *rsa, const EVP_MD *md, const unsigned char *hash, unsigned char *sig,
                     size_t room, size_t *len)
{
    int size = RSA_size(rsa);
    unsigned char *padded = (size_t)size <= room ? malloc((size_t)size) : NULL;
    if (padded == NULL)
        return false;
    bool ok =
        RSA_padding_add_PKCS1_PSS_mgf1(rsa, padded, hash, md, md, RSA_PSS_SALTLEN_DIGEST) == 1 &&
        RSA_private_encrypt(size, padded, sig, rsa, RSA_NO_PADDING) == size;
    free(padded);
    if (!outcome(ok))
        return false;
    *len = (size_t)size;
    return true;
}

/* Returns false when mbedTLS has to do it. */
static bool sign(mbedtls_pk_type_t type, mbedtls_pk_context *pk, mbedtls_md_type_t md_type,
                 const unsigned char *hash, size_t hash_len, unsigned char *sig, size_t room,
                 size_t *len)
{
    const struct vf_accel_key *key = vf_accel_key(pk);
    const EVP_MD *md = hash_of(md_type);
    hash_len = length_of(md_type, hash_len);
    if (key == NULL || md == NULL || hash_len != (size_t)EVP_MD_get_size(md))
        return false;
    if (key->ec != NULL)
        return type != MBEDTLS_PK_RSASSA_PSS && type != MBEDTLS_PK_RSA &&
               sign_ecdsa(key->ec, hash, hash_len, sig, room, len);
    if (type == MBEDTLS_PK_RSASSA_PSS)
        return sign_pss(key->rsa, md, hash, sig, room, len);
    return type == MBEDTLS_PK_RSA && sign_pkcs1(key->rsa, md, hash, hash_len, sig, room, len);
}

int __wrap_mbedtls_pk_sign(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash,
                           size_t hash_len, unsigned char *sig, size_t room, size_t *len,
                           random_fn random, void *state)
{
    /* A key that mbedTLS was told to pad as PSS signs so whatever it is asked for. */
    bool is_plain = mbedtls_pk_get_type(pk) != MBEDTLS_PK_RSA ||
                    mbedtls_rsa_get_padding_mode(mbedtls_pk_rsa(*pk)) == MBEDTLS_RSA_PKCS_V15;
    if (is_plain && sign(mbedtls_pk_get_type(pk), pk, md, hash, hash_len, sig, room, len))
        return 0;
    return __real_mbedtls_pk_sign(pk, md, hash, hash_len, sig, room, len, random, state);
}

int __wrap_mbedtls_pk_sign_ext(mbedtls_pk_type_t type, mbedtls_pk_context *pk, mbedtls_md_type_t md,
                               const unsigned char *hash, size_t hash_len, unsigned char *sig,
                               size_t room, size_t *len, random_fn random, void *state)
{
    if (sign(type, pk, md, hash, hash_len, sig, room, len))
        return 0;
    return __real_mbedtls_pk_sign_ext(type, pk, md, hash, hash_len, sig, room, len, random, state);
}

/* --- Verifying --- */

/* Returns the public key as libcrypto's, or NULL when its curve is none of ours. */
static EC_KEY *public_key_of(const mbedtls_pk_context *pk)
{
    mbedtls_ecp_keypair *pair = mbedtls_pk_ec(*pk);
    const struct vf_curve *curve = vf_curve_of_id(mbedtls_ecp_keypair_get_group_id(pair));
    uint8_t point[VF_CURVE_MAX_PUBLIC];
    size_t len;
    if (curve == NULL || curve->is_x25519 ||
        mbedtls_ecp_write_public_key(pair, MBEDTLS_ECP_PF_UNCOMPRESSED, &len, point,
                                     sizeof(point)) != 0)
        return NULL;
    EC_KEY *key = EC_KEY_new_by_curve_name(curve->nid);
    if (key != NULL && EC_KEY_oct2key(key, point, len, NULL) == 1)
        return key;
    EC_KEY_free(key);
    return NULL;
}

static bool is_ecdsa(const mbedtls_pk_context *pk, size_t hash_len, size_t len)
{
    mbedtls_pk_type_t type = mbedtls_pk_get_type(pk);
    return (type == MBEDTLS_PK_ECKEY || type == MBEDTLS_PK_ECDSA) && hash_len > 0 &&
           hash_len <= MBEDTLS_MD_MAX_SIZE && len <= MBEDTLS_PK_SIGNATURE_MAX_SIZE;
}

/* Returns true when it could tell: *rc is 0, or the signature is false. */
static bool verify(const mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash,
                   size_t hash_len, const unsigned char *sig, size_t len, int *rc)
{
    hash_len = length_of(md, hash_len);
    EC_KEY *key = is_ecdsa(pk, hash_len, len) ? public_key_of(pk) : NULL;
    if (key == NULL)
        return false;
    bool ok = outcome(ECDSA_verify(0, hash, (int)hash_len, sig, (int)len, key) == 1);
    EC_KEY_free(key);
    *rc = ok ? 0 : MBEDTLS_ERR_ECP_VERIFY_FAILED;
    return true;
}

int __wrap_mbedtls_pk_verify(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                             const unsigned char *hash, size_t hash_len, const unsigned char *sig,
                             size_t len)
{
    int rc;
    if (verify(pk, md, hash, hash_len, sig, len, &rc))
        return rc;
    return __real_mbedtls_pk_verify(pk, md, hash, hash_len, sig, len);
}

int __wrap_mbedtls_pk_verify_restartable(mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                         const unsigned char *hash, size_t hash_len,
                                         const unsigned char *sig, size_t len,
                                         mbedtls_pk_restart_ctx *restart)
{
    int rc;
    if (verify(pk, md, hash, hash_len, sig, len, &rc))
        return rc;
    return __real_mbedtls_pk_verify_restartable(pk, md, hash, hash_len, sig, len, restart);
}

int __wrap_mbedtls_pk_verify_ext(mbedtls_pk_type_t type, const void *options,
                                 mbedtls_pk_context *pk, mbedtls_md_type_t md,
                                 const unsigned char *hash, size_t hash_len,
                                 const unsigned char *sig, size_t len)
{
    int rc;
    if (type == MBEDTLS_PK_ECDSA && options == NULL &&
        verify(pk, md, hash, hash_len, sig, len, &rc))
        return rc;
    return __real_mbedtls_pk_verify_ext(type, options, pk, md, hash, hash_len, sig, len);
}

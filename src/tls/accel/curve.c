#include "tls/accel/curve.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { X25519_BYTES = 32, N_CURVES = 4 };

static const struct vf_curve curves[N_CURVES] = {
    {MBEDTLS_ECP_DP_CURVE25519, NID_X25519, 255, X25519_BYTES, true},
    {MBEDTLS_ECP_DP_SECP256R1, NID_X9_62_prime256v1, 256, 32, false},
    {MBEDTLS_ECP_DP_SECP384R1, NID_secp384r1, 384, 48, false},
    {MBEDTLS_ECP_DP_SECP521R1, NID_secp521r1, 521, 66, false},
};

/* Made once: a group has tables. They are only read after that. */
static EC_GROUP *groups[N_CURVES];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_groups(void)
{
    for (int i = 0; i < N_CURVES; i++) {
        if (!curves[i].is_x25519)
            groups[i] = EC_GROUP_new_by_curve_name(curves[i].nid);
    }
}

static const EC_GROUP *group_of(const struct vf_curve *curve)
{
    pthread_once(&made, make_groups);
    return groups[curve - curves];
}

const struct vf_curve *vf_curve_of_id(mbedtls_ecp_group_id id)
{
    for (int i = 0; i < N_CURVES; i++) {
        if (curves[i].id == id)
            return &curves[i];
    }
    return NULL;
}

/* --- X25519 --- */

static __thread struct {
    EVP_PKEY *pair;
    uint8_t private_key[X25519_BYTES];
} kept;

static void drop_kept(void)
{
    EVP_PKEY_free(kept.pair);
    kept.pair = NULL;
    OPENSSL_cleanse(kept.private_key, sizeof(kept.private_key));
}

/* Takes the pair that is kept for this key, or makes one. The caller frees it. */
static EVP_PKEY *take_pair(const uint8_t *private_key)
{
    if (kept.pair == NULL || CRYPTO_memcmp(kept.private_key, private_key, X25519_BYTES) != 0)
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, X25519_BYTES);
    EVP_PKEY *pair = kept.pair;
    kept.pair = NULL;
    drop_kept();
    return pair;
}

static void keep(EVP_PKEY *pair, const uint8_t *private_key)
{
    drop_kept();
    kept.pair = pair;
    memcpy(kept.private_key, private_key, X25519_BYTES);
}

/* Source of the fixed bits: RFC 7748 section 5, decodeScalar25519. */
static bool x25519_generate(uint8_t *private_key)
{
    if (getrandom(private_key, X25519_BYTES, 0) != X25519_BYTES)
        return false;
    private_key[0] &= 248;
    private_key[31] = (private_key[31] & 127) | 64;
    return true;
}

static size_t x25519_public(const uint8_t *private_key, uint8_t *out)
{
    size_t len = X25519_BYTES;
    EVP_PKEY *pair = take_pair(private_key);
    if (pair == NULL || EVP_PKEY_get_raw_public_key(pair, out, &len) != 1) {
        EVP_PKEY_free(pair);
        return 0;
    }
    keep(pair, private_key);
    return len;
}

static bool x25519_agree(const uint8_t *private_key, const uint8_t *peer, size_t peer_len,
                         uint8_t *secret)
{
    size_t len = X25519_BYTES;
    EVP_PKEY *pair = take_pair(private_key);
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, peer_len);
    EVP_PKEY_CTX *ctx = pair != NULL ? EVP_PKEY_CTX_new(pair, NULL) : NULL;
    bool ok = ctx != NULL && other != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
              EVP_PKEY_derive_set_peer(ctx, other) == 1 && EVP_PKEY_derive(ctx, secret, &len) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    EVP_PKEY_free(pair);
    return ok;
}

/* --- The NIST curves --- */

static bool nist_generate(const struct vf_curve *curve, uint8_t *private_key)
{
    const EC_GROUP *group = group_of(curve);
    BIGNUM *scalar = BN_secure_new();
    bool ok = group != NULL && scalar != NULL;
    do /* zero is as likely as a broken processor */
        ok = ok && BN_priv_rand_range(scalar, EC_GROUP_get0_order(group)) == 1;
    while (ok && BN_is_zero(scalar));
    ok = ok && BN_bn2binpad(scalar, private_key, curve->bytes) == curve->bytes;
    BN_clear_free(scalar);
    return ok;
}

/* The private key as a number that libcrypto treats in constant time, or NULL. */
static BIGNUM *scalar_of(const struct vf_curve *curve, const uint8_t *private_key)
{
    BIGNUM *scalar = BN_bin2bn(private_key, curve->bytes, NULL);
    if (scalar != NULL)
        BN_set_flags(scalar, BN_FLG_CONSTTIME);
    return scalar;
}

static size_t nist_public(const struct vf_curve *curve, const uint8_t *private_key, uint8_t *out)
{
    const EC_GROUP *group = group_of(curve);
    BIGNUM *scalar = scalar_of(curve, private_key);
    EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
    size_t len = 0;
    if (point != NULL && scalar != NULL &&
        EC_POINT_mul(group, point, scalar, NULL, NULL, NULL) == 1)
        len = EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out,
                                 VF_CURVE_MAX_PUBLIC, NULL);
    EC_POINT_free(point);
    BN_clear_free(scalar);
    return len;
}

static bool nist_agree(const struct vf_curve *curve, const uint8_t *private_key,
                       const uint8_t *peer, size_t peer_len, uint8_t *secret)
{
    const EC_GROUP *group = group_of(curve);
    BIGNUM *scalar = scalar_of(curve, private_key), *x = BN_new();
    EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
    bool ok = point != NULL && scalar != NULL && x != NULL && peer_len > 0 &&
              peer[0] == POINT_CONVERSION_UNCOMPRESSED && /* RFC 8446 section 4.2.8.2 */
              EC_POINT_oct2point(group, point, peer, peer_len, NULL) == 1 && /* is on the curve */
              EC_POINT_mul(group, point, NULL, point, scalar, NULL) == 1 &&
              EC_POINT_get_affine_coordinates(group, point, x, NULL, NULL) == 1 &&
              BN_bn2binpad(x, secret, curve->bytes) == curve->bytes;
    EC_POINT_clear_free(point);
    BN_clear_free(x);
    BN_clear_free(scalar);
    return ok;
}

/* --- Both --- */

bool vf_curve_generate(const struct vf_curve *curve, uint8_t *private_key)
{
    return curve->is_x25519 ? x25519_generate(private_key) : nist_generate(curve, private_key);
}

size_t vf_curve_public(const struct vf_curve *curve, const uint8_t *private_key, uint8_t *out)
{
    return curve->is_x25519 ? x25519_public(private_key, out)
                            : nist_public(curve, private_key, out);
}

bool vf_curve_agree(const struct vf_curve *curve, const uint8_t *private_key, const uint8_t *peer,
                    size_t peer_len, uint8_t *secret)
{
    return curve->is_x25519 ? x25519_agree(private_key, peer, peer_len, secret)
                            : nist_agree(curve, private_key, peer, peer_len, secret);
}

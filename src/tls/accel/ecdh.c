/* Ephemeral key exchange of mbedTLS by libcrypto. TLS 1.3 makes keys through PSA, for which there
 * is no hook at this place: its three functions are replaced at link time (-Wl,--wrap), and what is
 * not ours goes on to them. TLS 1.2 uses the two functions of ecdh.h, which have one. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/ecdh.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/psa_util.h>
#include <psa/crypto.h>

#include "tls/accel/curve.h"

/* --- TLS 1.3 --- */

psa_status_t __wrap_mbedtls_psa_ecp_generate_key(const psa_key_attributes_t *attributes,
                                                 uint8_t *key, size_t room, size_t *len);
psa_status_t __wrap_mbedtls_psa_ecp_export_public_key(const psa_key_attributes_t *attributes,
                                                      const uint8_t *key, size_t key_len,
                                                      uint8_t *out, size_t room, size_t *len);
psa_status_t __wrap_mbedtls_psa_key_agreement_ecdh(const psa_key_attributes_t *attributes,
                                                   const uint8_t *key, size_t key_len,
                                                   psa_algorithm_t alg, const uint8_t *peer,
                                                   size_t peer_len, uint8_t *secret, size_t room,
                                                   size_t *len);
psa_status_t __real_mbedtls_psa_ecp_generate_key(const psa_key_attributes_t *attributes,
                                                 uint8_t *key, size_t room, size_t *len);
psa_status_t __real_mbedtls_psa_ecp_export_public_key(const psa_key_attributes_t *attributes,
                                                      const uint8_t *key, size_t key_len,
                                                      uint8_t *out, size_t room, size_t *len);
psa_status_t __real_mbedtls_psa_key_agreement_ecdh(const psa_key_attributes_t *attributes,
                                                   const uint8_t *key, size_t key_len,
                                                   psa_algorithm_t alg, const uint8_t *peer,
                                                   size_t peer_len, uint8_t *secret, size_t room,
                                                   size_t *len);

/* Returns the curve of a key pair, or NULL when the key is none of ours. */
static const struct vf_curve *curve_of(const psa_key_attributes_t *attributes)
{
    psa_key_type_t type = psa_get_key_type(attributes);
    if (!PSA_KEY_TYPE_IS_ECC_KEY_PAIR(type))
        return NULL;
    return vf_curve_of_id(mbedtls_ecc_group_from_psa(PSA_KEY_TYPE_ECC_GET_FAMILY(type),
                                                     psa_get_key_bits(attributes)));
}

psa_status_t __wrap_mbedtls_psa_ecp_generate_key(const psa_key_attributes_t *attributes,
                                                 uint8_t *key, size_t room, size_t *len)
{
    const struct vf_curve *curve = curve_of(attributes);
    if (curve == NULL || room < curve->bytes)
        return __real_mbedtls_psa_ecp_generate_key(attributes, key, room, len);
    if (!vf_curve_generate(curve, key))
        return PSA_ERROR_INSUFFICIENT_ENTROPY;
    *len = curve->bytes;
    return PSA_SUCCESS;
}

psa_status_t __wrap_mbedtls_psa_ecp_export_public_key(const psa_key_attributes_t *attributes,
                                                      const uint8_t *key, size_t key_len,
                                                      uint8_t *out, size_t room, size_t *len)
{
    const struct vf_curve *curve = curve_of(attributes);
    if (curve == NULL || key_len != curve->bytes || room < VF_CURVE_MAX_PUBLIC)
        return __real_mbedtls_psa_ecp_export_public_key(attributes, key, key_len, out, room, len);
    *len = vf_curve_public(curve, key, out);
    return *len > 0 ? PSA_SUCCESS : PSA_ERROR_INSUFFICIENT_MEMORY;
}

psa_status_t __wrap_mbedtls_psa_key_agreement_ecdh(const psa_key_attributes_t *attributes,
                                                   const uint8_t *key, size_t key_len,
                                                   psa_algorithm_t alg, const uint8_t *peer,
                                                   size_t peer_len, uint8_t *secret, size_t room,
                                                   size_t *len)
{
    const struct vf_curve *curve = curve_of(attributes);
    if (curve == NULL || !PSA_ALG_IS_ECDH(alg) || key_len != curve->bytes || room < curve->bytes)
        return __real_mbedtls_psa_key_agreement_ecdh(attributes, key, key_len, alg, peer, peer_len,
                                                     secret, room, len);
    if (!vf_curve_agree(curve, key, peer, peer_len, secret))
        return PSA_ERROR_INVALID_ARGUMENT;
    *len = curve->bytes;
    return PSA_SUCCESS;
}

/* --- TLS 1.2 --- */

static int read_number(const struct vf_curve *curve, mbedtls_mpi *number, const uint8_t *bytes)
{
    return curve->is_x25519 ? mbedtls_mpi_read_binary_le(number, bytes, curve->bytes)
                            : mbedtls_mpi_read_binary(number, bytes, curve->bytes);
}

static int write_number(const struct vf_curve *curve, const mbedtls_mpi *number, uint8_t *bytes)
{
    return curve->is_x25519 ? mbedtls_mpi_write_binary_le(number, bytes, curve->bytes)
                            : mbedtls_mpi_write_binary(number, bytes, curve->bytes);
}

int mbedtls_ecdh_gen_public(mbedtls_ecp_group *group, mbedtls_mpi *d, mbedtls_ecp_point *Q,
                            int (*random)(void *, unsigned char *, size_t), void *state)
{
    (void)random, (void)state; /* the kernel's are taken */
    const struct vf_curve *curve = vf_curve_of_id(group->id);
    if (curve == NULL)
        return MBEDTLS_ERR_ECP_FEATURE_UNAVAILABLE;
    uint8_t key[VF_CURVE_MAX_BYTES], point[VF_CURVE_MAX_PUBLIC];
    size_t len = 0;
    int rc = MBEDTLS_ERR_ECP_RANDOM_FAILED;
    if (vf_curve_generate(curve, key))
        rc = (len = vf_curve_public(curve, key, point)) > 0 ? 0 : MBEDTLS_ERR_ECP_ALLOC_FAILED;
    if (rc == 0)
        rc = read_number(curve, d, key);
    if (rc == 0)
        rc = mbedtls_ecp_point_read_binary(group, Q, point, len);
    mbedtls_platform_zeroize(key, sizeof(key));
    return rc;
}

int mbedtls_ecdh_compute_shared(mbedtls_ecp_group *group, mbedtls_mpi *z,
                                const mbedtls_ecp_point *Q, const mbedtls_mpi *d,
                                int (*random)(void *, unsigned char *, size_t), void *state)
{
    (void)random, (void)state;
    const struct vf_curve *curve = vf_curve_of_id(group->id);
    if (curve == NULL)
        return MBEDTLS_ERR_ECP_FEATURE_UNAVAILABLE;
    uint8_t key[VF_CURVE_MAX_BYTES], peer[VF_CURVE_MAX_PUBLIC], secret[VF_CURVE_MAX_BYTES];
    size_t peer_len = 0;
    int rc = mbedtls_ecp_point_write_binary(group, Q, MBEDTLS_ECP_PF_UNCOMPRESSED, &peer_len, peer,
                                            sizeof(peer));
    if (rc == 0)
        rc = write_number(curve, d, key);
    if (rc == 0 && !vf_curve_agree(curve, key, peer, peer_len, secret))
        rc = MBEDTLS_ERR_ECP_INVALID_KEY;
    if (rc == 0)
        rc = read_number(curve, z, secret);
    mbedtls_platform_zeroize(key, sizeof(key));
    mbedtls_platform_zeroize(secret, sizeof(secret));
    return rc;
}

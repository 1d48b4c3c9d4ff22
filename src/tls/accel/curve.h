/* tls/accel/curve.h - Diffie-Hellman on the curves of TLS by libcrypto, bytes in and bytes out, in
 * the formats of RFC 8446 section 4.2.8.2: a public key of X25519 is 32 bytes, one of a NIST curve
 * an uncompressed point. Private keys are of vf_curve.bytes: little-endian for X25519 (RFC 7748
 * section 5), big-endian otherwise.
 *
 * The last key pair of X25519 is kept per thread from its making until it was used once: libcrypto
 * computes the public key whenever it is given a private one, and a handshake needs it twice. */
#ifndef VF_TLS_ACCEL_CURVE_H
#define VF_TLS_ACCEL_CURVE_H

#include <mbedtls/ecp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VF_CURVE_MAX_BYTES = 66, VF_CURVE_MAX_PUBLIC = 1 + 2 * VF_CURVE_MAX_BYTES };

struct vf_curve {
    mbedtls_ecp_group_id id;
    int nid;        /* libcrypto's name */
    uint16_t bits;  /* as PSA counts them */
    uint8_t bytes;  /* of a private key, a coordinate and a shared secret */
    bool is_x25519; /* else a NIST curve */
};

/* Returns the curve, or NULL when it is none of ours. */
const struct vf_curve *vf_curve_of_id(mbedtls_ecp_group_id id);

/* Writes a new private key. Returns false when there are no random numbers or no memory. */
bool vf_curve_generate(const struct vf_curve *curve, uint8_t *private_key);

/* Writes the public key of `private_key`. Returns its length, or 0. */
size_t vf_curve_public(const struct vf_curve *curve, const uint8_t *private_key, uint8_t *out);

/* Writes the shared secret (vf_curve.bytes). Returns false when `peer` is no point of the curve or
 * the secret would be zero (RFC 8446 section 7.4.2). */
bool vf_curve_agree(const struct vf_curve *curve, const uint8_t *private_key, const uint8_t *peer,
                    size_t peer_len, uint8_t *secret);

#endif

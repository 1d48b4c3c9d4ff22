/* lua/pkey.h - keys of signatures for Lua: RSA, ECDSA on the NIST curves and Ed25519, from PEM, DER
 * or the numbers of a JWK (RFC 7518 section 6, RFC 8037). A key that is too weak,
 * broken or of another kind is refused here, once; what stands is sound. It stands on libcrypto:
 * docs/decisions/0006-signatures.md. */
#ifndef VF_LUA_PKEY_H
#define VF_LUA_PKEY_H

#include <stddef.h>
#include <stdint.h>

/* Mirrored by lua/veloflux/pdk/crypto/key.lua. */
enum vf_pkey_kind { VF_PKEY_RSA = 1, VF_PKEY_P256, VF_PKEY_P384, VF_PKEY_P521, VF_PKEY_ED25519 };

enum { VF_PKEY_RSA_MIN_BITS = 2048, VF_PKEY_RSA_MAX_BITS = 8192 };

struct evp_pkey_st;
struct vf_pkey { /* read by Lua */
    struct evp_pkey_st *evp;
    int32_t kind;       /* enum vf_pkey_kind */
    int32_t is_private; /* 1: signs too */
    int32_t bytes;      /* of the modulus, or of a coordinate */
    int32_t only;       /* 0, or the one scheme that Lua allows */
};

struct vf_piece { /* of what Lua passes: borrowed bytes, none when len is 0 */
    const char *data;
    size_t len;
};

/* All that make a key return 0, and the key in *out, owned by the caller; or UV_EINVAL, and in
 * *problem what is wrong (static memory). */

/* Reads the first private or public key, or the key of a certificate (which is not judged): PEM, or
 * DER without anything behind it. PKCS#8, SPKI, PKCS#1, SEC1. Encrypted ones are refused. */
int vf_pkey_read(const char *data, size_t len, struct vf_pkey **out, const char **problem);

/* Makes an RSA key of n, e and, when it is private, d, p, q, dp, dq, qi or d alone: unsigned
 * numbers, big-endian. */
int vf_pkey_new_rsa(const struct vf_piece parts[8], struct vf_pkey **out, const char **problem);

/* Makes a key on a curve of x, y and perhaps d, or an Ed25519 key of x and perhaps d, each as long
 * as the curve's numbers are. */
int vf_pkey_new_curve(int kind, const struct vf_piece parts[3], struct vf_pkey **out,
                      const char **problem);

void vf_pkey_free(struct vf_pkey *key);

enum vf_pkey_part { VF_PKEY_N = 0, VF_PKEY_E, VF_PKEY_X, VF_PKEY_Y };
enum { VF_PKEY_PART_BYTES = VF_PKEY_RSA_MAX_BITS / 8 };

/* Writes a public number as a JWK has it: coordinates in full length, RSA numbers without zeros in
 * front. Returns its length, or UV_EINVAL: this kind has no such number. */
int vf_pkey_part(const struct vf_pkey *key, int part, uint8_t out[VF_PKEY_PART_BYTES]);

#endif

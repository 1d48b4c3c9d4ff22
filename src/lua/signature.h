/* lua/signature.h - signatures by the names of JOSE (RFC 7518 section 3, RFC 8037). A scheme says
 * everything: kind of key, hash, padding, length of the salt. */
#ifndef VF_LUA_SIGNATURE_H
#define VF_LUA_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "lua/pkey.h"

enum vf_signature_scheme {               /* mirrored by lua/veloflux/pdk/crypto/key.lua */
                           VF_RS256 = 1, /* RSASSA-PKCS1-v1_5 */
                           VF_RS384,
                           VF_RS512,
                           VF_PS256, /* RSASSA-PSS, salt as long as the hash */
                           VF_PS384,
                           VF_PS512,
                           VF_ES256, /* ECDSA, on the curve that belongs to the hash */
                           VF_ES384,
                           VF_ES512,
                           VF_EDDSA /* Ed25519 */
};

enum { VF_SIGNATURE_BYTES = VF_PKEY_RSA_MAX_BITS / 8 /* room for the longest */ };

/* Returns the scheme that a key is used with when nobody says which. */
int vf_signature_scheme_of(const struct vf_pkey *key);

/* Signs `len` bytes. ECDSA gives r and s in full length one after the other, as JWS has them, or
 * with `is_der` not 0 as DER (RFC 3279 section 2.2.3). Returns the length of the signature, or
 * UV_EINVAL: a public key, another kind of key. */
int vf_signature_sign(const struct vf_pkey *key, int scheme, int is_der, const char *data,
                      size_t len, uint8_t out[VF_SIGNATURE_BYTES]);

/* Returns 0 when the signature is of these bytes by this key, UV_EACCES when not, UV_EINVAL for
 * another kind of key. */
int vf_signature_verify(const struct vf_pkey *key, int scheme, int is_der, const char *data,
                        size_t len, const char *signature, size_t signature_len);

#endif

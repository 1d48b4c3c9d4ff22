/* lua/crypto.h - digests, random bytes and sealed texts for Lua. */
#ifndef VF_LUA_CRYPTO_H
#define VF_LUA_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

enum {
    VF_SHA256_BYTES = 32,
    VF_SEAL_KEY_BYTES = 32,
    VF_SEAL_NONCE_BYTES = 12,
    VF_SEAL_TAG_BYTES = 16,
    VF_SEAL_EXTRA_BYTES = VF_SEAL_NONCE_BYTES + VF_SEAL_TAG_BYTES
};

/* SHA-256 (FIPS 180-4) of `len` bytes. Returns 0 or UV_EIO. */
int vf_sha256(const char *data, size_t len, uint8_t digest[VF_SHA256_BYTES]);

/* HMAC-SHA-256 (RFC 2104) of `len` bytes under `key`. Returns 0 or UV_EIO. */
int vf_hmac_sha256(const char *key, size_t key_len, const char *data, size_t len,
                   uint8_t digest[VF_SHA256_BYTES]);

/* Fills `len` bytes from the system's generator (getrandom). Returns 0 or -errno. */
int vf_random(uint8_t *out, size_t len);

/* Encrypts and authenticates `len` bytes under `key` (AES-256-GCM, NIST SP 800-38D, with a random
 * nonce). Writes nonce, ciphertext and tag to `out`: len + VF_SEAL_EXTRA_BYTES bytes. Returns 0,
 * UV_EIO or -errno. */
int vf_seal(const uint8_t key[VF_SEAL_KEY_BYTES], const char *data, size_t len, uint8_t *out);

/* Opens what vf_seal wrote: `len` bytes at `sealed`. Writes the text, len - VF_SEAL_EXTRA_BYTES
 * bytes, to `out`. Returns 0, or UV_EINVAL when it is not what was sealed under this key. */
int vf_unseal(const uint8_t key[VF_SEAL_KEY_BYTES], const uint8_t *sealed, size_t len, char *out);

#endif

/* lua/crypto.h - digests and random bytes for Lua. */
#ifndef VF_LUA_CRYPTO_H
#define VF_LUA_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

enum { VF_SHA256_BYTES = 32 };

/* SHA-256 (FIPS 180-4) of `len` bytes. Returns 0 or UV_EIO. */
int vf_sha256(const char *data, size_t len, uint8_t digest[VF_SHA256_BYTES]);

/* HMAC-SHA-256 (RFC 2104) of `len` bytes under `key`. Returns 0 or UV_EIO. */
int vf_hmac_sha256(const char *key, size_t key_len, const char *data, size_t len,
                   uint8_t digest[VF_SHA256_BYTES]);

/* Fills `len` bytes from the system's generator (getrandom). Returns 0 or -errno. */
int vf_random(uint8_t *out, size_t len);

#endif

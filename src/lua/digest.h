/* lua/digest.h - hashes (FIPS 180-4, RFC 1321), HMAC (RFC 2104) and what derives keys with them. */
#ifndef VF_LUA_DIGEST_H
#define VF_LUA_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* Mirrored by lua/veloflux/pdk/crypto/digest.lua. */
enum vf_digest_algorithm { VF_MD5 = 1, VF_SHA1, VF_SHA256, VF_SHA384, VF_SHA512 };

enum { VF_DIGEST_BYTES = 64 /* room for the longest */ };

struct vf_digest; /* a hash or HMAC that takes its text in pieces */

/* Returns a hash, or an HMAC when `key` is not NULL; owned by the caller. NULL: out of memory. */
struct vf_digest *vf_digest_new(int algorithm, const char *key, size_t key_len);
void vf_digest_free(struct vf_digest *digest);

/* Adds a piece of the text. Returns 0 or UV_EIO. */
int vf_digest_update(struct vf_digest *digest, const char *data, size_t len);

/* Writes the result for all pieces and begins anew. Returns its length in bytes or UV_EIO. */
int vf_digest_finish(struct vf_digest *digest, uint8_t out[VF_DIGEST_BYTES]);

/* Forgets the pieces, writes the result for this text and begins anew. Returns its length or
 * UV_EIO. */
int vf_digest_of(struct vf_digest *digest, const char *data, size_t len,
                 uint8_t out[VF_DIGEST_BYTES]);

/* Hash and HMAC of one text. Return the length of the result in bytes or UV_EIO. */
int vf_digest_hash(int algorithm, const char *data, size_t len, uint8_t out[VF_DIGEST_BYTES]);
int vf_hmac(int algorithm, const char *key, size_t key_len, const char *data, size_t len,
            uint8_t out[VF_DIGEST_BYTES]);

/* Derives `out_len` bytes, at most 255 times the length of the hash (RFC 5869). Returns 0 or
 * UV_EINVAL. */
int vf_hkdf(int algorithm, const char *salt, size_t salt_len, const char *key, size_t key_len,
            const char *info, size_t info_len, uint8_t *out, size_t out_len);

/* Derives `out_len` bytes from a password (PBKDF2, RFC 8018 section 5.2). Takes about a microsecond
 * an iteration for every 32 bytes. Returns 0 or UV_EINVAL. */
int vf_pbkdf2(int algorithm, const char *password, size_t password_len, const char *salt,
              size_t salt_len, unsigned iterations, uint8_t *out, size_t out_len);

#endif

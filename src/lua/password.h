/* lua/password.h - passwords at rest: Argon2id (RFC 9106) in its encoded form "$argon2id$v=19$...".
 * They take some 20 MiB of memory and tens of milliseconds: off the loop where it matters. */
#ifndef VF_LUA_PASSWORD_H
#define VF_LUA_PASSWORD_H

#include <stddef.h>
#include <stdint.h>

enum {
    VF_PASSWORD_ENCODED_BYTES = 128, /* room for an encoded hash and its NUL */
    VF_PASSWORD_KEY_BYTES = 32,
    /* What a hash from elsewhere may cost: each wrong password costs that. As in
     * lua/veloflux/compiler/tables.lua. */
    VF_PASSWORD_MAX_KIB = 256 * 1024,
    VF_PASSWORD_MAX_WORK = 1024 * 1024, /* KiB times passes: some two seconds */
    VF_PASSWORD_MAX_LANES = 16          /* each a thread */
};

/* Writes the encoded hash of a password, with a random salt, to `out`, NUL-terminated. Returns 0,
 * UV_ENOMEM or UV_EIO. */
int vf_password_hash(const char *password, size_t len, char out[VF_PASSWORD_ENCODED_BYTES]);

/* Returns 0 when `password` belongs to the NUL-terminated `encoded`, UV_EACCES when not, UV_EINVAL
 * when `encoded` is no Argon2id hash, or costs too much, UV_ENOMEM. Thread-safe. */
int vf_password_verify(const char *encoded, const char *password, size_t len);

/* Derives a key from a password and a salt of at least 8 bytes, by `passes` over `memory_kib` of
 * memory in one lane. Returns 0, UV_ENOMEM, or UV_EINVAL when Argon2 does not take these. */
int vf_password_derive(const char *password, size_t len, const char *salt, size_t salt_len,
                       uint32_t passes, uint32_t memory_kib, uint8_t out[VF_PASSWORD_KEY_BYTES]);

#endif

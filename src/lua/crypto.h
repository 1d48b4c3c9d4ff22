/* lua/crypto.h - random bytes and comparing secrets, for Lua. */
#ifndef VF_LUA_CRYPTO_H
#define VF_LUA_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

/* Fills `len` bytes from the system's generator (getrandom). Returns 0 or -errno. */
int vf_random(uint8_t *out, size_t len);

enum { VF_UUID_CHARACTERS = 36 };

/* Writes a random UUID (version 4, RFC 9562 section 5.4), not NUL-terminated. Returns 0 or
 * -errno. */
int vf_uuid(char out[VF_UUID_CHARACTERS]);

/* Returns 1 when `len` bytes are equal, else 0, in a time that depends on `len` alone. */
int vf_equals(const char *a, const char *b, size_t len);

#endif

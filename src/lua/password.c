#include "lua/password.h"

#include <argon2.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

#include "lua/crypto.h"

/* The second of the recommended options of the OWASP password storage cheat sheet: 19 MiB, two
 * passes, one lane; some 30 ms on a current core. */
enum { PASSES = 2, MEMORY_KIB = 19 * 1024, LANES = 1, SALT_BYTES = 16, HASH_BYTES = 32 };

int vf_password_hash(const char *password, size_t len, char out[VF_PASSWORD_ENCODED_BYTES])
{
    uint8_t salt[SALT_BYTES];
    if (vf_random(salt, sizeof(salt)) < 0)
        return UV_EIO;
    int rc = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password, len, salt, sizeof(salt),
                                   HASH_BYTES, out, VF_PASSWORD_ENCODED_BYTES);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return UV_ENOMEM;
    return rc == ARGON2_OK ? 0 : UV_EIO;
}

int vf_password_verify(const char *encoded, const char *password, size_t len)
{
    if (strncmp(encoded, "$argon2id$", 10) != 0)
        return UV_EINVAL;
    switch (argon2id_verify(encoded, password, len)) {
    case ARGON2_OK:
        return 0;
    case ARGON2_VERIFY_MISMATCH:
        return UV_EACCES;
    case ARGON2_MEMORY_ALLOCATION_ERROR:
        return UV_ENOMEM;
    default:
        return UV_EINVAL;
    }
}

int vf_password_derive(const char *password, size_t len, const char *salt, size_t salt_len,
                       uint32_t passes, uint32_t memory_kib, uint8_t out[VF_PASSWORD_KEY_BYTES])
{
    int rc = argon2id_hash_raw(passes, memory_kib, LANES, password, len, salt, salt_len, out,
                               VF_PASSWORD_KEY_BYTES);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return UV_ENOMEM;
    return rc == ARGON2_OK ? 0 : UV_EINVAL;
}

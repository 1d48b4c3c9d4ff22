#include "lua/password.h"

#include <argon2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
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

/* Looks at "$m=19456,t=2,p=1$" of a hash. */
static bool is_affordable(const char *encoded)
{
    unsigned long long kib, passes, lanes;
    const char *costs = strstr(encoded, "$m=");
    return costs != NULL && sscanf(costs, "$m=%llu,t=%llu,p=%llu$", &kib, &passes, &lanes) == 3 &&
           kib <= VF_PASSWORD_MAX_KIB && passes <= VF_PASSWORD_MAX_WORK &&
           kib * passes <= VF_PASSWORD_MAX_WORK && lanes <= VF_PASSWORD_MAX_LANES;
}

int vf_password_verify(const char *encoded, const char *password, size_t len)
{
    if (strncmp(encoded, "$argon2id$", 10) != 0 || !is_affordable(encoded))
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

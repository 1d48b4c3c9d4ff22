#include "lua/crypto.h"

#include <errno.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <sys/random.h>
#include <uv.h>

int vf_sha256(const char *data, size_t len, uint8_t digest[VF_SHA256_BYTES])
{
    return mbedtls_sha256((const unsigned char *)data, len, digest, 0) == 0 ? 0 : UV_EIO;
}

int vf_hmac_sha256(const char *key, size_t key_len, const char *data, size_t len,
                   uint8_t digest[VF_SHA256_BYTES])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (sha256 == NULL)
        return UV_EIO;
    int rc = mbedtls_md_hmac(sha256, (const unsigned char *)key, key_len,
                             (const unsigned char *)data, len, digest);
    return rc == 0 ? 0 : UV_EIO;
}

int vf_random(uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

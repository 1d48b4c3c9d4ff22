#include "lua/crypto.h"

#include <errno.h>
#include <mbedtls/constant_time.h>
#include <sys/random.h>

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

int vf_uuid(char out[VF_UUID_CHARACTERS])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    int rc = vf_random(bytes, sizeof(bytes));
    if (rc < 0)
        return rc;
    bytes[6] = (bytes[6] & 0x0f) | 0x40; /* version 4 */
    bytes[8] = (bytes[8] & 0x3f) | 0x80; /* the variant of RFC 9562 */
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return 0;
}

int vf_equals(const char *a, const char *b, size_t len)
{
    return mbedtls_ct_memcmp(a, b, len) == 0;
}

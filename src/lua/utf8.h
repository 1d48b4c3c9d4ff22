/* lua/utf8.h - characters of UTF-8 (RFC 3629 section 4). */
#ifndef VF_LUA_UTF8_H
#define VF_LUA_UTF8_H

#include <stdbool.h>

static inline bool vf_utf8_follows(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Returns the length in bytes of the character at `at`, which is below `end`; 0 when the bytes
 * there are none: a surrogate, a form longer than needed, above U+10FFFF, cut off. */
static inline int vf_utf8_next(const char *at, const char *end)
{
    const unsigned char *byte = (const unsigned char *)at;
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] >= 0xc2 && byte[0] <= 0xdf)
        return end - at >= 2 && vf_utf8_follows(byte[1]) ? 2 : 0;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    int len = byte[0] < 0xf0 ? 3 : 4;
    switch (byte[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        if (byte[0] < 0xe0 || byte[0] > 0xf4)
            return 0;
    }
    if (end - at < len || byte[1] < low || byte[1] > high || !vf_utf8_follows(byte[2]))
        return 0;
    return len == 3 || vf_utf8_follows(byte[3]) ? len : 0;
}

#endif

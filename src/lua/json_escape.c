#include "lua/json_escape.h"

#include <stdint.h>
#include <string.h>

static int hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* Reads the digits behind \u, and the second half of a pair. Returns the bytes it took or 0. */
static int read_unicode(const char *at, const char *end, uint32_t *code)
{
    int first = hex4(at, end);
    if (first < 0 || (first & 0xfc00) == 0xdc00) /* a second half without its first */
        return 0;
    *code = (uint32_t)first;
    if ((first & 0xfc00) != 0xd800)
        return 4;
    if (end - at < 10 || at[4] != '\\' || at[5] != 'u')
        return 0;
    int second = hex4(at + 6, end);
    if (second < 0 || (second & 0xfc00) != 0xdc00)
        return 0;
    *code = 0x10000 + ((uint32_t)(first & 0x3ff) << 10) + (uint32_t)(second & 0x3ff);
    return 10;
}

const char *vf_json_unescape(const char *at, const char *end, char **out)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    uint32_t code;
    if (at + 1 >= end)
        return NULL;
    if (at[1] == 'u') {
        int taken = read_unicode(at + 2, end, &code);
        if (taken == 0)
            return NULL;
        *out = put_utf8(*out, code);
        return at + 2 + taken;
    }
    const char *found = memchr(plain, at[1], sizeof(plain) - 1);
    if (found == NULL)
        return NULL;
    *(*out)++ = meant[found - plain];
    return at + 2;
}

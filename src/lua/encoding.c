#include "lua/encoding.h"

#include <stdbool.h>
#include <stdint.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int vf_base64_encode(const char *data, size_t len, char *out, int flags)
{
    const char *alphabet = flags & VF_BASE64_URL ? for_urls : standard;
    const uint8_t *in = (const uint8_t *)data;
    char *at = out;
    size_t i = 0;
    for (; len - i >= 3; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = alphabet[bits >> 6 & 63];
        *at++ = alphabet[bits & 63];
    }
    if (len - i > 0) {
        bool two = len - i == 2;
        uint32_t bits = (uint32_t)in[i] << 16 | (two ? (uint32_t)in[i + 1] << 8 : 0);
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        if (two)
            *at++ = alphabet[bits >> 6 & 63];
        for (int padding = two ? 1 : 2; padding > 0 && !(flags & VF_BASE64_UNPADDED); padding--)
            *at++ = '=';
    }
    return (int)(at - out);
}

/* Returns the six bits that `c` stands for, or -1. */
static int bits_of(char c, int flags)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (flags & VF_BASE64_URL ? '-' : '+'))
        return 62;
    return c == (flags & VF_BASE64_URL ? '_' : '/') ? 63 : -1;
}

/* Judges the end of a text of `body` characters and `padding` times =: returns 0, or
 * -1 - offset of what is wrong. */
static int check_end(size_t body, size_t padding, int flags)
{
    size_t wanted = body % 4 == 2 ? 2 : body % 4 == 3 ? 1 : 0;
    if (padding > 0 && (flags & VF_BASE64_UNPADDED))
        wanted = 0;
    else if (padding == 0 && (flags & (VF_BASE64_UNPADDED | VF_BASE64_LOOSE)))
        return body % 4 == 1 ? -1 - (int)body : 0;
    if (padding > wanted)
        return -1 - (int)(body + wanted);
    return padding < wanted || body % 4 == 1 ? -1 - (int)(body + padding) : 0;
}

int vf_base64_decode(const char *text, size_t len, char *out, int flags)
{
    size_t body = len;
    uint32_t bits = 0;
    char *at = out;
    while (body > 0 && len - body < 2 && text[body - 1] == '=')
        body--;
    for (size_t i = 0; i < body; i++) {
        int value = bits_of(text[i], flags);
        if (value < 0)
            return -1 - (int)i;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) /* 8, 16 and 24 bits are complete behind the 2nd, 3rd and 4th */
            *at++ = (char)(bits >> (6 - 2 * (i % 4)));
    }
    int fault = check_end(body, len - body, flags);
    if (fault < 0)
        return fault;
    uint32_t unused = body % 4 == 2 ? 15 : body % 4 == 3 ? 3 : 0;
    return bits & unused ? -(int)body : (int)(at - out); /* -1 - (body - 1) */
}

int vf_hex_encode(const char *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[(uint8_t)data[i] >> 4];
        out[2 * i + 1] = digits[(uint8_t)data[i] & 15];
    }
    return (int)(2 * len);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int vf_hex_decode(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        if (digit_of(text[i]) < 0)
            return -1 - (int)i;
    if (len % 2 != 0)
        return -1 - (int)len;
    for (size_t i = 0; i < len; i += 2)
        out[i / 2] = (char)(digit_of(text[i]) << 4 | digit_of(text[i + 1]));
    return (int)(len / 2);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int vf_url_encode(const char *data, size_t len, char *out)
{
    static const char digits[] = "0123456789ABCDEF"; /* upper case: RFC 3986 section 2.1 */
    char *at = out;
    for (size_t i = 0; i < len; i++) {
        if (is_unreserved(data[i])) {
            *at++ = data[i];
            continue;
        }
        *at++ = '%';
        *at++ = digits[(uint8_t)data[i] >> 4];
        *at++ = digits[(uint8_t)data[i] & 15];
    }
    return (int)(at - out);
}

int vf_url_decode(const char *text, size_t len, char *out, int plus)
{
    char *at = out;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            *at++ = plus && text[i] == '+' ? ' ' : text[i];
            continue;
        }
        if (len - i < 3 || digit_of(text[i + 1]) < 0 || digit_of(text[i + 2]) < 0)
            return -1 - (int)i;
        *at++ = (char)(digit_of(text[i + 1]) << 4 | digit_of(text[i + 2]));
        i += 2;
    }
    return (int)(at - out);
}

#include "proxy/access/value.h"

const unsigned char vf_put_class[256] = {
    [' '] = VF_PUT_QUOTED,
    ['!'] = VF_PUT_QUOTED | VF_PUT_BARE,
    ['#' ... '['] = VF_PUT_QUOTED | VF_PUT_BARE,
    [']' ... '~'] = VF_PUT_QUOTED | VF_PUT_BARE,
};

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Returns the length of the UTF-8 sequence (RFC 3629 section 4) that `data` begins with, or 0 when
 * it begins with none, or one of ASCII. */
static size_t utf8_len(const unsigned char *data, size_t len)
{
    unsigned char c = data[0];
    if (c < 0xc2 || c > 0xf4 || len < 2 || !is_tail(data[1]))
        return 0;
    if (c < 0xe0)
        return 2;
    if (len < 3 || !is_tail(data[2]) || (c == 0xe0 && data[1] < 0xa0) ||
        (c == 0xed && data[1] > 0x9f))
        return 0;
    if (c < 0xf0)
        return 3;
    if (len < 4 || !is_tail(data[3]) || (c == 0xf0 && data[1] < 0x90) ||
        (c == 0xf4 && data[1] > 0x8f))
        return 0;
    return 4;
}

static char *put_hex(char *out, const char *prefix, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    out = vf_put_bytes(out, prefix, strlen(prefix));
    *out++ = digits[c >> 4];
    *out++ = digits[c & 15];
    return out;
}

size_t vf_escape_json(char **out, const unsigned char *data, size_t len)
{
    size_t sequence = utf8_len(data, len);
    if (sequence > 0) {
        *out = vf_put_bytes(*out, (const char *)data, sequence);
        return sequence;
    }
    if (data[0] == '"' || data[0] == '\\') {
        *(*out)++ = '\\';
        *(*out)++ = (char)data[0];
    } else {
        *out = put_hex(*out, "\\u00", data[0]);
    }
    return 1;
}

size_t vf_escape_apache(char **out, const unsigned char *data, size_t len)
{
    static const char controls[] = "\b\n\r\t\v", letters[] = "bnrtv";
    const char *control = data[0] != '\0' ? strchr(controls, data[0]) : NULL;
    (void)len;
    if (data[0] == '"' || data[0] == '\\' || control != NULL) {
        *(*out)++ = '\\';
        *(*out)++ = control != NULL ? letters[control - controls] : (char)data[0];
    } else {
        *out = put_hex(*out, "\\x", data[0]);
    }
    return 1;
}

size_t vf_escape_text(char **out, const unsigned char *data, size_t len)
{
    size_t sequence = utf8_len(data, len);
    if (sequence == 0 || (data[0] == 0xc2 && data[1] < 0xa0))
        return vf_escape_apache(out, data, len);
    *out = vf_put_bytes(*out, (const char *)data, sequence);
    return sequence;
}

#include "base/str.h"

#include <endian.h>

enum {
    SAFE_DIGITS = 19, /* any decimal number of so many fits 64 bits */
    MAX_DIGITS = 20   /* of 64 bits */
};

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct vf_str vf_str_trim(struct vf_str text)
{
    while (text.len > 0 && is_ows(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_ows(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Length of the list element at the start of `text`: up to a comma outside quotes, or all. */
static size_t item_len(struct vf_str text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            return i;
    }
    return text.len;
}

bool vf_str_next_item(struct vf_str *rest, struct vf_str *item)
{
    while (rest->len > 0) {
        size_t len = item_len(*rest);
        struct vf_str found = vf_str_trim(vf_str_make(rest->data, len));
        size_t taken = len < rest->len ? len + 1 : len;
        rest->data += taken;
        rest->len -= taken;
        if (found.len > 0) {
            *item = found;
            return true;
        }
    }
    return false;
}

bool vf_str_has_token(struct vf_str list, struct vf_str token)
{
    struct vf_str item;
    while (vf_str_next_item(&list, &item))
        if (vf_str_ieq(item, token))
            return true;
    return false;
}

bool vf_str_to_u64(struct vf_str text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';
        if (digit > 9 || (i >= SAFE_DIGITS && value > (UINT64_MAX - digit) / 10))
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

size_t vf_u64_format(uint64_t value, char *out)
{
    char digits[MAX_DIGITS], *at = digits + MAX_DIGITS;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    size_t n = (size_t)(digits + MAX_DIGITS - at);
    memcpy(out, at, n);
    return n;
}

/* All eight digits at once: each nibble goes to a byte of its own, and what is above 9 is moved on
 * to the letters. */
void vf_hex_format(uint32_t value, char out[8])
{
    static const uint64_t each = 0x0101010101010101ULL;
    uint64_t digits = value;
    digits = (digits | digits << 16) & 0x0000ffff0000ffffULL;
    digits = (digits | digits << 8) & 0x00ff00ff00ff00ffULL;
    digits = (digits | digits << 4) & 0x0f0f0f0f0f0f0f0fULL;
    uint64_t letters = (digits + 6 * each) >> 4 & each;
    digits += '0' * each + letters * ('a' - '0' - 10);
    digits = htobe64(digits);
    memcpy(out, &digits, sizeof(digits));
}

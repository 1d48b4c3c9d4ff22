#include "base/str.h"

#include <endian.h>

enum {
    SAFE_DIGITS = 19, /* any decimal number of so many fits 64 bits */
    MAX_DIGITS = 20   /* of 64 bits */
};

static const uint64_t each = 0x0101010101010101ULL; /* a one in every byte */

/* Eight bytes at once, capitals made small letters. Without the highest bit, adding what is between
 * a byte and 0x80 sets that bit in it, or not: 'A' and above differ from what is above 'Z'. */
static uint64_t lower_word(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof(word));
    uint64_t low = word & 0x7f * each;
    uint64_t capitals = (low + (0x80 - 'A') * each) ^ (low + (0x7f - 'Z') * each);
    return word | (capitals & ~word & 0x80 * each) >> 2;
}

static bool same_word(const char *a, const char *b)
{
    return memcmp(a, b, sizeof(uint64_t)) == 0 || lower_word(a) == lower_word(b);
}

bool vf_same_letters(const char *a, const char *b, size_t len)
{
    size_t word = sizeof(uint64_t), i = 0;
    if (len >= word) {
        for (; i < len - word; i += word)
            if (!same_word(a + i, b + i))
                return false;
        return same_word(a + len - word, b + len - word);
    }
    while (i < len && (a[i] == b[i] || vf_lower(a[i]) == vf_lower(b[i])))
        i++;
    return i == len;
}

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
    size_t i = 0, safe = text.len < SAFE_DIGITS ? text.len : SAFE_DIGITS;
    unsigned digit = 10;
    for (; i < safe && (digit = (unsigned char)text.data[i] - '0') <= 9; i++)
        value = value * 10 + digit;
    for (; i < text.len && (digit = (unsigned char)text.data[i] - '0') <= 9; i++) {
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (digit > 9)
        return false;
    *out = value;
    return true;
}

size_t vf_u64_format(uint64_t value, char *out)
{
    size_t n = 1;
    for (uint64_t limit = 10; n < MAX_DIGITS && value >= limit; n++)
        limit *= 10; /* wraps with the last digit only, behind which nothing is compared */
    for (char *at = out + n; at > out; value /= 10)
        *--at = (char)('0' + value % 10);
    return n;
}

/* All eight digits at once: each nibble goes to a byte of its own, and what is above 9 is moved on
 * to the letters. */
void vf_hex_format(uint32_t value, char out[8])
{
    uint64_t digits = value;
    digits = (digits | digits << 16) & 0x0000ffff0000ffffULL;
    digits = (digits | digits << 8) & 0x00ff00ff00ff00ffULL;
    digits = (digits | digits << 4) & 0x0f0f0f0f0f0f0f0fULL;
    uint64_t letters = (digits + 6 * each) >> 4 & each;
    digits += '0' * each + letters * ('a' - '0' - 10);
    digits = htobe64(digits);
    memcpy(out, &digits, sizeof(digits));
}

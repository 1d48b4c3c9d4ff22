/* proxy/access/value.h - what stands in a line of the access log: numbers, and texts of clients
 * with escapes. Each writes at `out`, which has room, and returns the end of what it wrote. */
#ifndef VF_PROXY_ACCESS_VALUE_H
#define VF_PROXY_ACCESS_VALUE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

/* How a byte may stand in a line as it is: between quotes; and without, where no space may be. */
enum { VF_PUT_QUOTED = 1, VF_PUT_BARE = 2 };

/* Writes what stands for the first of `len` bytes (at least 1) at `data`, which may not stand as it
 * is, at *out and moves it. Returns how many bytes that was for. */
typedef size_t vf_escape_fn(char **out, const unsigned char *data, size_t len);

/* By byte: VF_PUT_QUOTED, VF_PUT_BARE, both or neither. */
extern const unsigned char vf_put_class[256];

/* RFC 8259 section 7. A byte that is not UTF-8 is written as the code point of its value. */
vf_escape_fn vf_escape_json;

/* As Apache's ap_escape_logitem: all that is not printable ASCII. */
vf_escape_fn vf_escape_apache;

/* As vf_escape_apache, but people's letters stay; the controls U+0080 to U+009F do not. */
vf_escape_fn vf_escape_text;

static inline char *vf_put_bytes(char *out, const char *data, size_t len)
{
    memcpy(out, data, len);
    return out + len;
}

#define VF_PUT_LITERAL(out, text) vf_put_bytes(out, text, sizeof(text) - 1)

static inline char *vf_put_number(char *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return vf_put_bytes(out, digits + at, sizeof(digits) - at);
}

static inline char *vf_put_thousandths(char *out, unsigned value)
{
    *out++ = (char)('0' + value / 100);
    *out++ = (char)('0' + value / 10 % 10);
    *out++ = (char)('0' + value % 10);
    return out;
}

/* Microseconds as milliseconds: 1234 is "1.234". */
static inline char *vf_put_ms(char *out, uint64_t us)
{
    out = vf_put_number(out, us / 1000);
    *out++ = '.';
    return vf_put_thousandths(out, (unsigned)(us % 1000));
}

/* Writes `len` bytes; those that are not of `plain` (VF_PUT_QUOTED or VF_PUT_BARE) are escaped. */
static inline char *vf_put_escaped(char *out, const char *data, size_t len, unsigned plain,
                                   vf_escape_fn *escape)
{
    const unsigned char *next = (const unsigned char *)data, *end = next + len;
    while (next < end) {
        if (vf_put_class[*next] & plain)
            *out++ = (char)*next++;
        else
            next += escape(&out, next, (size_t)(end - next));
    }
    return out;
}

/* The same for a value of which no more than `max` bytes are shown, and "..." then. */
static inline char *vf_put_value(char *out, struct vf_str value, size_t max, unsigned plain,
                                 vf_escape_fn *escape)
{
    if (value.len <= max)
        return vf_put_escaped(out, value.data, value.len, plain, escape);
    out = vf_put_escaped(out, value.data, max, plain, escape);
    return VF_PUT_LITERAL(out, "...");
}

#endif

/* base/str.h - string views: bytes that somebody else owns.
 * A view is a pointer and a length in bytes, not NUL-terminated; it is valid as long as what it
 * points into. Comparisons are bytewise; `ieq` folds ASCII letters only, as HTTP does
 * (RFC 9110 section 5.1). */
#ifndef VF_BASE_STR_H
#define VF_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vf_str {
    const char *data; /* may be NULL when len is 0 */
    size_t len;       /* bytes */
};

#define VF_STR(literal) ((struct vf_str){(literal), sizeof(literal) - 1})

static inline struct vf_str vf_str_make(const char *data, size_t len)
{
    return (struct vf_str){data, len};
}

static inline struct vf_str vf_str_from(const char *text)
{
    return (struct vf_str){text, strlen(text)};
}

static inline bool vf_str_eq(struct vf_str a, struct vf_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline char vf_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Returns true when `len` bytes at `a` and `b` are the same but for the case of letters. */
bool vf_same_letters(const char *a, const char *b, size_t len);

static inline bool vf_str_ieq(struct vf_str a, struct vf_str b)
{
    return a.len == b.len && vf_same_letters(a.data, b.data, a.len);
}

static inline bool vf_str_starts(struct vf_str text, struct vf_str prefix)
{
    return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

/* Returns `text` without leading and trailing spaces and tabs (OWS, RFC 9110 section 5.6.3). */
struct vf_str vf_str_trim(struct vf_str text);

/* Takes the next element of a comma-separated list (RFC 9110 section 5.6.1) off the front of
 * `*rest` and stores it, trimmed, in `*item`; empty elements are skipped, a comma within a quoted
 * string does not separate. Returns false when nothing is left. */
bool vf_str_next_item(struct vf_str *rest, struct vf_str *item);

/* Returns true when the comma-separated list `list` has the element `token`, ignoring case. */
bool vf_str_has_token(struct vf_str list, struct vf_str token);

/* Reads an unsigned decimal number that fills `text` entirely: digits only, no sign, no spaces.
 * Returns false when it is empty, has another character or does not fit 64 bits. */
bool vf_str_to_u64(struct vf_str text, uint64_t *out);

/* Writes `value` in decimal at `out` (room for 20 bytes, no NUL). Returns the number of bytes. */
size_t vf_u64_format(uint64_t value, char *out);

/* Writes `value` as eight hexadecimal digits in lower case at `out` (no NUL). */
void vf_hex_format(uint32_t value, char out[8]);

#endif

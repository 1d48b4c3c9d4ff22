/* http/h1_plain.c - field sections of the usual shape, read in one pass over their bytes.
 * llhttp looks at each byte in a large machine, which costs a small request more than everything
 * else. What nearly all messages look like is read here; whatever is unusual in the least is left
 * to llhttp, so that this reader takes less than it does, and reads it in the same way: the fuzz
 * targets of the codec hold one against the other. See docs/decisions/0028-plain-heads.md. */
#include <endian.h>

#include "http/h1_parse.h"

static const uint64_t each = 0x0101010101010101ULL;

/* The highest bit of every byte that is below the space or DEL, and maybe of others above the
 * lowest such byte: the subtractions borrow. */
static uint64_t controls_in(uint64_t word)
{
    uint64_t from_del = word ^ 0x7f * each;
    uint64_t less = (word - ' ' * each) & ~word;
    uint64_t zero = (from_del - each) & ~from_del;
    return (less | zero) & 0x80 * each;
}

const char *vf_h1_find_control(const char *at, const char *end)
{
    for (uint64_t word; end - at >= (ptrdiff_t)sizeof(word); at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        uint64_t found = controls_in(le64toh(word));
        if (found != 0)
            return at + __builtin_ctzll(found) / 8;
    }
    while (at < end && (unsigned char)*at >= ' ' && *at != 0x7f)
        at++;
    return at;
}

/* Reads "name: value CRLF" at `at`; `end` is behind the head, where a NUL stands. Returns the byte
 * behind the line, or NULL when it is not plain. */
static const char *read_line(const char *at, const char *end, struct vf_str *name,
                             struct vf_str *value)
{
    const char *colon = at;
    while (vf_is_token_char(*colon))
        colon++;
    if (colon == at || *colon != ':')
        return NULL;
    const char *start = colon + 1;
    while (*start == ' ')
        start++;
    const char *stop = vf_h1_find_control(start, end);
    if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')
        return NULL;
    const char *last = stop;
    while (last > start && last[-1] == ' ')
        last--;
    *name = vf_str_make(at, (size_t)(colon - at));
    *value = vf_str_make(start, (size_t)(last - start));
    return stop + 2;
}

static bool read_lines(struct vf_fields *fields, struct vf_arena *arena, const char *at,
                       const char *end)
{
    struct vf_str name, value;
    while (end - at > 2) {
        at = read_line(at, end, &name, &value);
        if (at == NULL || vf_fields_add(fields, arena, name, value) < 0)
            return false;
    }
    return end - at == 2 && at[0] == '\r' && at[1] == '\n' &&
           !vf_fields_have(fields, VF_FIELD_TRANSFER_ENCODING); /* chunks are llhttp's */
}

bool vf_h1_read_plain(struct vf_fields *fields, struct vf_arena *arena, const char *data,
                      size_t len)
{
    if (read_lines(fields, arena, data, data + len))
        return true;
    fields->count = fields->present = 0;
    return false;
}

bool vf_h1_is_plain_target(struct vf_str target)
{
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.data[i] <= ' ' || (unsigned char)target.data[i] >= 0x7f)
            return false;
    return target.len > 0 && target.data[0] == '/';
}

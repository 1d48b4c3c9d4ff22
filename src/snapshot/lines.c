#include "snapshot/lines.h"

#include <stdlib.h>

enum { PIECE_BYTES = 64 };

static uint8_t is_control(unsigned char c)
{
    return (uint8_t)((c < 0x20) & (c != '\t')) | (uint8_t)(c == 0x7f);
}

/* No branches: the compiler does 16 bytes at a time. */
static uint8_t has_control(const unsigned char *piece)
{
    uint8_t found = 0;
    for (size_t i = 0; i < PIECE_BYTES; i++)
        found |= is_control(piece[i]);
    return found;
}

static bool is_line(struct vf_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (is_control((unsigned char)text.data[i]))
            return false;
    return true;
}

void vf_lines_init(struct vf_lines *lines, const char *base, size_t size)
{
    size_t n_pieces = size / PIECE_BYTES;
    *lines = (struct vf_lines){base, n_pieces * PIECE_BYTES, malloc(n_pieces + 1)};
    for (size_t i = 0; lines->suspects != NULL && i < n_pieces; i++)
        lines->suspects[i] = has_control((const unsigned char *)base + i * PIECE_BYTES);
}

void vf_lines_deinit(struct vf_lines *lines)
{
    free(lines->suspects);
    *lines = (struct vf_lines){0};
}

bool vf_lines_has(const struct vf_lines *lines, struct vf_str text)
{
    if (text.len == 0)
        return true;
    if (lines->suspects == NULL || text.data < lines->base ||
        text.data + text.len > lines->base + lines->size)
        return is_line(text);
    size_t first = (size_t)(text.data - lines->base) / PIECE_BYTES;
    size_t last = (size_t)(text.data + text.len - 1 - lines->base) / PIECE_BYTES;
    for (size_t i = first; i <= last; i++)
        if (lines->suspects[i])
            return is_line(text);
    return true;
}

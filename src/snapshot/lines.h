/* snapshot/lines.h - whether texts are lines, without control characters but tab: thousands of
 * them in one block of memory. The block is looked at once, in pieces that the compiler makes
 * vectors of; a text is looked at by itself only where one of its pieces holds such a character. */
#ifndef VF_SNAPSHOT_LINES_H
#define VF_SNAPSHOT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct vf_lines {
    const char *base;  /* the block, the caller's */
    size_t size;       /* bytes of it */
    uint8_t *suspects; /* a byte for each piece: 1 when it holds one; NULL without memory */
};

/* Looks at `size` bytes at `base`, which outlive *lines. Without memory each text is looked at by
 * itself: it cannot fail. */
void vf_lines_init(struct vf_lines *lines, const char *base, size_t size);
void vf_lines_deinit(struct vf_lines *lines);

/* Returns true when `text`, within the block or elsewhere, is a line. */
bool vf_lines_has(const struct vf_lines *lines, struct vf_str text);

#endif

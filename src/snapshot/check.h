/* snapshot/check.h - proves that bytes are a snapshot: every extent, text, index and enum is what
 * layout.h says, every slot fits the state area, and no text that becomes part of a message holds a
 * control character. What passes can be read without further checks. */
#ifndef VF_SNAPSHOT_CHECK_H
#define VF_SNAPSHOT_CHECK_H

#include <stddef.h>

/* Checks `size` bytes at `memory` (8-aligned). Returns 0, or UV_EINVAL with the place of the first
 * mistake in `fault` (at most `fault_size` bytes, NUL-terminated). */
int vf_snapshot_check(const void *memory, size_t size, char *fault, size_t fault_size);

#endif

/* snapshot/check.h - proves that bytes are a snapshot: every extent, text, index and enum is what
 * layout.h says, every slot fits the state area, and no text that becomes part of a message holds a
 * control character. What passes can be read without further checks. */
#ifndef VF_SNAPSHOT_CHECK_H
#define VF_SNAPSHOT_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct vf_snap_text;
struct vf_snapshot;

/* Checks no more than the header and where the sections are. Returns as vf_snapshot_check. */
int vf_snapshot_check_frame(const void *memory, size_t size, char *fault, size_t fault_size);

/* Checks `size` bytes at `memory` (8-aligned). Returns 0, or UV_EINVAL with the place of the first
 * mistake in `fault` (at most `fault_size` bytes, NUL-terminated). */
int vf_snapshot_check(const void *memory, size_t size, char *fault, size_t fault_size);

/* A field of a record, or of the settings. */
struct vf_snap_place {
    uint32_t section; /* VF_SNAP_SECTIONS: the settings */
    uint32_t index;
    size_t offset; /* within the record */
};

/* Calls `visit` for every text of a snapshot whose frame is sound; *text may be changed where the
 * snapshot's memory may. */
void vf_snapshot_each_text(const struct vf_snapshot *snapshot,
                           void (*visit)(void *owner, const struct vf_snap_place *place,
                                         struct vf_snap_text *text),
                           void *owner);

#endif

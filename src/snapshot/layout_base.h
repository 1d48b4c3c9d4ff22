/* snapshot/layout_base.h - what all records of a snapshot are made of: places of texts and of other
 * records. Part of snapshot/layout.h, which says more; other code includes that. */
#ifndef VF_SNAPSHOT_LAYOUT_BASE_H
#define VF_SNAPSHOT_LAYOUT_BASE_H

#include <stdint.h>

enum { VF_SNAP_NONE = 0xffffffff }; /* an index that refers to nothing (use as uint32_t) */

struct vf_snap_text {
    uint32_t offset; /* bytes from the start of the snapshot */
    uint32_t len;    /* bytes; not NUL-terminated */
};

struct vf_snap_list {
    uint32_t first; /* index into the section that the field's comment names */
    uint32_t count;
};

struct vf_snap_extent {
    uint64_t offset; /* bytes from the start of the snapshot, 8-aligned */
    uint32_t count;  /* records */
    uint32_t record_bytes;
};

#endif

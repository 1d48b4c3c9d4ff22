/* snapshot/table/overlay.h - a reader's private index of a delta: key -> newest record.
 * Open addressing with linear probing, a power of two entries, at most half of them used. */
#ifndef VF_SNAPSHOT_TABLE_OVERLAY_H
#define VF_SNAPSHOT_TABLE_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/table/layout.h"

struct vf_overlay_slot {
    uint32_t tag;
    uint32_t place; /* of the record in the delta, in units of VF_TABLE_ALIGN; 0: empty */
};

struct vf_overlay {
    const struct vf_delta_header *delta; /* borrowed */
    size_t size;                         /* of the delta, as it was mapped */
    struct vf_siphash_key hash_key;
    uint64_t seen; /* `published`, as far as it is indexed */
    struct vf_overlay_slot *slots;
    uint32_t n_slots, used;
};

/* A record whose extent has been checked. */
struct vf_overlay_record {
    struct vf_str key, value;
    bool is_deleted;
};

void vf_overlay_init(struct vf_overlay *overlay, const struct vf_delta_header *delta, size_t size);
void vf_overlay_deinit(struct vf_overlay *overlay);

/* Indexes what was published meanwhile. Returns 0 or UV_ENOMEM; then `seen` stays behind. */
int vf_overlay_catch_up(struct vf_overlay *overlay);

/* Is there something new? */
static inline bool vf_overlay_is_behind(const struct vf_overlay *overlay)
{
    return atomic_load_explicit(&((struct vf_delta_header *)overlay->delta)->published,
                                memory_order_acquire) != overlay->seen;
}

/* Finds the newest record of `key`, which has the hash `hash`. */
bool vf_overlay_find(const struct vf_overlay *overlay, struct vf_str key, uint64_t hash,
                     struct vf_overlay_record *out);

/* Reads the record of slot `index` (below n_slots). Returns false when it is empty. */
bool vf_overlay_at(const struct vf_overlay *overlay, uint32_t index, struct vf_overlay_record *out);

#endif

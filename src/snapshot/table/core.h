/* snapshot/table/core.h - the fields of a table, for its reader and its writer. */
#ifndef VF_SNAPSHOT_TABLE_CORE_H
#define VF_SNAPSHOT_TABLE_CORE_H

#include "snapshot/table/table.h"
#include "snapshot/table/overlay.h"

struct vf_table {
    const struct vf_table_header *header; /* the generation; what is used often is copied: */
    size_t size;
    struct vf_siphash_key hash_key;
    const uint32_t *buckets;
    uint64_t n_buckets;
    struct vf_delta_header *delta; /* writable when is_writable */
    size_t delta_size;
    struct vf_overlay overlay;
    bool is_writable, is_mapped;
    int lock_fd; /* the delta, for the writer's lock; -1: not writable; owned */
};

/* Looks in the generation alone. `hash` is the key's. */
bool vf_table_find_sealed(const struct vf_table *table, struct vf_str key, uint64_t hash,
                          struct vf_str *value);

#endif

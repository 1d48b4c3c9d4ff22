/* snapshot/index.h - the hash tables inside a snapshot, as the builder writes and the lookups read
 * them: open addressing, linear probing, a power of two entries, at most half of them used. */
#ifndef VF_SNAPSHOT_INDEX_H
#define VF_SNAPSHOT_INDEX_H

#include <stdint.h>

#include "base/hash.h"
#include "base/str.h"

/* Where the search for a host begins; mask with the number of entries - 1. `name` is lower case. */
static inline uint64_t vf_index_host_hash(struct vf_str name)
{
    return vf_hash(name.data, name.len, 0);
}

/* Where the search for a path segment below `parent` begins. */
static inline uint64_t vf_index_node_hash(uint32_t parent, struct vf_str segment)
{
    return vf_hash(segment.data, segment.len, (uint64_t)parent + 1);
}

/* Returns how many entries a table of `used` has. */
static inline uint32_t vf_index_entries(uint32_t used)
{
    uint32_t entries = 2;
    while (entries < 2 * (uint64_t)used)
        entries *= 2;
    return entries;
}

#endif

/* snapshot/index.h - the hash tables inside a snapshot, as the builder writes and the lookups read
 * them: open addressing, linear probing, a power of two entries, at most half of them used. Who
 * changes how they are filled changes VF_SNAP_MAGIC. */
#ifndef VF_SNAPSHOT_INDEX_H
#define VF_SNAPSHOT_INDEX_H

#include <stdint.h>

#include "base/hash.h"
#include "base/str.h"

/* Returns the fewer than eight bytes at `at` as one number. */
static inline uint64_t vf_index_load(const char *at, size_t len)
{
    uint64_t word = 0;
    uint32_t four;
    uint16_t two;
    if (len & 4) {
        memcpy(&four, at, sizeof(four));
        word = four;
        at += sizeof(four);
    }
    if (len & 2) {
        memcpy(&two, at, sizeof(two));
        word = word << 16 | two;
        at += sizeof(two);
    }
    return len & 1 ? word << 8 | (unsigned char)*at : word;
}

/* Hashes eight bytes at a time: a request asks for its host and for each segment of its path. */
static inline uint64_t vf_index_hash(struct vf_str text, uint64_t seed)
{
    uint64_t hash = seed + text.len, word;
    for (; text.len >= sizeof(word); text.data += sizeof(word), text.len -= sizeof(word)) {
        memcpy(&word, text.data, sizeof(word));
        hash = vf_hash_mix(hash ^ word);
    }
    return vf_hash_mix(hash ^ vf_index_load(text.data, text.len));
}

/* Where the search for a host begins; mask with the number of entries - 1. `name` is lower case. */
static inline uint64_t vf_index_host_hash(struct vf_str name)
{
    return vf_index_hash(name, 0);
}

/* Where the search for a path segment below `parent` begins. */
static inline uint64_t vf_index_node_hash(uint32_t parent, struct vf_str segment)
{
    return vf_index_hash(segment, ((uint64_t)parent + 1) << 32);
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

/* snapshot/table/table.h - reading one table: a mapped generation, and what its delta adds.
 * A reader asks nobody: it maps both memfds and looks. What the delta has new is found by one
 * atomic load per lookup and then entered in a private index (snapshot/table/overlay.h).
 *
 * Nothing in a memfd is trusted: every offset is compared with the size before it is followed, so a
 * foreign one may give wrong answers but harms no reader. A handle belongs to one thread.
 * The layout is described in snapshot/table/layout.h. */
#ifndef VF_SNAPSHOT_TABLE_TABLE_H
#define VF_SNAPSHOT_TABLE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/table/layout.h"

struct vf_table;

/* Maps a generation and its delta; the descriptors stay the caller's. The delta is mapped writable
 * when its descriptor is. Returns 0; UV_EPROTO when they are not what this build writes, or do not
 * belong together; UV_EPERM when one is not sealed against what could harm a reader; or another
 * UV_E* code. */
int vf_table_open(int generation_fd, int delta_fd, struct vf_table **out);

/* The same for memory (8-aligned), which stays the caller's and outlives the handle; not writable.
 * For specs. */
int vf_table_open_memory(const void *generation, size_t generation_size, const void *delta,
                         size_t delta_size, struct vf_table **out);

/* Unmaps both; NULL is left alone. */
void vf_table_close(struct vf_table *table);

/* Returns 1 and sets *value, borrowed until the table is closed; 0 when there is no such key;
 * UV_ENOMEM when what is new in the delta cannot be indexed: then nothing is known. */
int vf_table_get(struct vf_table *table, struct vf_str key, struct vf_str *value);

/* Calls `visit` for every entry, until it returns something else than 0, which is returned; 0 in
 * the end; UV_ENOMEM. The order is that of the hash. */
typedef int (*vf_table_visit)(void *owner, struct vf_str key, struct vf_str value);
int vf_table_each(struct vf_table *table, vf_table_visit visit, void *owner);

/* Returns the sequence number of what a lookup would see now: it grows with every change. */
uint64_t vf_table_sequence(const struct vf_table *table);

/* Returns how many changes the delta has now. */
uint64_t vf_table_changes(const struct vf_table *table);

/* Returns enum vf_table_kind. */
uint32_t vf_table_kind(const struct vf_table *table);

/* Returns a hash of the sizes and offsets of the records: equal in builds that read each other's
 * tables. */
uint64_t vf_table_layout_hash(void);

struct vf_table_stats {
    uint64_t sequence;
    uint64_t entries;       /* that a lookup finds */
    uint64_t bytes;         /* of the generation */
    uint64_t delta_bytes;   /* used */
    uint64_t delta_room;    /* of it at most */
    uint64_t delta_overlay; /* entries of the private index */
};

/* Fills *out. Costs a lookup for every entry of the private index. Returns 0 or UV_ENOMEM. */
int vf_table_stats(struct vf_table *table, struct vf_table_stats *out);

#endif

/* snapshot/cells.h - rate-limit cells: who may do how much, shared by all processes, without locks.
 * A cell is one 64-bit word, changed by compare-and-swap only: a tag of 20 bits that says whose it
 * is, and the due time of base/gcra.h in 44 bits of microseconds. So a process killed at any point
 * leaves no lock and no half-written cell. A key (any bytes; hashed with a secret key of the table)
 * has its cell in one bucket of eight, a line of the cache.
 *
 * Never lenient. A cell that is due owes nothing: it says no more than an absent one, and only such
 * cells are given to other keys. When all eight of a bucket owe something the request is refused
 * (VF_CELLS_FULL) and counted: sharing a cell would forget what the key used as soon as another
 * cell is free. Two keys with the same tag in one bucket share a cell, which is stricter for both;
 * a key meets another so with a probability below 8 in a million. Due times are rounded up to the
 * next microsecond: at 10,000 events a second of one key the limit is at most 1 % low.
 *
 * A new key claims a cell that owes nothing first and looks at the bucket again before it charges
 * the cell: of two processes that claim cells for the same key at the same time at least one sees
 * the other's claim, and claims that owe nothing may be dropped. See charge in cells.c.
 *
 * How many fit: a cell is busy only while its key is ahead of its schedule. A table of a million
 * cells (8 MiB) holds 250,000 busy keys with 2 in 10,000 refused for want of a cell, 500,000 with 7
 * in 1,000 (measured).
 *
 * For a sliding window of two weighted counters use vf_dict_slide (snapshot/dict/dict.h): two
 * counters, the number of their window and a tag do not fit in a word with useful ranges. */
#ifndef VF_SNAPSHOT_CELLS_H
#define VF_SNAPSHOT_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gcra.h"

struct vf_cells; /* in shared memory; no pointers inside */

enum vf_cells_status {
    VF_CELLS_ADMITTED = 0,
    VF_CELLS_REFUSED, /* over its limit */
    VF_CELLS_FULL     /* refused because all cells of its bucket are other keys' */
};

struct vf_cells_answer {
    uint32_t status; /* enum vf_cells_status */
    uint32_t reserved;
    uint64_t left;     /* events that would be admitted now */
    uint64_t retry_ns; /* 0 when admitted; UINT64_MAX: never, the cost is above the burst */
    uint64_t reset_ns; /* until the key owes nothing and has its whole burst again */
};

struct vf_cells_info {
    uint64_t cells, busy; /* busy: owe something now */
    uint64_t claims;      /* keys that got a cell */
    uint64_t full;        /* requests refused for want of a cell */
};

/* The longest schedule: interval_ns + slack_ns, some 50 days. A longer slack is cut. */
#define VF_CELLS_MAX_NS (1ULL << 52)

/* Returns the bytes of a table of `n_cells`, a power of two from 64 on. */
size_t vf_cells_bytes(uint32_t n_cells);

/* Makes a table in zeroed memory of vf_cells_bytes, aligned to a page. */
void vf_cells_init(struct vf_cells *cells, uint32_t n_cells, uint64_t now_ns);

/* Decides on `cost` events of a key at once, all or none, and counts them when they are admitted.
 * With a cost of 0 nothing changes: the answer says how things stand. The same key under another
 * limit is another key: put the name of the limit into it. `now_ns` is vf_clock_ns() of this very
 * call: among processes whose clocks differ a cell counts as due for the one that is ahead. Returns
 * out->status. */
int vf_cells_take(struct vf_cells *cells, const void *key, size_t key_len,
                  const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns,
                  struct vf_cells_answer *out);

/* Forgets times that are long past, which would come round again after 101 days. Called by
 * control every hour. */
void vf_cells_sweep(struct vf_cells *cells, uint64_t now_ns);

/* Fills *out; reads the whole table, as far as it was ever used. */
void vf_cells_info(const struct vf_cells *cells, uint64_t now_ns, struct vf_cells_info *out);

#endif

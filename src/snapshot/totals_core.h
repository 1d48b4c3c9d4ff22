/* snapshot/totals_core.h - what the files of totals.h share: sums over the blocks of the state
 * area, and readings that are whole while others write. */
#ifndef VF_SNAPSHOT_TOTALS_CORE_H
#define VF_SNAPSHOT_TOTALS_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/state.h"

enum { VF_TOTALS_READ_TRIES = 100 /* of a text that its writer is just changing */ };

/* Summed counters come in the same order in the state area and in totals.h, so both are added as
 * arrays of numbers. */
#define VF_TOTALS_WORDS(type) (sizeof(type) / sizeof(uint64_t))

static inline void vf_totals_add_words(uint64_t *sum, const vf_count *counts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += vf_count_get(&counts[i]);
}

/* Blocks that were ever leased; they are taken in order. */
static inline uint32_t vf_totals_used_blocks(const struct vf_state *state)
{
    uint32_t n = 0;
    while (n < VF_STATE_BLOCKS && atomic_load(&state->blocks[n].lease) != VF_BLOCK_NEVER)
        n++;
    return n;
}

static inline bool vf_totals_is_leased(const struct vf_state_block *block)
{
    return atomic_load(&block->lease) == VF_BLOCK_LEASED;
}

/* True when nobody wrote under the sequence lock `seq` since it was `before`. */
static inline bool vf_totals_was_quiet(const _Atomic uint32_t *seq, uint32_t before)
{
    atomic_thread_fence(memory_order_acquire);
    return (before & 1) == 0 && atomic_load_explicit(seq, memory_order_relaxed) == before;
}

static inline uint64_t vf_totals_ago_ms(uint64_t now_ns, uint64_t then_ns)
{
    if (then_ns == 0)
        return UINT64_MAX;
    return now_ns > then_ns ? (now_ns - then_ns) / 1000000 : 0;
}

#endif

/* snapshot/dict/undo.h - changes to a shard that a killed process may leave half done: see
 * shard.h. On the way of every change, hence inline. */
#ifndef VF_SNAPSHOT_DICT_UNDO_H
#define VF_SNAPSHOT_DICT_UNDO_H

#include <assert.h>
#include <stdatomic.h>

#include "snapshot/dict/shard.h"

/* Orders instructions as a kill sees them. */
static inline void vf_shard_barrier(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* Changes a word so that it can be undone. */
static inline void vf_shard_put(struct vf_shard *shard, uint32_t *place, uint32_t value)
{
    uint32_t n = shard->n_undo;
    assert(n < VF_SHARD_UNDO);
    shard->undo[n].place = (uint32_t)(((char *)place - (char *)shard) / sizeof(uint32_t));
    shard->undo[n].old = *place;
    vf_shard_barrier();
    shard->n_undo = n + 1;
    vf_shard_barrier();
    *place = value;
    vf_shard_barrier();
}

/* What was done so far is final. */
static inline void vf_shard_commit(struct vf_shard *shard)
{
    vf_shard_barrier();
    shard->n_undo = 0;
    vf_shard_barrier();
}

#endif

/* proxy/passive.h - passive health: what failing connections of live traffic say about a backend.
 * Three failures in a row, over all workers, eject it for 10 s; after that the next failure ejects
 * it again for twice the time, up to 300 s, and one success forgives everything. The last usable
 * backend of a pool is never ejected. Only for pools with VF_POOL_PASSIVE_HEALTH.
 *
 * A failure is a connection that the backend does not take; and one that it ends, by closing or
 * resetting it, before its answer is whole; not when it served before and no byte of an answer
 * came: a kept connection may have been closed while it rested. A success is a whole answer, or as
 * much of one as its client wanted; of what is passed on as bytes (tunnels, listeners of mode tcp),
 * that the connection stands. Slow answers, malformed ones and errors of HTTP are neither.
 *
 * State is shared by all workers (struct vf_backend_state), each change one atomic operation. */
#ifndef VF_PROXY_PASSIVE_H
#define VF_PROXY_PASSIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum {
    VF_PASSIVE_FAILURES = 3,
    VF_PASSIVE_FIRST_MS = 10 * 1000,
    VF_PASSIVE_LONGEST_MS = 300 * 1000
};

/* Notes a failure. Returns true when that ejected the backend (also logged as backend.ejected).
 * `now_ns` is monotonic. */
bool vf_passive_failed(struct vf_state *state, const struct vf_snapshot *snapshot,
                       uint32_t pool_index, uint32_t backend_index, uint64_t now_ns);

/* Notes a success. Writes only when something was wrong. */
static inline void vf_passive_ok(struct vf_state *state, const struct vf_snapshot *snapshot,
                                 uint32_t backend_index)
{
    struct vf_backend_state *backend =
        &state->backends[vf_snap_backend(snapshot, backend_index)->slot];
    if (atomic_load_explicit(&backend->failures, memory_order_relaxed) == 0)
        return;
    atomic_store_explicit(&backend->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&backend->ejections, 0, memory_order_relaxed);
    atomic_store_explicit(&backend->ejected_until_ns, 0, memory_order_relaxed);
}

#endif

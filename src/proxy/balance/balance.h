/* proxy/balance/balance.h - which backend of a pool gets an exchange.
 * State is per process and keyed by the slot of a backend (state area) and its stable id, so that
 * it survives snapshots, and a pick on an older, still pinned snapshot is as good as any. A pick
 * allocates nothing, takes a few nanoseconds per backend of the pool and sees run-time weights,
 * drains and health at once: nothing is cached. Loads are exchanges in flight, summed over all
 * living workers.
 *
 * A backend is eligible when its weight in force is above 0, it was not tried by this exchange, and
 * it is usable (vf_backend_is_usable). When ejection by passive health is all that is left, ejected
 * backends are eligible again: passive health never takes a pool down. One that an active check
 * found down, or that is drained or disabled, stays out.
 *
 *   round_robin      smooth weighted (nginx, commit 52327e0627f4)
 *   least_conn       fewest exchanges per weight; round robin among equals
 *   random           the less loaded of two weighted draws (Mitzenmacher 2001)
 *   ip_hash          weighted rendezvous on the client's address (Thaler and Ravishankar 1998)
 *   consistent_hash  the same on a key, with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016)
 *   peak_ewma        the cheaper of two weighted draws: latency x exchanges (Finagle's Peak EWMA)
 *
 * An IPv6 client counts by its /64: addresses within one are a household's privacy addresses. */
#ifndef VF_PROXY_BALANCE_BALANCE_H
#define VF_PROXY_BALANCE_BALANCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/layout.h"

struct vf_balancers;
struct vf_snapshot;
struct vf_state;

/* What hashes look at. Borrowed for the call. */
struct vf_balance_key {
    struct vf_str hash_key; /* value of the header, cookie, query parameter or the path; NULL data:
                               there is none, the client's address stands in */
    uint32_t family;        /* of the client: enum vf_snap_family; NONE: unknown */
    uint8_t ip[16];         /* network order; IPv4 in the first four */
};

/* Makes the balancers of one process. `block` is the process's own in `state`, or -1. `seed` sets
 * the random choices and where round robin begins, so that workers do not all begin with the same
 * backend; 0 begins with the first. Owned by the caller. Returns 0 or UV_ENOMEM. */
int vf_balancers_new(struct vf_state *state, int block, uint64_t seed, struct vf_balancers **out);
void vf_balancers_free(struct vf_balancers *balancers);

/* Chooses a backend of `pool_index` for a new exchange. `key` may be NULL. `tried` are backend
 * indexes to avoid. Stores the index (VF_SNAP_BACKENDS) in *backend_index and returns 0, or
 * VF_ENOBACKEND. `now_ns` is monotonic. The caller counts the exchange in the in_flight gauge of
 * its block before the next pick. */
int vf_balance_pick(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                    uint32_t pool_index, const struct vf_balance_key *key, uint64_t now_ns,
                    const uint32_t *tried, size_t n_tried, uint32_t *backend_index);

/* Notes that a backend's first answer byte came `latency_us` after the request was sent: feeds
 * peak_ewma and the latency that the state area shows. */
void vf_balance_observe(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                        uint32_t backend_index, uint64_t latency_us, uint64_t now_ns);

/* Notes that a backend failed an exchange (no connection, reset, time-out), so that peak_ewma does
 * not take a quick failure for a quick answer. */
void vf_balance_failed(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                       uint32_t backend_index, uint64_t now_ns);

#endif

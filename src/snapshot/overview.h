/* snapshot/overview.h - the backends of a snapshot in a few numbers, for those who look often. */
#ifndef VF_SNAPSHOT_OVERVIEW_H
#define VF_SNAPSHOT_OVERVIEW_H

#include <stdint.h>

struct vf_snapshot;
struct vf_state;

struct vf_overview { /* mirrored by lua/veloflux/admin/counts.lua */
    uint32_t pools, backends;
    uint32_t usable;      /* backends that new requests may go to */
    uint32_t algorithms;  /* of the pools: bits 1 << enum vf_balance_algorithm */
    uint64_t health_mark; /* another number, all but certainly, when one backend's state is */
    uint64_t version;     /* of the snapshot: the state area may know of a later one already */
};

/* Fills *out with what `snapshot` and the state of its backends say now. Some nanoseconds for each
 * pool and backend. */
void vf_overview(const struct vf_state *state, const struct vf_snapshot *snapshot,
                 struct vf_overview *out);

#endif

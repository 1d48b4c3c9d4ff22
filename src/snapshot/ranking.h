/* snapshot/ranking.h - the one order of preference among the routes of a snapshot.
 * Priority, highest first; exact path before regular expression before prefix; longer prefix; more
 * conditions (a set of methods, each header, each query parameter); name in byte order; at last the
 * tenant's name, "default" before all others. */
#ifndef VF_SNAPSHOT_RANKING_H
#define VF_SNAPSHOT_RANKING_H

#include <stdint.h>

#include "snapshot/layout.h"

struct vf_ranking_input {
    const char *base; /* where text offsets begin; paths, names and tenants have been checked */
    struct vf_snap_route *routes;
    uint32_t n_routes;
    const struct vf_snap_tenant *tenants;
    /* By route: its rank in another snapshot (each at most once), or VF_SNAP_NONE: what it is
     * compared by was not ranked there. NULL: of none. */
    const uint32_t *old_ranks;
    uint32_t n_old_ranks; /* they are below this */
};

/* Sets `rank` of each of the routes and fills `ranked` with their indexes, best first. Those that
 * were ranked keep their order: only the others are sorted. Returns 0 or UV_ENOMEM. */
int vf_rank_routes(const struct vf_ranking_input *input, uint32_t *ranked);

#endif

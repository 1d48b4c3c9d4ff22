/* snapshot/ranking.h - the one order of preference among the routes of a snapshot.
 * Priority, highest first; exact path before regular expression before prefix; longer prefix; more
 * conditions (a set of methods, each header, each query parameter); name in byte order; at last the
 * tenant's name, "default" before all others. */
#ifndef VF_SNAPSHOT_RANKING_H
#define VF_SNAPSHOT_RANKING_H

#include <stdint.h>

#include "snapshot/layout.h"

/* Sets `rank` of each of the `n_routes` routes and fills `ranked` with their indexes, best first.
 * `base` is where text offsets begin; paths, names and tenants have been checked. Returns 0 or
 * UV_ENOMEM. */
int vf_rank_routes(const char *base, struct vf_snap_route *routes, uint32_t n_routes,
                   const struct vf_snap_tenant *tenants, uint32_t *ranked);

#endif

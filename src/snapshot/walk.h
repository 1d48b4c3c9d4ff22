/* snapshot/walk.h - finds the lists of routes that host and path select: what the router and
 * `explain` share. */
#ifndef VF_SNAPSHOT_WALK_H
#define VF_SNAPSHOT_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/router.h"

enum { VF_WALK_HOST_BYTES = 256 }; /* a DNS name has 253 at most */

/* A host in the form of the host table. */
struct vf_walk_host {
    char text[VF_WALK_HOST_BYTES];
    size_t len; /* 0: only "*" */
};

/* Writes `host` (see vf_route_query) in lower case, without port and trailing dot. One that is
 * longer than any name becomes empty. */
void vf_walk_host(struct vf_str host, struct vf_walk_host *out);

/* Returns the host table's entry for `host` in `class`, or NULL. The classes are asked in their
 * order: looking for the wildcard overwrites the first label. */
const struct vf_snap_host *vf_walk_find(const struct vf_snapshot *snapshot,
                                        struct vf_walk_host *host, enum vf_host_class class);

/* Returns the host table's entry called `name`, or NULL. */
const struct vf_snap_host *vf_walk_entry(const struct vf_snapshot *snapshot, struct vf_str name);

/* Returns the host table's only entry when that is for any host, or NULL: with it there is no other
 * to look for. */
const struct vf_snap_host *vf_walk_only_any(const struct vf_snapshot *snapshot);

/* Returns true when one of the routes that `host` may come to has authorities for certificates of
 * clients; for an empty one, when any route has. */
bool vf_walk_asks_clients(const struct vf_snapshot *snapshot, struct vf_str host);

/* Where a walk over the segments of a path stands; made by vf_walk_start. */
struct vf_walk {
    const struct vf_snapshot *snapshot;
    struct vf_str path;
    uint32_t parent;
    size_t end;   /* bytes of the path up to the end of the segment reached */
    bool is_last; /* that segment is the last one */
};

void vf_walk_start(struct vf_walk *walk, const struct vf_snapshot *snapshot,
                   const struct vf_snap_host *host, struct vf_str path);

/* Goes one segment down. Returns its node, or NULL when the path or the tree ends. */
const struct vf_snap_node *vf_walk_next(struct vf_walk *walk);

/* Returns the route at place `at` of `list` (VF_SNAP_CANDIDATES) as index into VF_SNAP_ROUTES. */
static inline uint32_t vf_walk_route(const struct vf_snapshot *snapshot, struct vf_snap_list list,
                                     uint32_t at)
{
    const uint32_t *candidates = vf_snap_section(snapshot, VF_SNAP_CANDIDATES);
    return candidates[list.first + at];
}

#endif

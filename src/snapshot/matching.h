/* snapshot/matching.h - whether one route matches: its pattern, its header and query conditions. */
#ifndef VF_SNAPSHOT_MATCHING_H
#define VF_SNAPSHOT_MATCHING_H

#include <stdbool.h>
#include <stdint.h>

#include "http/method.h"
#include "snapshot/patterns.h"
#include "snapshot/router.h"

struct vf_router {
    struct vf_patterns *patterns;
    char *decoded; /* room for a decoded query value */
    size_t decoded_room;
};

/* Tests the conditions of `route`, in order. Returns VF_SNAP_NONE when all hold, else the index of
 * the first that does not (VF_SNAP_CONDITIONS). Names and values of query parameters are compared
 * decoded (%XX, '+' is a space); of several of one name the first counts, as with header fields. */
uint32_t vf_match_conditions(struct vf_router *router, const struct vf_snapshot *snapshot,
                             const struct vf_snap_route *route, const struct vf_route_query *query);

/* Matches the regular expression of `route` against `path`; fills the captures of *match when it
 * matches and `match` is not NULL. */
bool vf_match_pattern(struct vf_router *router, const struct vf_snapshot *snapshot,
                      const struct vf_snap_route *route, struct vf_str path,
                      struct vf_route_match *match);

/* Whether the extension method `name` is in the list of `route`. */
bool vf_match_extension(const struct vf_snapshot *snapshot, const struct vf_snap_route *route,
                        struct vf_str name);

static inline bool vf_match_method(const struct vf_snapshot *snapshot,
                                   const struct vf_snap_route *route,
                                   const struct vf_route_query *query)
{
    uint32_t method = query->method;
    return route->methods == 0 ||
           (method < VF_METHODS && (route->methods >> method & 1) != 0 &&
            (method != VF_METHOD_OTHER || vf_match_extension(snapshot, route, query->method_name)));
}

#endif

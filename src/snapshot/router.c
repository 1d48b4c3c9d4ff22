#include "snapshot/router.h"

#include <stdlib.h>

#include "snapshot/matching.h"
#include "snapshot/walk.h"

struct vf_router *vf_router_new(void)
{
    struct vf_router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return NULL;
    router->patterns = vf_patterns_new();
    if (router->patterns != NULL)
        return router;
    free(router);
    return NULL;
}

void vf_router_free(struct vf_router *router)
{
    if (router == NULL)
        return;
    vf_patterns_free(router->patterns);
    free(router->decoded);
    free(router);
}

void vf_router_sweep(struct vf_router *router, const struct vf_snapshot *snapshot)
{
    if (vf_patterns_count(router->patterns) == 0)
        return;
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_ROUTES); i++) {
        const struct vf_snap_route *route = vf_snap_route(snapshot, i);
        if (route->path_kind == VF_PATH_REGEX)
            vf_patterns_mark(router->patterns, vf_snap_str(snapshot, route->path));
    }
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_CONDITIONS); i++) {
        const struct vf_snap_condition *condition = vf_snap_condition(snapshot, i);
        if (condition->test == VF_TEST_REGEX)
            vf_patterns_mark(router->patterns, vf_snap_str(snapshot, condition->value));
    }
    vf_patterns_sweep(router->patterns);
}

uint64_t vf_router_limit_hits(const struct vf_router *router)
{
    return vf_patterns_limit_hits(router->patterns);
}

struct search {
    struct vf_router *router;
    const struct vf_snapshot *snapshot;
    const struct vf_route_query *query;
    struct vf_route_match *match;
    uint32_t best; /* rank of match->route; UINT32_MAX when none was found */
};

static void remember_methods(struct search *search, const struct vf_snap_route *route)
{
    struct vf_route_match *match = search->match;
    match->allow |= route->methods;
    if (route->more_methods.len > 0 && match->n_allow_more < VF_ROUTE_ALLOWS)
        match->allow_more[match->n_allow_more++] =
            vf_snap_str(search->snapshot, route->more_methods);
}

/* Returns true when nothing but the path is left to ask of `route`; remembers methods that would
 * have been welcome. */
static bool is_wanted(struct search *search, const struct vf_snap_route *route)
{
    if (vf_match_conditions(search->router, search->snapshot, route, search->query) != VF_SNAP_NONE)
        return false;
    if (vf_match_method(search->snapshot, route, search->query))
        return true;
    remember_methods(search, route);
    return false;
}

static void choose(struct search *search, uint32_t index, const struct vf_snap_route *route,
                   size_t prefix_bytes)
{
    search->best = route->rank;
    search->match->index = index;
    search->match->route = route;
    search->match->prefix_bytes = (uint32_t)prefix_bytes;
}

/* Takes the best route of `list`, whose paths match, if it beats what was found so far. */
static void try_list(struct search *search, struct vf_snap_list list, size_t prefix_bytes)
{
    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t index = vf_walk_route(search->snapshot, list, i);
        const struct vf_snap_route *route = vf_snap_route(search->snapshot, index);
        if (route->rank >= search->best)
            return;
        if (is_wanted(search, route)) {
            choose(search, index, route, prefix_bytes);
            return;
        }
    }
}

static void try_regexes(struct search *search, struct vf_snap_list list)
{
    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t index = vf_walk_route(search->snapshot, list, i);
        const struct vf_snap_route *route = vf_snap_route(search->snapshot, index);
        if (route->rank >= search->best)
            return;
        if (vf_match_pattern(search->router, search->snapshot, route, search->query->path,
                             search->match) &&
            is_wanted(search, route)) {
            choose(search, index, route, 0);
            return;
        }
        search->match->n_captures = 0;
    }
}

/* Regular expressions come last: they cost most, and what was found may spare them. */
static void search_host(struct search *search, const struct vf_snap_host *host)
{
    struct vf_walk walk;
    const struct vf_snap_node *node;
    try_list(search, host->prefix_root, 0);
    vf_walk_start(&walk, search->snapshot, host, search->query->path);
    while ((node = vf_walk_next(&walk)) != NULL) {
        try_list(search, node->prefix, walk.end);
        if (walk.is_last)
            try_list(search, node->exact, walk.end);
    }
    try_regexes(search, host->regexes);
}

static enum vf_route_outcome outcome_of(const struct search *search)
{
    if (search->best != UINT32_MAX)
        return VF_ROUTE_FOUND;
    return search->match->allow != 0 ? VF_ROUTE_METHOD : VF_ROUTE_NOT_FOUND;
}

struct vf_str vf_route_allow(const struct vf_route_match *match, struct vf_arena *arena)
{
    size_t room = VF_METHOD_LIST_BYTES;
    for (uint32_t i = 0; i < match->n_allow_more; i++)
        room += match->allow_more[i].len + 2;
    char *list = vf_arena_alloc(arena, room);
    if (list == NULL)
        return vf_str_make(NULL, 0);
    size_t len = vf_method_list(match->allow, list);
    for (uint32_t i = 0; i < match->n_allow_more; i++) {
        struct vf_str more = match->allow_more[i];
        if (len > 0) {
            memcpy(list + len, ", ", 2);
            len += 2;
        }
        memcpy(list + len, more.data, more.len);
        len += more.len;
    }
    return vf_str_make(list, len);
}

/* Exact hosts go before wildcards, and those before routes for any host. */
static void search_hosts(struct search *search, struct vf_str wanted)
{
    struct vf_walk_host host;
    const struct vf_snap_host *entry = vf_walk_only_any(search->snapshot);
    if (entry != NULL) {
        search_host(search, entry);
        return;
    }
    vf_walk_host(wanted, &host);
    for (int kind = VF_HOST_EXACT; kind < VF_HOST_CLASSES && search->best == UINT32_MAX; kind++)
        if ((entry = vf_walk_find(search->snapshot, &host, kind)) != NULL)
            search_host(search, entry);
}

enum vf_route_outcome vf_route_find(struct vf_router *router, const struct vf_snapshot *snapshot,
                                    const struct vf_route_query *query,
                                    struct vf_route_match *match)
{
    struct search search = {router, snapshot, query, match, UINT32_MAX};
    match->index = VF_SNAP_NONE;
    match->route = NULL;
    match->allow = 0;
    match->n_allow_more = 0;
    match->prefix_bytes = 0;
    match->n_captures = 0;
    search_hosts(&search, query->host);
    match->outcome = outcome_of(&search);
    return match->outcome;
}

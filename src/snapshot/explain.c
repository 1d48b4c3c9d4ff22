/* The part of router.h that answers why: rivals of a request, and routes that never win. */
#include <stdlib.h>

#include "snapshot/matching.h"
#include "snapshot/router.h"
#include "snapshot/walk.h"

/* --- Rivals ----------------------------------------------------------------------------------- */

struct listing {
    struct vf_router *router;
    const struct vf_snapshot *snapshot;
    const struct vf_route_query *query;
    struct vf_route_rival *rivals;
    size_t room, count;
    uint32_t host_class;
};

static void list_route(struct listing *listing, uint32_t index)
{
    if (listing->count < listing->room)
        listing->rivals[listing->count] =
            (struct vf_route_rival){index, VF_VERDICT_RANK, listing->host_class, VF_SNAP_NONE};
    listing->count++;
}

static void list_all(struct listing *listing, struct vf_snap_list list)
{
    for (uint32_t i = 0; i < list.count; i++)
        list_route(listing, vf_walk_route(listing->snapshot, list, i));
}

static void list_regexes(struct listing *listing, struct vf_snap_list list)
{
    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t index = vf_walk_route(listing->snapshot, list, i);
        if (vf_match_pattern(listing->router, listing->snapshot,
                             vf_snap_route(listing->snapshot, index), listing->query->path, NULL))
            list_route(listing, index);
    }
}

static void list_host(struct listing *listing, const struct vf_snap_host *host)
{
    struct vf_walk walk;
    const struct vf_snap_node *node;
    list_all(listing, host->prefix_root);
    vf_walk_start(&walk, listing->snapshot, host, listing->query->path);
    while ((node = vf_walk_next(&walk)) != NULL) {
        list_all(listing, node->prefix);
        if (walk.is_last)
            list_all(listing, node->exact);
    }
    list_regexes(listing, host->regexes);
}

static int compare_rivals(const void *left, const void *right, void *snapshot)
{
    const struct vf_route_rival *a = left, *b = right;
    if (a->host_class != b->host_class)
        return a->host_class < b->host_class ? -1 : 1;
    uint32_t a_rank = vf_snap_route(snapshot, a->index)->rank;
    uint32_t b_rank = vf_snap_route(snapshot, b->index)->rank;
    return (a_rank > b_rank) - (a_rank < b_rank);
}

/* Says what keeps the rival from answering; VF_VERDICT_RANK when only a better one may. */
static void judge(const struct listing *listing, struct vf_route_rival *rival)
{
    const struct vf_snap_route *route = vf_snap_route(listing->snapshot, rival->index);
    rival->condition =
        vf_match_conditions(listing->router, listing->snapshot, route, listing->query);
    if (rival->condition != VF_SNAP_NONE)
        rival->verdict = VF_VERDICT_CONDITION;
    else if (listing->query->method != UINT32_MAX &&
             !vf_match_method(listing->snapshot, route, listing->query))
        rival->verdict = VF_VERDICT_METHOD;
}

size_t vf_route_explain(struct vf_router *router, const struct vf_snapshot *snapshot,
                        const struct vf_route_query *query, struct vf_route_rival *rivals,
                        size_t room)
{
    struct listing listing = {router, snapshot, query, rivals, room, 0, 0};
    struct vf_walk_host host;
    bool has_winner = false;
    vf_walk_host(query->host, &host);
    for (int kind = VF_HOST_EXACT; kind < VF_HOST_CLASSES; kind++) {
        const struct vf_snap_host *entry = vf_walk_find(snapshot, &host, kind);
        listing.host_class = (uint32_t)kind;
        if (entry != NULL)
            list_host(&listing, entry);
    }
    size_t written = listing.count < room ? listing.count : room;
    if (written > 1)
        qsort_r(rivals, written, sizeof(*rivals), compare_rivals, (void *)snapshot);
    for (size_t i = 0; i < written; i++) {
        judge(&listing, &rivals[i]);
        if (rivals[i].verdict == VF_VERDICT_RANK && !has_winner) {
            rivals[i].verdict = VF_VERDICT_WINS;
            has_winner = true;
        }
    }
    return listing.count;
}

/* --- Shadows ---------------------------------------------------------------------------------- */

/* Better routes of one list that are looked at: beyond this a shadow goes unnoticed, and checking
 * ten thousand routes for one path stays a matter of milliseconds. */
enum { RIVALS_COMPARED = 1024 };

static bool text_eq(const struct vf_snapshot *snapshot, struct vf_snap_text a,
                    struct vf_snap_text b)
{
    return vf_str_eq(vf_snap_str(snapshot, a), vf_snap_str(snapshot, b));
}

static bool has_condition(const struct vf_snapshot *snapshot, const struct vf_snap_route *route,
                          const struct vf_snap_condition *wanted)
{
    for (uint32_t i = 0; i < route->conditions.count; i++) {
        const struct vf_snap_condition *own =
            vf_snap_condition(snapshot, route->conditions.first + i);
        if (own->kind == wanted->kind && own->test == wanted->test &&
            text_eq(snapshot, own->name, wanted->name) &&
            text_eq(snapshot, own->value, wanted->value))
            return true;
    }
    return false;
}

/* Returns true when `better` takes each method that `route` takes. */
static bool takes_methods(const struct vf_snapshot *snapshot, const struct vf_snap_route *better,
                          const struct vf_snap_route *route)
{
    struct vf_str rest = vf_snap_str(snapshot, route->more_methods), name;
    if (better->methods == 0)
        return true;
    if (route->methods == 0 || (route->methods & ~better->methods) != 0)
        return false;
    while (vf_str_next_item(&rest, &name))
        if (!vf_match_extension(snapshot, better, name))
            return false;
    return true;
}

/* Returns true when a request whose path both match meets the conditions of `better` whenever it
 * meets those of `route`. */
static bool asks_no_more(const struct vf_snapshot *snapshot, const struct vf_snap_route *better,
                         const struct vf_snap_route *route)
{
    if (!takes_methods(snapshot, better, route))
        return false;
    for (uint32_t i = 0; i < better->conditions.count; i++)
        if (!has_condition(snapshot, route,
                           vf_snap_condition(snapshot, better->conditions.first + i)))
            return false;
    return true;
}

/* Looks for a better route of `list` that asks no more than `route`; all of the list match the path
 * of `route`, or with `same_path` those whose path is written alike. */
static bool is_covered(const struct vf_snapshot *snapshot, struct vf_snap_list list,
                       const struct vf_snap_route *route, bool same_path, uint32_t *by)
{
    for (uint32_t i = 0; i < list.count && i < RIVALS_COMPARED; i++) {
        uint32_t index = vf_walk_route(snapshot, list, i);
        const struct vf_snap_route *better = vf_snap_route(snapshot, index);
        if (better->rank >= route->rank)
            return false;
        if ((!same_path || text_eq(snapshot, better->path, route->path)) &&
            asks_no_more(snapshot, better, route)) {
            *by = index;
            return true;
        }
    }
    return false;
}

/* Looks along the path of `route` for exact and prefix routes of `host` that cover it. */
static bool is_covered_on_path(const struct vf_snapshot *snapshot, const struct vf_snap_host *host,
                               const struct vf_snap_route *route, uint32_t *by)
{
    struct vf_walk walk;
    const struct vf_snap_node *node;
    vf_walk_start(&walk, snapshot, host, vf_snap_str(snapshot, route->path));
    while ((node = vf_walk_next(&walk)) != NULL) {
        if (is_covered(snapshot, node->prefix, route, false, by))
            return true;
        if (walk.is_last && route->path_kind == VF_PATH_EXACT &&
            is_covered(snapshot, node->exact, route, false, by))
            return true;
    }
    return false;
}

static bool is_covered_on_host(const struct vf_snapshot *snapshot, const struct vf_snap_host *host,
                               const struct vf_snap_route *route, uint32_t *by)
{
    if (is_covered(snapshot, host->prefix_root, route, false, by))
        return true;
    if (route->path_kind == VF_PATH_REGEX)
        return is_covered(snapshot, host->regexes, route, true, by);
    return is_covered_on_path(snapshot, host, route, by);
}

bool vf_route_is_shadowed(const struct vf_snapshot *snapshot, uint32_t index, uint32_t *by)
{
    const struct vf_snap_route *route = vf_snap_route(snapshot, index);
    for (uint32_t i = 0; i < route->bindings.count; i++) {
        const struct vf_snap_binding *binding =
            vf_snap_binding(snapshot, route->bindings.first + i);
        const struct vf_snap_host *host =
            vf_walk_entry(snapshot, vf_snap_str(snapshot, binding->host));
        if (host == NULL || !is_covered_on_host(snapshot, host, route, by))
            return false;
    }
    return route->bindings.count > 0;
}

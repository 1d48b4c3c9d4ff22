#include "snapshot/ranking.h"

#include <stdlib.h>
#include <uv.h>

#include "base/str.h"

/* What a route is compared by, gathered so that the sort stays within one array. */
struct key {
    int32_t priority;
    uint32_t path_kind;
    uint32_t prefix_bytes;
    uint32_t conditions;
    uint32_t index;
    struct vf_str name;
    struct vf_str tenant;
};

static struct vf_str text_of(const char *base, struct vf_snap_text text)
{
    return vf_str_make(base + text.offset, text.len);
}

static struct key key_of(const char *base, const struct vf_snap_route *route, uint32_t index,
                         const struct vf_snap_tenant *tenants)
{
    return (struct key){
        .priority = route->priority,
        .path_kind = route->path_kind,
        .prefix_bytes = route->path_kind == VF_PATH_PREFIX ? route->path.len : 0,
        .conditions = route->conditions.count + (route->methods != 0),
        .index = index,
        .name = text_of(base, route->name),
        .tenant = text_of(base, tenants[route->tenant].name),
    };
}

static int compare_bytes(struct vf_str a, struct vf_str b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_tenants(struct vf_str a, struct vf_str b)
{
    int a_is_default = vf_str_eq(a, VF_STR("default")),
        b_is_default = vf_str_eq(b, VF_STR("default"));
    return a_is_default != b_is_default ? b_is_default - a_is_default : compare_bytes(a, b);
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->path_kind != b->path_kind)
        return a->path_kind < b->path_kind ? -1 : 1;
    if (a->prefix_bytes != b->prefix_bytes)
        return a->prefix_bytes > b->prefix_bytes ? -1 : 1;
    if (a->conditions != b->conditions)
        return a->conditions > b->conditions ? -1 : 1;
    int order = compare_bytes(a->name, b->name);
    if (order == 0)
        order = compare_tenants(a->tenant, b->tenant);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

int vf_rank_routes(const char *base, struct vf_snap_route *routes, uint32_t n_routes,
                   const struct vf_snap_tenant *tenants, uint32_t *ranked)
{
    if (n_routes == 0)
        return 0;
    struct key *keys = malloc(n_routes * sizeof(*keys));
    if (keys == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < n_routes; i++)
        keys[i] = key_of(base, &routes[i], i, tenants);
    qsort(keys, n_routes, sizeof(*keys), compare_keys);
    for (uint32_t rank = 0; rank < n_routes; rank++) {
        ranked[rank] = keys[rank].index;
        routes[ranked[rank]].rank = rank;
    }
    free(keys);
    return 0;
}

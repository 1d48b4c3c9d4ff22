#include "snapshot/ranking.h"

#include <stdbool.h>
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

static struct key key_of(const struct vf_ranking_input *input, uint32_t index)
{
    const char *base = input->base;
    const struct vf_snap_route *route = &input->routes[index];
    return (struct key){
        .priority = route->priority,
        .path_kind = route->path_kind,
        .prefix_bytes = route->path_kind == VF_PATH_PREFIX ? route->path.len : 0,
        .conditions = route->conditions.count + (route->methods != 0),
        .index = index,
        .name = text_of(base, route->name),
        .tenant = text_of(base, input->tenants[route->tenant].name),
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

static bool is_new(const struct vf_ranking_input *input, uint32_t route)
{
    return input->old_ranks == NULL || input->old_ranks[route] == VF_SNAP_NONE;
}

/* Fills `keys` with those of the routes that are to be sorted, sorted. Returns their number. */
static uint32_t sort_new(const struct vf_ranking_input *input, struct key *keys)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < input->n_routes; i++)
        if (is_new(input, i))
            keys[n++] = key_of(input, i);
    if (n > 1)
        qsort(keys, n, sizeof(*keys), compare_keys);
    return n;
}

/* Fills `kept` with the others, in the order that they had. Returns their number. */
static uint32_t list_kept(const struct vf_ranking_input *input, uint32_t *by_rank, uint32_t *kept)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < input->n_old_ranks; i++)
        by_rank[i] = VF_SNAP_NONE;
    for (uint32_t i = 0; i < input->n_routes; i++)
        if (!is_new(input, i))
            by_rank[input->old_ranks[i]] = i;
    for (uint32_t i = 0; i < input->n_old_ranks; i++)
        if (by_rank[i] != VF_SNAP_NONE)
            kept[n++] = by_rank[i];
    return n;
}

/* Returns how many of the kept routes from `low` on go before `key`: a binary search. */
static uint32_t find_place(const struct vf_ranking_input *input, const uint32_t *kept, uint32_t low,
                           uint32_t n_kept, const struct key *key)
{
    uint32_t high = n_kept;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct key other = key_of(input, kept[middle]);
        if (compare_keys(&other, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void merge(const struct vf_ranking_input *input, const struct key *keys, uint32_t n_keys,
                  const uint32_t *kept, uint32_t n_kept, uint32_t *ranked)
{
    uint32_t at = 0, n = 0;
    for (uint32_t i = 0; i < n_keys; i++) {
        uint32_t place = find_place(input, kept, at, n_kept, &keys[i]);
        while (at < place)
            ranked[n++] = kept[at++];
        ranked[n++] = keys[i].index;
    }
    while (at < n_kept)
        ranked[n++] = kept[at++];
}

int vf_rank_routes(const struct vf_ranking_input *input, uint32_t *ranked)
{
    struct key *keys = malloc(((size_t)input->n_routes + 1) * sizeof(*keys));
    uint32_t *kept = malloc(((size_t)input->n_routes + input->n_old_ranks + 1) * sizeof(*kept));
    if (keys != NULL && kept != NULL) {
        uint32_t n_kept = list_kept(input, kept + input->n_routes, kept);
        uint32_t n_keys = sort_new(input, keys);
        merge(input, keys, n_keys, kept, n_kept, ranked);
        for (uint32_t rank = 0; rank < input->n_routes; rank++)
            input->routes[ranked[rank]].rank = rank;
    }
    bool is_done = keys != NULL && kept != NULL;
    free(keys);
    free(kept);
    return is_done ? 0 : UV_ENOMEM;
}

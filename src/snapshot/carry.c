#include "snapshot/carry.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "snapshot/builder.h"
#include "snapshot/builder_core.h"
#include "snapshot/snapshot.h"

struct vf_carry {
    struct vf_snapshot from; /* for the accessors */
    struct vf_snapb *to;
    uint32_t *maps[VF_SNAP_HOSTS];
};

static bool is_own_section(uint32_t section)
{
    return section >= VF_SNAP_HOSTS;
}

struct vf_carry *vf_carry_new(const struct vf_snapb *from, struct vf_snapb *to)
{
    struct vf_carry *carry = calloc(1, sizeof(*carry));
    if (carry == NULL)
        return NULL;
    carry->from = (struct vf_snapshot){.header = (void *)from->data, .size = from->size};
    carry->to = to;
    to->carried_from = from;
    for (uint32_t i = 0; i < VF_SNAP_HOSTS; i++) {
        size_t bytes = ((size_t)vf_snap_count(&carry->from, i) + 1) * sizeof(uint32_t);
        carry->maps[i] = malloc(bytes);
        if (carry->maps[i] == NULL) {
            vf_carry_free(carry);
            return NULL;
        }
        memset(carry->maps[i], 0xff, bytes); /* VF_SNAP_NONE */
    }
    return carry;
}

void vf_carry_free(struct vf_carry *carry)
{
    if (carry == NULL)
        return;
    for (uint32_t i = 0; i < VF_SNAP_HOSTS; i++)
        free(carry->maps[i]);
    free(carry);
}

uint32_t *vf_carry_map(struct vf_carry *carry, uint32_t section)
{
    return is_own_section(section) ? NULL : carry->maps[section];
}

static const void *old_record(const struct vf_carry *carry, uint32_t section, uint32_t index)
{
    const char *records = vf_snap_section(&carry->from, section);
    return records + (size_t)index * vf_snap_record_bytes(section);
}

/* Adds `count` records and copies those from `first` on. Returns the first; NULL without memory. */
static void *copy_records(struct vf_carry *carry, uint32_t section, uint32_t first, uint32_t count,
                          uint32_t *at)
{
    void *records = vf_snapb_add(carry->to, section, count, at);
    if (records != NULL && count > 0)
        memcpy(records, old_record(carry, section, first),
               (size_t)count * vf_snap_record_bytes(section));
    return records;
}

/* Carries a record over that others share: once. */
static uint32_t copy_once(struct vf_carry *carry, uint32_t section, uint32_t index)
{
    uint32_t *known;
    if (index >= vf_snap_count(&carry->from, section))
        return VF_SNAP_NONE;
    known = &carry->maps[section][index];
    if (*known == VF_SNAP_NONE)
        copy_records(carry, section, index, 1, known);
    return *known;
}

uint32_t vf_carry_policy(struct vf_carry *carry, uint32_t index)
{
    return copy_once(carry, VF_SNAP_POLICIES, index);
}

/* Stores a secret of the old snapshot in the new one. */
static int copy_secret(struct vf_carry *carry, struct vf_snap_text *text)
{
    struct vf_str old = vf_snap_str(&carry->from, *text);
    return vf_snapb_secret(carry->to, old.data, old.len, text);
}

/* Replaces *index, which refers to `section`, by what the map says. */
static int translate(const struct vf_carry *carry, uint32_t section, uint32_t *index)
{
    if (*index == VF_SNAP_NONE)
        return 0;
    *index = carry->maps[section][*index];
    return *index == VF_SNAP_NONE ? UV_EINVAL : 0;
}

/* Returns the places that were added for what is carried over; NULL when they are not there. */
static void *places(struct vf_carry *carry, uint32_t section, uint32_t first, uint32_t count,
                    uint32_t at)
{
    uint32_t old_count = vf_snap_count(&carry->from, section);
    uint32_t new_count = carry->to->sections[section].count;
    if (first > old_count || count > old_count - first || at > new_count || count > new_count - at)
        return NULL;
    return carry->to->sections[section].records + (size_t)at * vf_snap_record_bytes(section);
}

/* --- Pools ------------------------------------------------------------------------------------ */

static int carry_backends(struct vf_carry *carry, struct vf_snap_list *list, uint32_t pool)
{
    struct vf_snap_backend *backends =
        copy_records(carry, VF_SNAP_BACKENDS, list->first, list->count, &list->first);
    for (uint32_t i = 0; backends != NULL && i < list->count; i++) {
        backends[i].pool = pool;
        if (backends[i].health == VF_SNAP_NONE)
            continue;
        backends[i].health = copy_once(carry, VF_SNAP_HEALTH, backends[i].health);
        if (backends[i].health == VF_SNAP_NONE)
            return UV_ENOMEM;
    }
    return backends != NULL ? 0 : UV_ENOMEM;
}

int vf_carry_pools(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at)
{
    struct vf_snap_pool *pools = places(carry, VF_SNAP_POOLS, first, count, at);
    int rc = pools != NULL ? 0 : UV_EINVAL;
    if (rc == 0 && count > 0)
        memcpy(pools, old_record(carry, VF_SNAP_POOLS, first), count * sizeof(*pools));
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct vf_snap_pool *pool = &pools[i];
        pool->tls = VF_SNAP_NONE;
        pool->policy = vf_carry_policy(carry, pool->policy);
        rc = pool->policy == VF_SNAP_NONE ? UV_ENOMEM
                                          : translate(carry, VF_SNAP_TENANTS, &pool->tenant);
        if (rc == 0 && pool->backends.count > 0)
            rc = carry_backends(carry, &pool->backends, at + i);
    }
    return rc;
}

/* --- Routes ----------------------------------------------------------------------------------- */

static void note_first(uint32_t *map, uint32_t index, uint32_t place)
{
    if (index != VF_SNAP_NONE && map[index] == VF_SNAP_NONE)
        map[index] = place;
}

void vf_carry_note(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at)
{
    const struct vf_snap_route *routes = old_record(carry, VF_SNAP_ROUTES, first);
    for (uint32_t i = 0; i < count; i++) {
        note_first(carry->maps[VF_SNAP_CHAINS], routes[i].chain, at + i);
        note_first(carry->maps[VF_SNAP_CLIENT_CERTS], routes[i].client_cert, at + i);
    }
}

static int carry_ops(struct vf_carry *carry, struct vf_snap_list *list)
{
    uint32_t first = list->first;
    if (list->count == 0)
        return 0;
    uint32_t *known = &carry->maps[VF_SNAP_FIELD_OPS][first]; /* routes of a pool share lists */
    if (*known == VF_SNAP_NONE) {
        struct vf_snap_field_op *ops =
            copy_records(carry, VF_SNAP_FIELD_OPS, first, list->count, known);
        if (ops == NULL)
            return UV_ENOMEM;
        for (uint32_t i = 0; i < list->count; i++)
            if (copy_secret(carry, &ops[i].value) < 0)
                return UV_ENOMEM;
    }
    list->first = *known;
    return 0;
}

static int carry_conditions(struct vf_carry *carry, struct vf_snap_list *list)
{
    if (list->count == 0)
        return 0;
    struct vf_snap_condition *conditions =
        copy_records(carry, VF_SNAP_CONDITIONS, list->first, list->count, &list->first);
    for (uint32_t i = 0; conditions != NULL && i < list->count; i++)
        if (copy_secret(carry, &conditions[i].value) < 0)
            return UV_ENOMEM;
    return conditions != NULL ? 0 : UV_ENOMEM;
}

static int carry_bindings(struct vf_carry *carry, struct vf_snap_list list, uint32_t route)
{
    uint32_t at;
    struct vf_snap_binding *bindings =
        copy_records(carry, VF_SNAP_BINDINGS, list.first, list.count, &at);
    for (uint32_t i = 0; bindings != NULL && i < list.count; i++)
        bindings[i].route = route;
    return bindings != NULL ? 0 : UV_ENOMEM;
}

static int carry_route(struct vf_carry *carry, struct vf_snap_route *route, uint32_t index)
{
    int rc = translate(carry, VF_SNAP_TENANTS, &route->tenant);
    if (rc == 0 && route->action == VF_ACTION_POOL)
        rc = translate(carry, VF_SNAP_POOLS, &route->pool);
    if (rc == 0)
        rc = translate(carry, VF_SNAP_CHAINS, &route->chain);
    if (rc == 0)
        rc = translate(carry, VF_SNAP_CLIENT_CERTS, &route->client_cert);
    if (rc == 0 && route->policy != VF_SNAP_NONE) {
        route->policy = vf_carry_policy(carry, route->policy);
        rc = route->policy == VF_SNAP_NONE ? UV_ENOMEM : 0;
    }
    if (rc == 0)
        rc = carry_ops(carry, &route->edits.request);
    if (rc == 0)
        rc = carry_ops(carry, &route->edits.response);
    if (rc == 0)
        rc = carry_conditions(carry, &route->conditions);
    return rc < 0 ? rc : carry_bindings(carry, route->bindings, index);
}

static bool make_old_ranks(struct vf_carry *carry)
{
    struct vf_snapb *to = carry->to;
    size_t bytes = ((size_t)to->sections[VF_SNAP_ROUTES].count + 1) * sizeof(*to->old_ranks);
    if (to->old_ranks != NULL)
        return true;
    to->old_ranks = malloc(bytes);
    if (to->old_ranks == NULL)
        return false;
    memset(to->old_ranks, 0xff, bytes); /* VF_SNAP_NONE */
    to->n_old_ranks = vf_snap_count(&carry->from, VF_SNAP_ROUTES);
    to->n_old_routes = to->sections[VF_SNAP_ROUTES].count;
    return true;
}

int vf_carry_routes(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at)
{
    struct vf_snap_route *routes = places(carry, VF_SNAP_ROUTES, first, count, at);
    if (routes == NULL)
        return UV_EINVAL;
    if (!make_old_ranks(carry))
        return UV_ENOMEM;
    uint32_t n_ranks = carry->to->n_old_routes;
    if (at > n_ranks || count > n_ranks - at) /* added since: there are no ranks for them */
        return UV_EINVAL;
    if (count > 0)
        memcpy(routes, old_record(carry, VF_SNAP_ROUTES, first), count * sizeof(*routes));
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        carry->to->old_ranks[at + i] = routes[i].rank;
        rc = carry_route(carry, &routes[i], at + i);
    }
    return rc;
}

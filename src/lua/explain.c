#include "lua/explain.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "http/method.h"
#include "http/target.h"
#include "proxy/balance/balance.h"

static struct vf_str field_of(void *owner, struct vf_str name)
{
    const struct vf_explain_request *request = owner;
    for (size_t i = 0; i < request->n_fields; i++)
        if (vf_str_eq(vf_str_from(request->fields[i].name), name))
            return vf_str_from(request->fields[i].value);
    return (struct vf_str){NULL, 0};
}

static int refuse(char *error, size_t error_size, const char *reason)
{
    snprintf(error, error_size, "%s", reason);
    return UV_EINVAL;
}

/* Takes the request apart as the proxy does. The path goes to `path`. */
static int prepare(const struct vf_explain_request *request, struct vf_route_query *query,
                   char *path, char *error, size_t error_size)
{
    struct vf_target target;
    struct vf_path normal;
    size_t at;
    int method = vf_method_read(request->method, strlen(request->method));
    if (method < 0)
        return refuse(error, error_size, "not a method that is forwarded");
    if (request->host[0] != '\0' && !vf_host_is_valid(vf_str_from(request->host)))
        return refuse(error, error_size, "not a valid host");
    int rc = vf_target_parse(vf_str_from(request->target), method, &target, &at);
    if (rc == 0)
        rc = vf_path_normalise(target.path, path, &normal, &at);
    if (rc < 0)
        return refuse(error, error_size, vf_target_rule(rc).reason);
    memmove(path, normal.text.data, normal.text.len);
    path[normal.text.len] = '\0';
    *query = (struct vf_route_query){.host = vf_str_from(request->host),
                                     .path = vf_str_make(path, normal.text.len),
                                     .query = target.query,
                                     .method = (uint32_t)method,
                                     .method_name = vf_str_from(request->method),
                                     .header = field_of,
                                     .owner = (void *)request};
    return 0;
}

int vf_explain_running(struct vf_snapshot *snapshot, const struct vf_explain_request *request,
                       struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path,
                       char *error, size_t error_size)
{
    struct vf_route_query query;
    int rc = prepare(request, &query, path, error, error_size);
    if (rc < 0)
        return rc;
    struct vf_router *router = vf_router_new();
    if (router == NULL)
        return refuse(error, error_size, "out of memory");
    *n_rivals = vf_route_explain(router, snapshot, &query, rivals, room);
    vf_router_free(router);
    return 0;
}

int vf_explain(const void *snapshot, size_t size, const struct vf_explain_request *request,
               struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path,
               char *error, size_t error_size)
{
    struct vf_snapshot *adopted = NULL;
    int rc = vf_snapshot_adopt(snapshot, size, &adopted);
    if (rc < 0)
        return refuse(error, error_size, vf_snapshot_fault());
    rc = vf_explain_running(adopted, request, rivals, room, n_rivals, path, error, error_size);
    vf_snapshot_release(&adopted);
    return rc;
}

uint32_t vf_explain_ranks(const struct vf_snapshot *snapshot, uint32_t *ranks, uint32_t room)
{
    uint32_t count = vf_snap_count(snapshot, VF_SNAP_ROUTES);
    for (uint32_t i = 0; i < count && i < room; i++)
        ranks[i] = vf_snap_route(snapshot, i)->rank;
    return count;
}

static void read_client(const char *client, struct vf_balance_key *key)
{
    if (uv_inet_pton(AF_INET, client, key->ip) == 0)
        key->family = VF_FAMILY_IPV4;
    else if (uv_inet_pton(AF_INET6, client, key->ip) == 0)
        key->family = VF_FAMILY_IPV6;
}

int64_t vf_explain_backend(struct vf_state *state, const struct vf_snapshot *snapshot,
                           uint32_t pool_index, const char *hash_key, const char *client)
{
    struct vf_balancers *balancers = NULL;
    struct vf_balance_key key = {.family = VF_FAMILY_NONE};
    uint32_t index = 0;
    int rc = vf_balancers_new(state, -1, 0, &balancers);
    if (rc < 0)
        return rc;
    if (hash_key != NULL)
        key.hash_key = vf_str_from(hash_key);
    read_client(client, &key);
    rc = vf_balance_pick(balancers, snapshot, pool_index, &key, vf_clock_ns(), NULL, 0, &index);
    vf_balancers_free(balancers);
    return rc < 0 ? rc : (int64_t)index;
}

uint32_t vf_explain_shadows(const void *snapshot, size_t size, uint32_t first, uint32_t count,
                            struct vf_explain_shadow *shadows)
{
    const struct vf_snapshot made = {.header = snapshot, .size = size};
    uint32_t n_routes = vf_snap_count(&made, VF_SNAP_ROUTES), n = 0;
    for (uint32_t i = first; i < n_routes && i - first < count; i++) {
        uint32_t by;
        if (vf_route_is_shadowed(&made, i, &by))
            shadows[n++] = (struct vf_explain_shadow){.route = i, .by = by};
    }
    return n;
}

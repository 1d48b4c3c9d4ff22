/* lua/view_route.c - the route of an exchange and the pool that it forwards to, as plugins see
 * them: entities of the snapshot, which plugins may keep by its version. */
#include "lua/view.h"

#include "proxy/exchange.h"
#include "proxy/labels.h"
#include "snapshot/snapshot.h"

int vf_view_route(struct vf_exchange *ex, struct vf_route_view *out)
{
    const struct vf_snap_route *route = ex->route;
    struct vf_labels labels;
    if (route == NULL)
        return 0;
    vf_labels(ex, &labels);
    *out = (struct vf_route_view){
        .size = sizeof(*out),
        .path_kind = route->path_kind,
        .name = labels.route,
        .tenant = labels.tenant,
        .path = ex->snapshot != NULL ? vf_snap_str(ex->snapshot, route->path) : vf_str_make("", 0),
        .pool = labels.route_pool,
        .id = route->id,
        .strip_prefix = route->strip_prefix,
        .action = route->action,
        .methods = route->methods,
        .more_methods = ex->snapshot != NULL ? vf_snap_str(ex->snapshot, route->more_methods)
                                             : vf_str_make("", 0),
        .version = ex->snapshot != NULL ? ex->snapshot->version : 0,
        .priority = route->priority,
    };
    return 1;
}

int vf_view_route_host(struct vf_exchange *ex, uint32_t nth, struct vf_str *out)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->route == NULL || snapshot == NULL || nth >= ex->route->bindings.count)
        return 0;
    uint32_t index = ex->route->bindings.first + nth;
    *out = vf_snap_str(snapshot, vf_snap_binding(snapshot, index)->host);
    return 1;
}

int vf_view_route_condition(struct vf_exchange *ex, uint32_t nth, struct vf_condition_view *out)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->route == NULL || snapshot == NULL || nth >= ex->route->conditions.count)
        return 0;
    const struct vf_snap_condition *condition =
        vf_snap_condition(snapshot, ex->route->conditions.first + nth);
    *out = (struct vf_condition_view){
        .kind = condition->kind,
        .test = condition->test,
        .name = vf_snap_str(snapshot, condition->name),
        .value = vf_snap_str(snapshot, condition->value),
    };
    return 1;
}

/* The port of the pool's first backend; 0: it has none. */
static uint32_t port_of(const struct vf_snapshot *snapshot, const struct vf_snap_pool *pool)
{
    return pool->backends.count > 0 ? vf_snap_backend(snapshot, pool->backends.first)->address.port
                                    : 0;
}

int vf_view_service(struct vf_exchange *ex, struct vf_service_view *out)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->route == NULL || snapshot == NULL || ex->route->action != VF_ACTION_POOL)
        return 0;
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, ex->route->pool);
    const struct vf_snap_policy *policy = vf_snap_policy(snapshot, pool->policy);
    *out = (struct vf_service_view){
        .size = sizeof(*out),
        .protocol = pool->protocol,
        .port = port_of(snapshot, pool),
        .max_tries = VF_TRIES,
        .connect_ms = vf_policy_get(policy, VF_POLICY_CONNECT_MS),
        .write_ms = vf_policy_get(policy, VF_POLICY_CLIENT_BODY_MS),
        .read_ms = vf_policy_get(policy, VF_POLICY_RESPONSE_MS),
        .tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, pool->tenant)->name),
        .name = vf_snap_str(snapshot, pool->name),
        .version = snapshot->version,
    };
    if (pool->tls != VF_SNAP_NONE) {
        const struct vf_snap_upstream_tls *tls = vf_snap_upstream_tls(snapshot, pool->tls);
        out->is_tls = 1;
        out->verify = tls->verify;
        out->depth = tls->depth;
    }
    return 1;
}

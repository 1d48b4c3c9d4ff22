#include "snapshot/relations.h"

#include "snapshot/snapshot.h"

enum { NS_PER_SECOND = 1000000000 };

static bool is_complete(const struct vf_snapshot *snapshot, uint32_t policy)
{
    uint64_t all = (UINT64_C(1) << VF_POLICY_FIELDS) - 1;
    return vf_snap_policy(snapshot, policy)->set == all;
}

static const char *fault_of_pool(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, index);
    struct vf_snap_list list = pool->backends;
    for (uint32_t i = 0; i < list.count; i++)
        if (vf_snap_backend(snapshot, list.first + i)->pool != index)
            return "backends of another pool";
    return is_complete(snapshot, pool->policy) ? NULL : "incomplete policy";
}

static const char *fault_of_listener(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_listener *listener = vf_snap_listener(snapshot, index);
    if (listener->mode != VF_LISTENER_HTTP && listener->tls != VF_SNAP_NONE)
        return "TLS that is passed on";
    return is_complete(snapshot, listener->policy) ? NULL : "incomplete policy";
}

static const char *fault_of_destination(const struct vf_snapshot *snapshot, uint32_t index)
{
    uint32_t policy = vf_snap_destination(snapshot, index)->policy;
    return is_complete(snapshot, policy) ? NULL : "incomplete policy";
}

static const char *fault_of_policy(const struct vf_snapshot *snapshot, uint32_t index)
{
    return vf_snap_policy(snapshot, index)->set >> VF_POLICY_FIELDS == 0 ? NULL : "set";
}

bool vf_relations_is_route_chain(const struct vf_snapshot *snapshot, uint32_t chain)
{
    return chain == VF_SNAP_NONE || vf_snap_chain(snapshot, chain)->kind == VF_CHAIN_ROUTE;
}

static const char *fault_of_route(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_route *route = vf_snap_route(snapshot, index);
    struct vf_str path = vf_snap_str(snapshot, route->path);
    if (route->action == VF_ACTION_POOL && route->pool >= vf_snap_count(snapshot, VF_SNAP_POOLS))
        return "pool";
    if (route->action != VF_ACTION_POOL && route->status < 200)
        return "status";
    bool is_rooted = path.len > 0 && path.data[0] == '/';
    if (route->path_kind == VF_PATH_EXACT && !is_rooted)
        return "path";
    if (route->path_kind == VF_PATH_PREFIX && path.len > 0 && !is_rooted)
        return "path";
    return vf_relations_is_route_chain(snapshot, route->chain) ? NULL : "chain of a consumer";
}

static const char *fault_of_health(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_health *health = vf_snap_health(snapshot, index);
    if (health->rise == 0 || health->fall == 0)
        return "rise or fall";
    return health->interval_ms == 0 || health->timeout_ms == 0 ? "interval or timeout" : NULL;
}

static const char *fault_of_network(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_network *network = vf_snap_network(snapshot, index);
    if (network->address.family == VF_FAMILY_NONE)
        return "family";
    return network->prefix_bits <= (network->address.family == VF_FAMILY_IPV4 ? 32 : 128)
               ? NULL
               : "prefix_bits";
}

static const char *fault_of_plugin(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, index);
    return plugin->files.count > 0 || plugin->phases == 0 ? NULL : "no files";
}

static const char *fault_of_member(const struct vf_snapshot *snapshot, uint32_t index)
{
    const uint32_t *members = vf_snap_section(snapshot, VF_SNAP_MEMBERS);
    return members[index] < vf_snap_count(snapshot, VF_SNAP_INSTANCES) ? NULL : "instance";
}

/* Sections are checked in their order, so the members are sound by now. */
static const char *fault_of_chain(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_chain *chain = vf_snap_chain(snapshot, index);
    uint32_t phases = 0;
    for (uint32_t i = 0; i < chain->members.count; i++) {
        uint32_t member = vf_snap_member(snapshot, chain, i);
        phases |= vf_snap_instance(snapshot, member)->phases;
    }
    return chain->phases == phases ? NULL : "phases";
}

static const char *fault_of_tls(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_tls *tls = vf_snap_tls(snapshot, index);
    if (tls->client_auth != VF_CLIENT_AUTH_NONE && tls->trust == VF_SNAP_NONE)
        return "trust";
    if (tls->handshake_rate > NS_PER_SECOND ||
        (tls->handshake_rate > 0 && tls->handshake_burst == 0))
        return "handshake_rate or handshake_burst"; /* the time between two is a divisor */
    return tls->min_version == 12 || tls->min_version == 13 ? NULL : "min_version";
}

static const char *fault_of_client_cert(const struct vf_snapshot *snapshot, uint32_t index)
{
    return vf_snap_client_cert(snapshot, index)->mode != VF_CLIENT_AUTH_NONE ? NULL : "mode";
}

static const char *fault_of_upstream_tls(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_upstream_tls *tls = vf_snap_upstream_tls(snapshot, index);
    if (tls->verify != 0 && tls->trust == VF_SNAP_NONE)
        return "trust";
    return tls->pins.len % 32 == 0 ? NULL : "pins";
}

static const char *fault_of_name_identity(const struct vf_snapshot *snapshot, uint32_t index)
{
    const uint32_t *identities = vf_snap_section(snapshot, VF_SNAP_NAME_IDENTITIES);
    return identities[index] < vf_snap_count(snapshot, VF_SNAP_IDENTITIES) ? NULL : "identity";
}

static const char *fault_of_candidate(const struct vf_snapshot *snapshot, uint32_t index)
{
    const uint32_t *candidates = vf_snap_section(snapshot, VF_SNAP_CANDIDATES);
    return candidates[index] < vf_snap_count(snapshot, VF_SNAP_ROUTES) ? NULL : "route";
}

static const char *(*const fault_of[VF_SNAP_SECTIONS])(const struct vf_snapshot *snapshot,
                                                       uint32_t index) = {
    [VF_SNAP_LISTENERS] = fault_of_listener,
    [VF_SNAP_DESTINATIONS] = fault_of_destination,
    [VF_SNAP_POOLS] = fault_of_pool,
    [VF_SNAP_POLICIES] = fault_of_policy,
    [VF_SNAP_ROUTES] = fault_of_route,
    [VF_SNAP_HEALTH] = fault_of_health,
    [VF_SNAP_NETWORKS] = fault_of_network,
    [VF_SNAP_PLUGINS] = fault_of_plugin,
    [VF_SNAP_MEMBERS] = fault_of_member,
    [VF_SNAP_CHAINS] = fault_of_chain,
    [VF_SNAP_CANDIDATES] = fault_of_candidate,
    [VF_SNAP_TLS] = fault_of_tls,
    [VF_SNAP_UPSTREAM_TLS] = fault_of_upstream_tls,
    [VF_SNAP_CLIENT_CERTS] = fault_of_client_cert,
    [VF_SNAP_NAME_IDENTITIES] = fault_of_name_identity,
};

const char *vf_relations_fault(const struct vf_snapshot *snapshot, uint32_t section, uint32_t index)
{
    return fault_of[section] != NULL ? fault_of[section](snapshot, index) : NULL;
}

bool vf_relations_has(uint32_t section)
{
    return fault_of[section] != NULL;
}

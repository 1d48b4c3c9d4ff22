/* snapshot/layout.c - what layout.h comes to in bytes, for those who must agree about it. */
#include <stddef.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

static const uint32_t record_bytes[VF_SNAP_SECTIONS] = {
    [VF_SNAP_LISTENERS] = sizeof(struct vf_snap_listener),
    [VF_SNAP_POOLS] = sizeof(struct vf_snap_pool),
    [VF_SNAP_BACKENDS] = sizeof(struct vf_snap_backend),
    [VF_SNAP_ROUTES] = sizeof(struct vf_snap_route),
    [VF_SNAP_BINDINGS] = sizeof(struct vf_snap_binding),
    [VF_SNAP_CONDITIONS] = sizeof(struct vf_snap_condition),
    [VF_SNAP_POLICIES] = sizeof(struct vf_snap_policy),
    [VF_SNAP_FIELD_OPS] = sizeof(struct vf_snap_field_op),
    [VF_SNAP_HEALTH] = sizeof(struct vf_snap_health),
    [VF_SNAP_NETWORKS] = sizeof(struct vf_snap_network),
    [VF_SNAP_TENANTS] = sizeof(struct vf_snap_tenant),
    [VF_SNAP_PLUGINS] = sizeof(struct vf_snap_plugin),
    [VF_SNAP_PLUGIN_FILES] = sizeof(struct vf_snap_plugin_file),
    [VF_SNAP_INSTANCES] = sizeof(struct vf_snap_instance),
    [VF_SNAP_MEMBERS] = sizeof(uint32_t),
    [VF_SNAP_CHAINS] = sizeof(struct vf_snap_chain),
    [VF_SNAP_DESTINATIONS] = sizeof(struct vf_snap_destination),
    [VF_SNAP_TLS] = sizeof(struct vf_snap_tls),
    [VF_SNAP_IDENTITIES] = sizeof(struct vf_snap_identity),
    [VF_SNAP_SERVER_NAMES] = sizeof(struct vf_snap_server_name),
    [VF_SNAP_NAME_IDENTITIES] = sizeof(uint32_t),
    [VF_SNAP_UPSTREAM_TLS] = sizeof(struct vf_snap_upstream_tls),
    [VF_SNAP_TRUSTS] = sizeof(struct vf_snap_trust),
    [VF_SNAP_CLIENT_CERTS] = sizeof(struct vf_snap_client_cert),
    [VF_SNAP_HOSTS] = sizeof(struct vf_snap_host),
    [VF_SNAP_NODES] = sizeof(struct vf_snap_node),
    [VF_SNAP_CANDIDATES] = sizeof(uint32_t),
};

uint32_t vf_snap_record_bytes(enum vf_snap_section section)
{
    return (uint32_t)section < VF_SNAP_SECTIONS ? record_bytes[section] : 0;
}

/* Sizes alone would miss two fields that changed places, hence the offsets; a change that neither
 * shows (a new enum value, another meaning) moves the revision. */
uint64_t vf_snapshot_layout_hash(void)
{
    enum { REVISION = 1 };
    static const uint64_t shape[] = {
        REVISION,
        sizeof(struct vf_snap_header),
        sizeof(struct vf_snap_settings),
        offsetof(struct vf_snap_settings, access_path),
        offsetof(struct vf_snap_settings, connections),
        offsetof(struct vf_snap_settings, sticky_key),
        offsetof(struct vf_snap_listener, policy),
        offsetof(struct vf_snap_listener, tls),
        offsetof(struct vf_snap_listener, mode),
        offsetof(struct vf_snap_destination, pool),
        offsetof(struct vf_snap_tls, client_auth),
        offsetof(struct vf_snap_tls, names),
        offsetof(struct vf_snap_identity, chain),
        offsetof(struct vf_snap_pool, algorithm),
        offsetof(struct vf_snap_pool, flags),
        offsetof(struct vf_snap_pool, backends),
        offsetof(struct vf_snap_pool, tls),
        offsetof(struct vf_snap_upstream_tls, trust),
        offsetof(struct vf_snap_backend, address),
        offsetof(struct vf_snap_backend, weight),
        offsetof(struct vf_snap_health, ranges),
        offsetof(struct vf_snap_route, path),
        offsetof(struct vf_snap_route, rank),
        offsetof(struct vf_snap_route, rewrite),
        offsetof(struct vf_snap_route, edits),
        offsetof(struct vf_snap_route, chain),
        offsetof(struct vf_snap_client_cert, trust),
        offsetof(struct vf_snap_host, asks_clients),
        offsetof(struct vf_snap_settings, plugin_limits),
        offsetof(struct vf_snap_settings, chain),
        offsetof(struct vf_snap_plugin, slot),
        offsetof(struct vf_snap_instance, plugin),
        offsetof(struct vf_snap_instance, config),
        VF_PHASES,
        VF_POLICY_FIELDS,
    };
    return vf_hash(shape, sizeof(shape), vf_hash(record_bytes, sizeof(record_bytes), 0));
}

#include "snapshot/rules.h"

#include <assert.h>

#include "snapshot/layout.h"
#include "snapshot/state.h"

#define FIELD(section, record, field, kind, limit)                                                 \
    {                                                                                              \
        VF_SNAP_##section, VF_RULE_##kind, offsetof(struct vf_snap_##record, field), limit, #field \
    }

/* What holds for single fields, by section. */
static const struct vf_rule rules[] = {
    FIELD(LISTENERS, listener, name, LINE, 0),
    FIELD(LISTENERS, listener, address_text, LINE, 0),
    FIELD(LISTENERS, listener, address.family, BELOW, VF_FAMILY_IPV6 + 1),
    FIELD(LISTENERS, listener, kind, BELOW, VF_LISTENER_ADMIN + 1),
    FIELD(LISTENERS, listener, slot, BELOW, VF_STATE_LISTENERS),
    FIELD(LISTENERS, listener, policy, INDEX, VF_SNAP_POLICIES),
    FIELD(LISTENERS, listener, tls, OPTIONAL, VF_SNAP_TLS),
    FIELD(LISTENERS, listener, mode, BELOW, VF_LISTENER_TLS_PASSTHROUGH + 1),
    FIELD(LISTENERS, listener, destinations, LIST, VF_SNAP_DESTINATIONS),
    FIELD(LISTENERS, listener, edits.request, LIST, VF_SNAP_FIELD_OPS),
    FIELD(LISTENERS, listener, edits.response, LIST, VF_SNAP_FIELD_OPS),

    FIELD(POOLS, pool, name, LINE, 0),
    FIELD(POOLS, pool, tenant, INDEX, VF_SNAP_TENANTS),
    FIELD(POOLS, pool, slot, BELOW, VF_STATE_POOLS),
    FIELD(POOLS, pool, algorithm, BELOW, VF_BALANCE_PEAK_EWMA + 1),
    FIELD(POOLS, pool, hash_on, BELOW, VF_HASH_ON_PATH + 1),
    FIELD(POOLS, pool, hash_name, LINE, 0),
    FIELD(POOLS, pool, proxy_protocol, BELOW, 3),
    FIELD(POOLS, pool, sticky_cookie, LINE, 0),
    FIELD(POOLS, pool, backends, LIST, VF_SNAP_BACKENDS),
    FIELD(POOLS, pool, policy, INDEX, VF_SNAP_POLICIES),
    FIELD(POOLS, pool, tls, OPTIONAL, VF_SNAP_UPSTREAM_TLS),
    FIELD(POOLS, pool, protocol, BELOW, VF_PROTOCOL_AUTO + 1),

    FIELD(BACKENDS, backend, address_text, LINE, 0),
    FIELD(BACKENDS, backend, host, LINE, 0),
    FIELD(BACKENDS, backend, address.family, BELOW, VF_FAMILY_IPV6 + 1),
    FIELD(BACKENDS, backend, pool, INDEX, VF_SNAP_POOLS),
    FIELD(BACKENDS, backend, slot, BELOW, VF_STATE_BACKENDS),
    FIELD(BACKENDS, backend, weight, BELOW, 1000001),
    FIELD(BACKENDS, backend, health, OPTIONAL, VF_SNAP_HEALTH),

    FIELD(ROUTES, route, name, LINE, 0),
    FIELD(ROUTES, route, source, LINE, 0),
    FIELD(ROUTES, route, tenant, INDEX, VF_SNAP_TENANTS),
    FIELD(ROUTES, route, slot, BELOW, VF_STATE_ROUTES),
    FIELD(ROUTES, route, path_kind, BELOW, VF_PATH_PREFIX + 1),
    FIELD(ROUTES, route, path, TEXT, 0),
    FIELD(ROUTES, route, more_methods, LINE, 0),
    FIELD(ROUTES, route, conditions, LIST, VF_SNAP_CONDITIONS),
    FIELD(ROUTES, route, rank, INDEX, VF_SNAP_ROUTES),
    FIELD(ROUTES, route, action, BELOW, VF_ACTION_RESPOND + 1),
    FIELD(ROUTES, route, status, BELOW, 1000),
    FIELD(ROUTES, route, target, LINE, 0),
    FIELD(ROUTES, route, body, TEXT, 0),
    FIELD(ROUTES, route, content_type, LINE, 0),
    FIELD(ROUTES, route, rewrite, LINE, 0),
    FIELD(ROUTES, route, policy, OPTIONAL, VF_SNAP_POLICIES),
    FIELD(ROUTES, route, edits.request, LIST, VF_SNAP_FIELD_OPS),
    FIELD(ROUTES, route, edits.response, LIST, VF_SNAP_FIELD_OPS),
    FIELD(ROUTES, route, bindings, LIST, VF_SNAP_BINDINGS),
    FIELD(ROUTES, route, chain, OPTIONAL, VF_SNAP_CHAINS),
    FIELD(ROUTES, route, client_cert, OPTIONAL, VF_SNAP_CLIENT_CERTS),

    FIELD(BINDINGS, binding, route, INDEX, VF_SNAP_ROUTES),
    FIELD(BINDINGS, binding, host, LINE, 0),

    FIELD(CONDITIONS, condition, kind, BELOW, VF_CONDITION_QUERY + 1),
    FIELD(CONDITIONS, condition, test, BELOW, VF_TEST_ABSENT + 1),
    FIELD(CONDITIONS, condition, name, LINE, 0),
    FIELD(CONDITIONS, condition, value, TEXT, 0),

    FIELD(FIELD_OPS, field_op, kind, BELOW, VF_FIELD_ADD + 1),
    FIELD(FIELD_OPS, field_op, name, TOKEN, 0),
    FIELD(FIELD_OPS, field_op, value, LINE, 0),

    FIELD(HEALTH, health, type, BELOW, VF_HEALTH_TCP + 1),
    FIELD(HEALTH, health, n_ranges, BELOW, VF_HEALTH_RANGES + 1),
    FIELD(HEALTH, health, path, LINE, 0),
    FIELD(HEALTH, health, host, LINE, 0),

    FIELD(NETWORKS, network, address.family, BELOW, VF_FAMILY_IPV6 + 1),

    FIELD(TENANTS, tenant, name, LINE, 0),
    FIELD(TENANTS, tenant, slot, BELOW, VF_STATE_TENANTS),

    FIELD(PLUGINS, plugin, name, LINE, 0),
    FIELD(PLUGINS, plugin, slot, BELOW, VF_STATE_PLUGINS),
    FIELD(PLUGINS, plugin, phases, BELOW, 1 << VF_PHASE_TIMER),
    FIELD(PLUGINS, plugin, files, LIST, VF_SNAP_PLUGIN_FILES),

    FIELD(PLUGIN_FILES, plugin_file, name, LINE, 0),
    FIELD(PLUGIN_FILES, plugin_file, chunk, LINE, 0),
    FIELD(PLUGIN_FILES, plugin_file, source, TEXT, 0),

    FIELD(INSTANCES, instance, as, LINE, 0),
    FIELD(INSTANCES, instance, plugin, INDEX, VF_SNAP_PLUGINS),
    FIELD(INSTANCES, instance, scope, BELOW, VF_SCOPE_CONSUMER + 1),
    FIELD(INSTANCES, instance, tenant, OPTIONAL, VF_SNAP_TENANTS),
    FIELD(INSTANCES, instance, phases, BELOW, 1 << VF_PHASE_TIMER),
    FIELD(INSTANCES, instance, on_error, BELOW, VF_ON_ERROR_CONTINUE + 1),
    FIELD(INSTANCES, instance, config, TEXT, 0),
    FIELD(INSTANCES, instance, meta, TEXT, 0),
    FIELD(INSTANCES, instance, source, LINE, 0),

    FIELD(CHAINS, chain, phases, BELOW, 1 << VF_PHASE_TIMER),
    FIELD(CHAINS, chain, kind, BELOW, VF_CHAIN_CONSUMER + 1),
    FIELD(CHAINS, chain, members, LIST, VF_SNAP_MEMBERS),

    FIELD(DESTINATIONS, destination, name, LINE, 0),
    FIELD(DESTINATIONS, destination, pool, INDEX, VF_SNAP_POOLS),
    FIELD(DESTINATIONS, destination, policy, INDEX, VF_SNAP_POLICIES),

    FIELD(TLS, tls, alpn, TEXT, 0),
    FIELD(TLS, tls, client_auth, BELOW, VF_CLIENT_AUTH_REQUIRED + 1),
    FIELD(TLS, tls, trust, OPTIONAL, VF_SNAP_TRUSTS),
    FIELD(TLS, tls, names, LIST, VF_SNAP_SERVER_NAMES),
    FIELD(TLS, tls, defaults, LIST, VF_SNAP_NAME_IDENTITIES),

    FIELD(IDENTITIES, identity, name, LINE, 0),
    FIELD(IDENTITIES, identity, chain, TEXT, 0),
    FIELD(IDENTITIES, identity, key, TEXT, 0),

    FIELD(SERVER_NAMES, server_name, name, LINE, 0),
    FIELD(SERVER_NAMES, server_name, identities, LIST, VF_SNAP_NAME_IDENTITIES),

    FIELD(UPSTREAM_TLS, upstream_tls, name, LINE, 0),
    FIELD(UPSTREAM_TLS, upstream_tls, pins, TEXT, 0),
    FIELD(UPSTREAM_TLS, upstream_tls, trust, OPTIONAL, VF_SNAP_TRUSTS),
    FIELD(UPSTREAM_TLS, upstream_tls, identity, OPTIONAL, VF_SNAP_IDENTITIES),

    FIELD(TRUSTS, trust, authorities, TEXT, 0),
    FIELD(TRUSTS, trust, revocations, TEXT, 0),

    FIELD(CLIENT_CERTS, client_cert, mode, BELOW, VF_CLIENT_AUTH_REQUIRED + 1),
    FIELD(CLIENT_CERTS, client_cert, trust, OPTIONAL, VF_SNAP_TRUSTS),

    FIELD(HOSTS, host, name, LINE, 0),
    FIELD(HOSTS, host, prefix_root, LIST, VF_SNAP_CANDIDATES),
    FIELD(HOSTS, host, regexes, LIST, VF_SNAP_CANDIDATES),

    FIELD(NODES, node, segment, TEXT, 0),
    FIELD(NODES, node, prefix, LIST, VF_SNAP_CANDIDATES),
    FIELD(NODES, node, exact, LIST, VF_SNAP_CANDIDATES),
};

static const struct vf_rule settings_rules[] = {
    {0, VF_RULE_LINE, offsetof(struct vf_snap_settings, access_path), 0, "access_path"},
    {0, VF_RULE_LINE, offsetof(struct vf_snap_settings, data_dir), 0, "data_dir"},
    {0, VF_RULE_LINE, offsetof(struct vf_snap_settings, pid_file), 0, "pid_file"},
    {0, VF_RULE_BELOW, offsetof(struct vf_snap_settings, log_level), 4, "log_level"},
    {0, VF_RULE_BELOW, offsetof(struct vf_snap_settings, log_format), 3, "log_format"},
    {0, VF_RULE_BELOW, offsetof(struct vf_snap_settings, access_format), VF_ACCESS_COMBINED + 1,
     "access_format"},
    {0, VF_RULE_OPTIONAL, offsetof(struct vf_snap_settings, plugin_tls[0]), VF_SNAP_UPSTREAM_TLS,
     "plugin_tls"},
    {0, VF_RULE_OPTIONAL, offsetof(struct vf_snap_settings, plugin_tls[1]), VF_SNAP_UPSTREAM_TLS,
     "plugin_tls"},
    {0, VF_RULE_OPTIONAL, offsetof(struct vf_snap_settings, chain), VF_SNAP_CHAINS, "chain"},
};

static const char *const section_names[VF_SNAP_SECTIONS] = {
    "listener",     "pool",        "backend",
    "route",        "binding",     "condition",
    "policy",       "field op",    "health",
    "network",      "tenant",      "plugin",
    "file",         "instance",    "member",
    "chain",        "destination", "TLS",
    "identity",     "server name", "identity of a name",
    "upstream TLS", "trust",       "client certificate",
    "host",         "node",        "candidate",
};

struct vf_rules vf_rules_of_records(void)
{
    return (struct vf_rules){rules, sizeof(rules) / sizeof(rules[0])};
}

struct vf_rules vf_rules_of_settings(void)
{
    return (struct vf_rules){settings_rules, sizeof(settings_rules) / sizeof(settings_rules[0])};
}

bool vf_rules_is_text(const struct vf_rule *rule)
{
    return rule->kind == VF_RULE_TEXT || rule->kind == VF_RULE_LINE || rule->kind == VF_RULE_TOKEN;
}

const char *vf_rules_noun(uint32_t section)
{
    assert(section < VF_SNAP_SECTIONS);
    return section_names[section];
}

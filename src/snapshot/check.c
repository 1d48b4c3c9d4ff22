#include "snapshot/check.h"

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "snapshot/lines.h"
#include "snapshot/rules.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

struct check {
    const char *base;
    size_t size;
    struct vf_snapshot snapshot; /* for the accessors */
    char *fault;
    size_t fault_size;
    struct vf_lines lines; /* of the texts */
};

static int refuse(struct check *check, const char *where, uint32_t index, const char *what)
{
    snprintf(check->fault, check->fault_size, "%s %u: %s", where, (unsigned)index, what);
    return UV_EINVAL;
}

static bool text_fits(const struct check *check, struct vf_snap_text text)
{
    return text.offset <= check->size && text.len <= check->size - text.offset;
}

static bool is_token(struct vf_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = vf_lower(text.data[i]);
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.len > 0;
}

static bool list_fits(const struct check *check, struct vf_snap_list list, uint32_t section)
{
    uint32_t count = vf_snap_count(&check->snapshot, section);
    return list.first <= count && list.count <= count - list.first;
}

static bool holds_text(const struct check *check, const struct vf_rule *rule, const char *record)
{
    struct vf_snap_text text;
    memcpy(&text, record + rule->offset, sizeof(text));
    if (!text_fits(check, text))
        return false;
    struct vf_str bytes = vf_snap_str(&check->snapshot, text);
    if (rule->kind == VF_RULE_LINE)
        return vf_lines_has(&check->lines, bytes);
    return rule->kind == VF_RULE_TEXT || is_token(bytes);
}

static bool holds(const struct check *check, const struct vf_rule *rule, const char *record)
{
    uint32_t number;
    struct vf_snap_list list;
    memcpy(&number, record + rule->offset, sizeof(number));
    switch ((enum vf_rule_kind)rule->kind) {
    case VF_RULE_TEXT:
    case VF_RULE_LINE:
    case VF_RULE_TOKEN:
        return holds_text(check, rule, record);
    case VF_RULE_INDEX:
        return number < vf_snap_count(&check->snapshot, rule->limit);
    case VF_RULE_OPTIONAL:
        return number == VF_SNAP_NONE || number < vf_snap_count(&check->snapshot, rule->limit);
    case VF_RULE_LIST:
        memcpy(&list, record + rule->offset, sizeof(list));
        return list_fits(check, list, rule->limit);
    case VF_RULE_BELOW:
        return number < rule->limit;
    }
    return false;
}

/* --- Header and sections ---------------------------------------------------------------------- */

static int check_extents(struct check *check)
{
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++) {
        const struct vf_snap_extent *extent = &check->snapshot.header->sections[i];
        if (extent->record_bytes != vf_snap_record_bytes(i) || extent->offset % 8 != 0 ||
            extent->offset < sizeof(struct vf_snap_header) || extent->offset > check->size ||
            extent->count > (check->size - extent->offset) / extent->record_bytes)
            return refuse(check, "section", i, vf_rules_noun(i));
    }
    return 0;
}

static int check_header(struct check *check)
{
    const struct vf_snap_header *header = check->snapshot.header;
    if (check->size < sizeof(*header) || header->magic != VF_SNAP_MAGIC)
        return refuse(check, "header", 0, "magic");
    if (header->layout_hash != vf_snapshot_layout_hash())
        return refuse(check, "header", 0, "layout of another build");
    if (header->size != check->size)
        return refuse(check, "header", 0, "size");
    return check_extents(check);
}

static int check_settings(struct check *check)
{
    const struct vf_snap_settings *settings = &check->snapshot.header->settings;
    const struct vf_rules rules = vf_rules_of_settings();
    for (size_t i = 0; i < rules.n; i++)
        if (!holds(check, &rules.list[i], (const char *)settings))
            return refuse(check, "settings", 0, rules.list[i].field);
    if (settings->workers == 0)
        return refuse(check, "settings", 0, "workers");
    return 0;
}

/* --- What single fields cannot say ------------------------------------------------------------ */

static bool is_complete(const struct check *check, uint32_t policy)
{
    uint64_t all = (UINT64_C(1) << VF_POLICY_FIELDS) - 1;
    return vf_snap_policy(&check->snapshot, policy)->set == all;
}

static const char *fault_of_pool(const struct check *check, uint32_t index)
{
    const struct vf_snap_pool *pool = vf_snap_pool(&check->snapshot, index);
    struct vf_snap_list list = pool->backends;
    for (uint32_t i = 0; i < list.count; i++)
        if (vf_snap_backend(&check->snapshot, list.first + i)->pool != index)
            return "backends of another pool";
    return is_complete(check, pool->policy) ? NULL : "incomplete policy";
}

static const char *fault_of_listener(const struct check *check, uint32_t index)
{
    const struct vf_snap_listener *listener = vf_snap_listener(&check->snapshot, index);
    if (listener->mode != VF_LISTENER_HTTP && listener->tls != VF_SNAP_NONE)
        return "TLS that is passed on";
    return is_complete(check, listener->policy) ? NULL : "incomplete policy";
}

static const char *fault_of_destination(const struct check *check, uint32_t index)
{
    uint32_t policy = vf_snap_destination(&check->snapshot, index)->policy;
    return is_complete(check, policy) ? NULL : "incomplete policy";
}

static const char *fault_of_policy(const struct check *check, uint32_t index)
{
    return vf_snap_policy(&check->snapshot, index)->set >> VF_POLICY_FIELDS == 0 ? NULL : "set";
}

static bool is_route_chain(const struct check *check, uint32_t chain)
{
    return chain == VF_SNAP_NONE || vf_snap_chain(&check->snapshot, chain)->kind == VF_CHAIN_ROUTE;
}

static const char *fault_of_route(const struct check *check, uint32_t index)
{
    const struct vf_snap_route *route = vf_snap_route(&check->snapshot, index);
    struct vf_str path = vf_snap_str(&check->snapshot, route->path);
    if (route->action == VF_ACTION_POOL &&
        route->pool >= vf_snap_count(&check->snapshot, VF_SNAP_POOLS))
        return "pool";
    if (route->action != VF_ACTION_POOL && route->status < 200)
        return "status";
    bool is_rooted = path.len > 0 && path.data[0] == '/';
    if (route->path_kind == VF_PATH_EXACT && !is_rooted)
        return "path";
    if (route->path_kind == VF_PATH_PREFIX && path.len > 0 && !is_rooted)
        return "path";
    return is_route_chain(check, route->chain) ? NULL : "chain of a consumer";
}

static const char *fault_of_health(const struct check *check, uint32_t index)
{
    const struct vf_snap_health *health = vf_snap_health(&check->snapshot, index);
    if (health->rise == 0 || health->fall == 0)
        return "rise or fall";
    return health->interval_ms == 0 || health->timeout_ms == 0 ? "interval or timeout" : NULL;
}

static const char *fault_of_network(const struct check *check, uint32_t index)
{
    const struct vf_snap_network *network = vf_snap_network(&check->snapshot, index);
    if (network->address.family == VF_FAMILY_NONE)
        return "family";
    return network->prefix_bits <= (network->address.family == VF_FAMILY_IPV4 ? 32 : 128)
               ? NULL
               : "prefix_bits";
}

static const char *fault_of_plugin(const struct check *check, uint32_t index)
{
    const struct vf_snap_plugin *plugin = vf_snap_plugin(&check->snapshot, index);
    return plugin->files.count > 0 || plugin->phases == 0 ? NULL : "no files";
}

static const char *fault_of_member(const struct check *check, uint32_t index)
{
    const uint32_t *members = vf_snap_section(&check->snapshot, VF_SNAP_MEMBERS);
    return members[index] < vf_snap_count(&check->snapshot, VF_SNAP_INSTANCES) ? NULL : "instance";
}

/* Sections are checked in their order, so the members are sound by now. */
static const char *fault_of_chain(const struct check *check, uint32_t index)
{
    const struct vf_snapshot *snapshot = &check->snapshot;
    const struct vf_snap_chain *chain = vf_snap_chain(snapshot, index);
    uint32_t phases = 0;
    for (uint32_t i = 0; i < chain->members.count; i++) {
        uint32_t member = vf_snap_member(snapshot, chain, i);
        phases |= vf_snap_instance(snapshot, member)->phases;
    }
    return chain->phases == phases ? NULL : "phases";
}

static const char *fault_of_tls(const struct check *check, uint32_t index)
{
    const struct vf_snap_tls *tls = vf_snap_tls(&check->snapshot, index);
    if (tls->client_auth != VF_CLIENT_AUTH_NONE && tls->trust == VF_SNAP_NONE)
        return "trust";
    return tls->min_version == 12 || tls->min_version == 13 ? NULL : "min_version";
}

static const char *fault_of_client_cert(const struct check *check, uint32_t index)
{
    return vf_snap_client_cert(&check->snapshot, index)->mode != VF_CLIENT_AUTH_NONE ? NULL
                                                                                     : "mode";
}

static const char *fault_of_upstream_tls(const struct check *check, uint32_t index)
{
    const struct vf_snap_upstream_tls *tls = vf_snap_upstream_tls(&check->snapshot, index);
    if (tls->verify != 0 && tls->trust == VF_SNAP_NONE)
        return "trust";
    return tls->pins.len % 32 == 0 ? NULL : "pins";
}

static const char *fault_of_name_identity(const struct check *check, uint32_t index)
{
    const uint32_t *identities = vf_snap_section(&check->snapshot, VF_SNAP_NAME_IDENTITIES);
    return identities[index] < vf_snap_count(&check->snapshot, VF_SNAP_IDENTITIES) ? NULL
                                                                                   : "identity";
}

static const char *fault_of_candidate(const struct check *check, uint32_t index)
{
    const uint32_t *candidates = vf_snap_section(&check->snapshot, VF_SNAP_CANDIDATES);
    return candidates[index] < vf_snap_count(&check->snapshot, VF_SNAP_ROUTES) ? NULL : "route";
}

static const char *(*const fault_of[VF_SNAP_SECTIONS])(const struct check *check,
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

/* --- Records ---------------------------------------------------------------------------------- */

/* What else such an entry holds is never looked at. */
static bool is_empty_entry(const struct check *check, uint32_t section, uint32_t index)
{
    if (section == VF_SNAP_HOSTS) {
        const struct vf_snap_host *hosts = vf_snap_section(&check->snapshot, section);
        return hosts[index].used == 0;
    }
    const struct vf_snap_node *nodes = vf_snap_section(&check->snapshot, section);
    return nodes[index].parent == VF_SNAP_NONE;
}

/* Checks the records of a section, each by all of the `n` rules: it is in the cache by then. */
static int check_section(struct check *check, const struct vf_rule *of_section, size_t n)
{
    uint32_t section = of_section->section, bytes = vf_snap_record_bytes(section);
    uint32_t count = vf_snap_count(&check->snapshot, section);
    const char *record = vf_snap_section(&check->snapshot, section);
    bool is_table = section == VF_SNAP_HOSTS || section == VF_SNAP_NODES;
    for (uint32_t i = 0; i < count; i++, record += bytes)
        for (size_t r = 0; r < n && !(is_table && is_empty_entry(check, section, i)); r++)
            if (!holds(check, &of_section[r], record))
                return refuse(check, vf_rules_noun(section), i, of_section[r].field);
    return 0;
}

static int check_fields(struct check *check)
{
    const struct vf_rules rules = vf_rules_of_records();
    int rc = 0;
    for (size_t first = 0, end; rc == 0 && first < rules.n; first = end) {
        for (end = first; end < rules.n && rules.list[end].section == rules.list[first].section;)
            end++;
        rc = check_section(check, &rules.list[first], end - first);
    }
    return rc;
}

/* Texts lie between the header and the first section. */
static size_t end_of_texts(const struct check *check)
{
    size_t end = check->size;
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++)
        if (check->snapshot.header->sections[i].offset < end)
            end = check->snapshot.header->sections[i].offset;
    return end;
}

static int check_records(struct check *check)
{
    for (uint32_t section = 0; section < VF_SNAP_SECTIONS; section++) {
        uint32_t count = fault_of[section] ? vf_snap_count(&check->snapshot, section) : 0;
        for (uint32_t i = 0; i < count; i++) {
            const char *what = fault_of[section](check, i);
            if (what != NULL)
                return refuse(check, vf_rules_noun(section), i, what);
        }
    }
    return 0;
}

/* A search in a hash table ends at an empty entry, so there must be one. */
static int check_table(struct check *check, uint32_t section)
{
    uint32_t count = vf_snap_count(&check->snapshot, section);
    if (count == 0 || (count & (count - 1)) != 0)
        return refuse(check, vf_rules_noun(section), count, "table size");
    for (uint32_t i = 0; i < count; i++)
        if (is_empty_entry(check, section, i))
            return 0;
    return refuse(check, vf_rules_noun(section), count, "full table");
}

int vf_snapshot_check_frame(const void *memory, size_t size, char *fault, size_t fault_size)
{
    struct check check = {memory, size, {.header = memory, .size = size}, fault, fault_size, {0}};
    return check_header(&check);
}

static int check_all(struct check *check)
{
    int rc = check_settings(check);
    if (rc == 0)
        rc = check_fields(check);
    if (rc == 0)
        rc = check_records(check);
    if (rc == 0 && !is_route_chain(check, check->snapshot.header->settings.chain))
        rc = refuse(check, "settings", 0, "chain of a consumer");
    if (rc == 0)
        rc = check_table(check, VF_SNAP_HOSTS);
    if (rc == 0)
        rc = check_table(check, VF_SNAP_NODES);
    return rc;
}

int vf_snapshot_check(const void *memory, size_t size, char *fault, size_t fault_size)
{
    struct check check = {memory, size, {.header = memory, .size = size}, fault, fault_size, {0}};
    int rc = check_header(&check);
    if (rc < 0)
        return rc;
    vf_lines_init(&check.lines, check.base, end_of_texts(&check));
    rc = check_all(&check);
    vf_lines_deinit(&check.lines);
    return rc;
}

/* --- Texts ------------------------------------------------------------------------------------ */

void vf_snapshot_each_text(const struct vf_snapshot *snapshot,
                           void (*visit)(void *owner, const struct vf_snap_place *place,
                                         struct vf_snap_text *text),
                           void *owner)
{
    const struct vf_rules of_settings = vf_rules_of_settings(), of_records = vf_rules_of_records();
    for (size_t r = 0; r < of_settings.n; r++) {
        const struct vf_rule *rule = &of_settings.list[r];
        struct vf_snap_place place = {VF_SNAP_SECTIONS, 0, rule->offset};
        char *settings = (char *)&snapshot->header->settings;
        if (vf_rules_is_text(rule))
            visit(owner, &place, (struct vf_snap_text *)(void *)(settings + rule->offset));
    }
    for (size_t r = 0; r < of_records.n; r++) {
        const struct vf_rule *rule = &of_records.list[r];
        uint32_t bytes = vf_snap_record_bytes(rule->section);
        uint32_t count = vf_rules_is_text(rule) ? vf_snap_count(snapshot, rule->section) : 0;
        char *records = (char *)vf_snap_section(snapshot, rule->section);
        struct vf_snap_place place = {rule->section, 0, rule->offset};
        for (; place.index < count; place.index++) {
            char *field = records + (size_t)place.index * bytes + rule->offset;
            visit(owner, &place, (struct vf_snap_text *)(void *)field);
        }
    }
}

/* Fuzzes snapshots: the input is a list of edits to a real snapshot, which is then opened; if it
 * still passes, everything in it is read and looked up. Edits reach deep where random bytes would
 * end at the magic number. An edit has 4 bytes: offset (two, little-endian), what (one: 0..7 set a
 * byte, from 8 on write a 32-bit number that is often an edge), value (one). */
#include <stdlib.h>
#include <string.h>

#include "snapshot/builder.h"
#include "snapshot/router.h"

enum { EDIT_BYTES = 4 };

static struct vf_snapb *builder;
static struct vf_router *router;
static volatile unsigned seen; /* so that reading is not optimised away */

static struct vf_snap_text text_of(const char *text)
{
    struct vf_snap_text out;
    if (vf_snapb_text(builder, text, strlen(text), &out) < 0)
        abort();
    return out;
}

static void add_condition(struct vf_snap_route *route, uint32_t kind, uint32_t test,
                          const char *name, const char *value)
{
    uint32_t index;
    struct vf_snap_condition *condition = vf_snapb_add(builder, VF_SNAP_CONDITIONS, 1, &index);
    *condition = (struct vf_snap_condition){kind, test, text_of(name), text_of(value)};
    if (route->conditions.count++ == 0)
        route->conditions.first = index;
}

static struct vf_snap_route *add_route(const char *name, uint32_t kind, const char *path,
                                       const char *host)
{
    uint32_t index, ignored;
    struct vf_snap_route *route = vf_snapb_add(builder, VF_SNAP_ROUTES, 1, &index);
    struct vf_snap_binding *binding = vf_snapb_add(builder, VF_SNAP_BINDINGS, 1, &ignored);
    route->name = text_of(name);
    route->path_kind = kind;
    route->path = text_of(path);
    route->slot = index;
    route->chain = VF_SNAP_NONE;
    route->client_cert = VF_SNAP_NONE;
    route->action = VF_ACTION_RESPOND;
    route->status = 200;
    binding->route = index;
    binding->host = text_of(host);
    return route;
}

static void add_pool(void)
{
    uint32_t index;
    struct vf_snap_pool *pool = vf_snapb_add(builder, VF_SNAP_POOLS, 1, &index);
    pool->name = text_of("web");
    pool->backends = (struct vf_snap_list){0, 2};
    struct vf_snap_upstream_tls *tls = vf_snapb_add(builder, VF_SNAP_UPSTREAM_TLS, 1, &index);
    tls->trust = tls->identity = VF_SNAP_NONE;
    struct vf_snap_backend *backends = vf_snapb_add(builder, VF_SNAP_BACKENDS, 2, &index);
    for (int i = 0; i < 2; i++) {
        backends[i].host = text_of("127.0.0.1");
        backends[i].weight = 100;
    }
    struct vf_snap_health *health = vf_snapb_add(builder, VF_SNAP_HEALTH, 1, &index);
    health->rise = health->fall = 1;
    health->interval_ms = health->timeout_ms = 1000;
    health->path = text_of("/health");
}

/* Two plugins, the instances of which make a chain for a route and one of a consumer. */
static void add_plugins(void)
{
    uint32_t index;
    struct vf_snap_plugin *plugins = vf_snapb_add(builder, VF_SNAP_PLUGINS, 2, &index);
    struct vf_snap_plugin_file *files = vf_snapb_add(builder, VF_SNAP_PLUGIN_FILES, 3, &index);
    struct vf_snap_instance *instances = vf_snapb_add(builder, VF_SNAP_INSTANCES, 3, &index);
    struct vf_snap_chain *chains = vf_snapb_add(builder, VF_SNAP_CHAINS, 2, &index);
    uint32_t *members = vf_snapb_add(builder, VF_SNAP_MEMBERS, 3, &index);
    for (uint32_t i = 0; i < 2; i++) {
        plugins[i].name = text_of(i == 0 ? "cors" : "script");
        plugins[i].phases = 1u << (VF_PHASE_ACCESS + i);
        plugins[i].slot = i;
        plugins[i].files = (struct vf_snap_list){i, i + 1};
    }
    for (uint32_t i = 0; i < 3; i++) {
        files[i].name = text_of(i < 2 ? "handler" : "util");
        files[i].source = text_of("return {}\n");
        instances[i].plugin = i / 2;
        instances[i].phases = plugins[i / 2].phases;
        instances[i].as = text_of("as");
        instances[i].scope = i;
        instances[i].tenant = VF_SNAP_NONE;
        instances[i].config = text_of("{\"a\":1}");
        members[i] = 2 - i;
    }
    chains[0].phases = plugins[0].phases | plugins[1].phases;
    chains[0].members = (struct vf_snap_list){0, 3};
    chains[1].kind = VF_CHAIN_CONSUMER;
    chains[1].phases = plugins[0].phases;
    chains[1].members = (struct vf_snap_list){1, 2};
}

static void add_node_settings(void)
{
    uint32_t index;
    struct vf_snap_policy *policy = vf_snapb_add(builder, VF_SNAP_POLICIES, 1, &index);
    policy->set = (UINT64_C(1) << VF_POLICY_FIELDS) - 1;
    struct vf_snap_listener *listener = vf_snapb_add(builder, VF_SNAP_LISTENERS, 1, &index);
    listener->name = text_of("http");
    listener->tls = 0;
    struct vf_snap_tls *tls = vf_snapb_add(builder, VF_SNAP_TLS, 1, &index);
    tls->min_version = 12;
    tls->trust = 0;
    tls->names = (struct vf_snap_list){0, 1};
    struct vf_snap_trust *trust = vf_snapb_add(builder, VF_SNAP_TRUSTS, 1, &index);
    trust->authorities = text_of("authority");
    struct vf_snap_server_name *name = vf_snapb_add(builder, VF_SNAP_SERVER_NAMES, 1, &index);
    name->name = text_of("a.example.com");
    name->identities = (struct vf_snap_list){0, 1};
    vf_snapb_add(builder, VF_SNAP_NAME_IDENTITIES, 1, &index);
    struct vf_snap_identity *identity = vf_snapb_add(builder, VF_SNAP_IDENTITIES, 1, &index);
    identity->name = text_of("site");
    struct vf_snap_network *network = vf_snapb_add(builder, VF_SNAP_NETWORKS, 1, &index);
    network->address.family = VF_FAMILY_IPV4;
    network->prefix_bits = 9;
    struct vf_snap_field_op *op = vf_snapb_add(builder, VF_SNAP_FIELD_OPS, 1, &index);
    op->name = text_of("X-Field");
    op->value = text_of("value");
    vf_snapb_settings(builder)->workers = 1;
    vf_snapb_settings(builder)->chain = 0;
}

static void make_snapshot(void)
{
    char error[96];
    uint32_t index;
    builder = vf_snapb_new();
    router = vf_router_new();
    struct vf_snap_tenant *tenant = vf_snapb_add(builder, VF_SNAP_TENANTS, 1, &index);
    tenant->name = text_of("default");
    add_node_settings();
    add_pool();
    add_plugins();
    add_route("all", VF_PATH_PREFIX, "/", "*")->chain = 0;
    add_route("api", VF_PATH_PREFIX, "/api/v1", "a.example.com");
    add_route("wild", VF_PATH_PREFIX, "/api", "*.example.com")->methods = 2;
    add_route("regex", VF_PATH_REGEX, "^/(a|b)", "a.example.com");
    struct vf_snap_route *asks = add_route("asks", VF_PATH_EXACT, "/api/v1/", "a.example.com");
    add_condition(asks, VF_CONDITION_HEADER, VF_TEST_EQUAL, "x", "1");
    add_condition(asks, VF_CONDITION_QUERY, VF_TEST_REGEX, "q", "^y");
    if (router == NULL || vf_snapb_finish(builder, 1, error, sizeof(error)) < 0)
        abort();
}

static uint32_t edge_of(uint8_t value)
{
    static const uint32_t edges[] = {0,          1,          2,          7,          8,
                                     0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffffe, 0xffffffff};
    enum { EDGES = sizeof(edges) / sizeof(edges[0]) };
    return value < EDGES ? edges[value] : value;
}

static void edit(char *snapshot, size_t size, const uint8_t *data, size_t n_bytes)
{
    for (; n_bytes >= EDIT_BYTES; data += EDIT_BYTES, n_bytes -= EDIT_BYTES) {
        size_t at = (size_t)(data[0] | data[1] << 8) % (size - 4);
        uint32_t number = edge_of(data[3]);
        if (data[2] < 8)
            snapshot[at] = (char)data[3];
        else
            memcpy(snapshot + (at & ~(size_t)3), &number, sizeof(number));
    }
}

static void touch(struct vf_str text)
{
    for (size_t i = 0; i < text.len; i++)
        seen += (unsigned char)text.data[i];
}

static void read_routes(const struct vf_snapshot *snapshot)
{
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_ROUTES); i++) {
        const struct vf_snap_route *route = vf_snap_route(snapshot, i);
        uint32_t by;
        touch(vf_snap_str(snapshot, route->name));
        touch(vf_snap_str(snapshot, route->target));
        touch(vf_snap_str(snapshot, vf_snap_tenant(snapshot, route->tenant)->name));
        for (uint32_t k = 0; k < route->edits.request.count; k++)
            touch(
                vf_snap_str(snapshot, vf_snap_op(snapshot, route->edits.request.first + k)->name));
        if (route->action == VF_ACTION_POOL)
            touch(vf_snap_str(snapshot, vf_snap_pool(snapshot, route->pool)->name));
        seen += vf_route_is_shadowed(snapshot, i, &by);
    }
}

static void read_chain(const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_chain *chain = vf_snap_chain(snapshot, index);
    for (uint32_t i = 0; i < chain->members.count; i++) {
        const struct vf_snap_instance *instance =
            vf_snap_instance(snapshot, vf_snap_member(snapshot, chain, i));
        const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, instance->plugin);
        touch(vf_snap_str(snapshot, instance->as));
        touch(vf_snap_str(snapshot, instance->config));
        touch(vf_snap_str(snapshot, instance->meta));
        touch(vf_snap_str(snapshot, instance->source));
        touch(vf_snap_str(snapshot, plugin->name));
        if (instance->tenant != VF_SNAP_NONE)
            touch(vf_snap_str(snapshot, vf_snap_tenant(snapshot, instance->tenant)->name));
        for (uint32_t k = 0; k < plugin->files.count; k++) {
            const struct vf_snap_plugin_file *file =
                vf_snap_plugin_file(snapshot, plugin->files.first + k);
            touch(vf_snap_str(snapshot, file->name));
            touch(vf_snap_str(snapshot, file->chunk));
            touch(vf_snap_str(snapshot, file->source));
        }
    }
}

static void read_chains(const struct vf_snapshot *snapshot)
{
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_CHAINS); i++)
        read_chain(snapshot, i);
    if (vf_snap_settings(snapshot)->chain != VF_SNAP_NONE)
        read_chain(snapshot, vf_snap_settings(snapshot)->chain);
}

static void read_pools(const struct vf_snapshot *snapshot)
{
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_POOLS); i++) {
        const struct vf_snap_pool *pool = vf_snap_pool(snapshot, i);
        for (uint32_t k = 0; k < pool->backends.count; k++) {
            uint32_t health = vf_snap_backend(snapshot, pool->backends.first + k)->health;
            if (health != VF_SNAP_NONE)
                touch(vf_snap_str(snapshot, vf_snap_health(snapshot, health)->path));
        }
    }
}

static void read_node_settings(const struct vf_snapshot *snapshot)
{
    static const uint8_t ip[16] = {10, 1, 2, 3};
    struct vf_snap_policy policy;
    touch(vf_snap_str(snapshot, vf_snap_settings(snapshot)->data_dir));
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_LISTENERS); i++)
        vf_policy_resolve(snapshot, vf_snap_listener(snapshot, i)->policy, 0, &policy);
    seen += vf_snapshot_is_trusted(snapshot, VF_FAMILY_IPV4, ip);
    seen += vf_snapshot_is_trusted(snapshot, VF_FAMILY_IPV6, ip);
}

static void look_up(const struct vf_snapshot *snapshot)
{
    static const char *const hosts[] = {"a.example.com:80", "b.example.com", "other", ""};
    static const char *const paths[] = {"/", "/api/v1/", "/api/v1/x//y", "/b", "*"};
    struct vf_str pairs[] = {VF_STR("x"), VF_STR("1")};
    struct vf_route_fields fields = {pairs, 1};
    for (size_t i = 0; i < 4 * 5; i++) {
        struct vf_route_query query = {.host = vf_str_from(hosts[i / 5]),
                                       .path = vf_str_from(paths[i % 5]),
                                       .query = VF_STR("a=b&q=y"),
                                       .method = i % 3,
                                       .header = vf_route_fields_find,
                                       .owner = &fields};
        struct vf_route_match match;
        struct vf_route_rival rivals[4];
        if (vf_route_find(router, snapshot, &query, &match) == VF_ROUTE_FOUND &&
            match.prefix_bytes > query.path.len)
            abort();
        vf_route_explain(router, snapshot, &query, rivals, 4);
    }
    vf_router_sweep(router, snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vf_snapshot *snapshot;
    if (builder == NULL)
        make_snapshot();
    size_t n_bytes = vf_snapb_size(builder);
    char *copy = malloc(n_bytes);
    memcpy(copy, vf_snapb_data(builder), n_bytes);
    edit(copy, n_bytes, data, size);
    if (vf_snapshot_adopt(copy, n_bytes, &snapshot) == 0) {
        read_node_settings(snapshot);
        read_routes(snapshot);
        read_pools(snapshot);
        read_chains(snapshot);
        look_up(snapshot);
        vf_snapshot_release(&snapshot);
    }
    free(copy);
    return 0;
}

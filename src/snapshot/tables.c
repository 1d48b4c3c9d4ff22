#include "snapshot/tables.h"

#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "base/str.h"
#include "snapshot/index.h"

/* Routes in order of preference: they are appended best first. */
struct chain {
    uint32_t first, last; /* links; VF_SNAP_NONE when empty */
    uint32_t count;
};

struct link { /* one for each binding: a binding is in one chain */
    uint32_t route, next;
};

struct host {
    struct vf_snap_text name;
    struct chain prefix_root, regexes;
    bool asks_clients;
};

struct node {
    uint32_t parent; /* hosts come first: parent i < n_bindings is the root of host i */
    struct vf_snap_text segment;
    struct chain prefix, exact;
    bool has_children;
};

/* Dense arrays while the tables grow, each with a table of indexes into it. The capacities are
 * upper bounds, so that nothing is ever moved; pages beyond what is used are never touched. */
struct making {
    const struct vf_tables_input *input;
    struct link *links;
    uint32_t n_links;
    struct host *hosts;
    uint32_t n_hosts;
    uint32_t *host_slots; /* index + 1; 0: empty */
    uint32_t host_mask;
    struct node *nodes;
    uint32_t n_nodes;
    uint32_t *node_slots;
    uint32_t node_mask;
};

static const struct chain empty_chain = {VF_SNAP_NONE, VF_SNAP_NONE, 0};

static struct vf_str text_of(const struct making *making, struct vf_snap_text text)
{
    return vf_str_make(making->input->base + text.offset, text.len);
}

static void append(struct making *making, struct chain *chain, uint32_t route)
{
    if (chain->last != VF_SNAP_NONE && making->links[chain->last].route == route)
        return; /* bound to this host twice */
    uint32_t link = making->n_links++;
    making->links[link] = (struct link){route, VF_SNAP_NONE};
    if (chain->last == VF_SNAP_NONE)
        chain->first = link;
    else
        making->links[chain->last].next = link;
    chain->last = link;
    chain->count++;
}

static struct host *find_host(struct making *making, struct vf_snap_text name)
{
    struct vf_str wanted = text_of(making, name);
    uint32_t slot = (uint32_t)vf_index_host_hash(wanted) & making->host_mask;
    for (; making->host_slots[slot] != 0; slot = (slot + 1) & making->host_mask) {
        struct host *host = &making->hosts[making->host_slots[slot] - 1];
        if (vf_str_eq(text_of(making, host->name), wanted))
            return host;
    }
    struct host *host = &making->hosts[making->n_hosts++];
    *host = (struct host){name, empty_chain, empty_chain, false};
    making->host_slots[slot] = making->n_hosts;
    return host;
}

/* Returns the node for `segment` below `parent`, made when there is none. */
static struct node *find_node(struct making *making, uint32_t parent, struct vf_snap_text segment)
{
    struct vf_str wanted = text_of(making, segment);
    uint32_t slot = (uint32_t)vf_index_node_hash(parent, wanted) & making->node_mask;
    for (; making->node_slots[slot] != 0; slot = (slot + 1) & making->node_mask) {
        struct node *node = &making->nodes[making->node_slots[slot] - 1];
        if (node->parent == parent && vf_str_eq(text_of(making, node->segment), wanted))
            return node;
    }
    struct node *node = &making->nodes[making->n_nodes++];
    *node = (struct node){parent, segment, empty_chain, empty_chain, false};
    making->node_slots[slot] = making->n_nodes;
    return node;
}

static uint32_t node_id(const struct making *making, const struct node *node)
{
    return making->input->n_bindings + (uint32_t)(node - making->nodes);
}

/* Returns the node where `path`, which begins with a slash, ends below the root of `host`. */
static struct node *find_path(struct making *making, const struct host *host,
                              struct vf_snap_text path)
{
    struct vf_str text = text_of(making, path);
    uint32_t parent = (uint32_t)(host - making->hosts);
    struct node *node = NULL;
    for (uint32_t start = 1; start <= text.len;) {
        if (node != NULL)
            node->has_children = true;
        const char *slash = memchr(text.data + start, '/', text.len - start);
        uint32_t end = slash == NULL ? path.len : (uint32_t)(slash - text.data);
        node = find_node(making, parent, (struct vf_snap_text){path.offset + start, end - start});
        parent = node_id(making, node);
        start = end + 1;
    }
    return node;
}

/* A route without authorities of its own leaves it to the listener. */
static bool asks_clients(const struct making *making, const struct vf_snap_route *route)
{
    return route->client_cert < making->input->n_client_certs &&
           making->input->client_certs[route->client_cert].trust != VF_SNAP_NONE;
}

static void add_binding(struct making *making, const struct vf_snap_binding *binding)
{
    const struct vf_snap_route *route = &making->input->routes[binding->route];
    struct host *host = find_host(making, binding->host);
    host->asks_clients |= asks_clients(making, route);
    if (route->path_kind == VF_PATH_REGEX)
        append(making, &host->regexes, binding->route);
    else if (route->path.len == 0)
        append(making, &host->prefix_root, binding->route);
    else if (route->path_kind == VF_PATH_PREFIX)
        append(making, &find_path(making, host, route->path)->prefix, binding->route);
    else
        append(making, &find_path(making, host, route->path)->exact, binding->route);
}

static void add_bindings(struct making *making)
{
    for (uint32_t rank = 0; rank < making->input->n_routes; rank++) {
        struct vf_snap_list list = making->input->routes[making->input->ranked[rank]].bindings;
        for (uint32_t i = 0; i < list.count; i++)
            add_binding(making, &making->input->bindings[list.first + i]);
    }
}

/* --- Laying out ------------------------------------------------------------------------------- */

static struct vf_snap_list write_chain(const struct making *making, const struct chain *chain,
                                       struct vf_tables *out)
{
    struct vf_snap_list list = {out->n_candidates, chain->count};
    for (uint32_t link = chain->first; link != VF_SNAP_NONE; link = making->links[link].next)
        out->candidates[out->n_candidates++] = making->links[link].route;
    return list;
}

static void write_host(const struct making *making, const struct host *host, struct vf_tables *out)
{
    uint32_t mask = out->n_hosts - 1;
    uint32_t slot = (uint32_t)vf_index_host_hash(text_of(making, host->name)) & mask;
    while (out->hosts[slot].used)
        slot = (slot + 1) & mask;
    out->hosts[slot] = (struct vf_snap_host){
        .name = host->name,
        .used = 1,
        .root = (uint32_t)(host - making->hosts),
        .prefix_root = write_chain(making, &host->prefix_root, out),
        .regexes = write_chain(making, &host->regexes, out),
        .asks_clients = host->asks_clients,
    };
}

static void write_node(const struct making *making, const struct node *node, struct vf_tables *out)
{
    uint32_t mask = out->n_nodes - 1;
    uint64_t hash = vf_index_node_hash(node->parent, text_of(making, node->segment));
    uint32_t slot = (uint32_t)hash & mask;
    while (out->nodes[slot].parent != VF_SNAP_NONE)
        slot = (slot + 1) & mask;
    out->nodes[slot] = (struct vf_snap_node){
        .parent = node->parent,
        .id = node->has_children ? node_id(making, node) : VF_SNAP_NONE,
        .segment = node->segment,
        .prefix = write_chain(making, &node->prefix, out),
        .exact = write_chain(making, &node->exact, out),
    };
}

static int write_tables(const struct making *making, struct vf_tables *out)
{
    out->n_hosts = vf_index_entries(making->n_hosts);
    out->n_nodes = vf_index_entries(making->n_nodes);
    out->hosts = calloc(out->n_hosts, sizeof(*out->hosts));
    out->nodes = calloc(out->n_nodes, sizeof(*out->nodes));
    out->candidates = calloc((size_t)making->n_links + 1, sizeof(*out->candidates));
    if (out->hosts == NULL || out->nodes == NULL || out->candidates == NULL) {
        vf_tables_deinit(out);
        return UV_ENOMEM;
    }
    for (uint32_t i = 0; i < out->n_nodes; i++)
        out->nodes[i].parent = VF_SNAP_NONE;
    for (uint32_t i = 0; i < making->n_hosts; i++)
        write_host(making, &making->hosts[i], out);
    for (uint32_t i = 0; i < making->n_nodes; i++)
        write_node(making, &making->nodes[i], out);
    return 0;
}

/* --- Memory ----------------------------------------------------------------------------------- */

/* Returns the number of path segments of all bindings: at least as many as there will be nodes. */
static size_t count_segments(const struct vf_tables_input *input)
{
    size_t count = 0;
    for (uint32_t i = 0; i < input->n_bindings; i++) {
        const struct vf_snap_route *route = &input->routes[input->bindings[i].route];
        for (uint32_t at = 0; route->path_kind != VF_PATH_REGEX && at < route->path.len; at++)
            count += input->base[route->path.offset + at] == '/';
    }
    return count;
}

static int making_init(struct making *making, const struct vf_tables_input *input)
{
    size_t segments = count_segments(input);
    if (segments > UINT32_MAX / 4 || input->n_bindings > UINT32_MAX / 4)
        return UV_ENOMEM;
    *making = (struct making){.input = input};
    making->host_mask = vf_index_entries(input->n_bindings) - 1;
    making->node_mask = vf_index_entries((uint32_t)segments) - 1;
    making->links = malloc(((size_t)input->n_bindings + 1) * sizeof(*making->links));
    making->hosts = malloc(((size_t)input->n_bindings + 1) * sizeof(*making->hosts));
    making->nodes = malloc((segments + 1) * sizeof(*making->nodes));
    making->host_slots = calloc((size_t)making->host_mask + 1, sizeof(*making->host_slots));
    making->node_slots = calloc((size_t)making->node_mask + 1, sizeof(*making->node_slots));
    bool is_complete =
        making->links && making->hosts && making->nodes && making->host_slots && making->node_slots;
    return is_complete ? 0 : UV_ENOMEM;
}

static void making_deinit(struct making *making)
{
    free(making->links);
    free(making->hosts);
    free(making->nodes);
    free(making->host_slots);
    free(making->node_slots);
}

int vf_tables_init(const struct vf_tables_input *input, struct vf_tables *out)
{
    struct making making = {0};
    *out = (struct vf_tables){0};
    int rc = making_init(&making, input);
    if (rc == 0) {
        add_bindings(&making);
        rc = write_tables(&making, out);
    }
    making_deinit(&making);
    return rc;
}

void vf_tables_deinit(struct vf_tables *tables)
{
    free(tables->hosts);
    free(tables->nodes);
    free(tables->candidates);
    *tables = (struct vf_tables){0};
}

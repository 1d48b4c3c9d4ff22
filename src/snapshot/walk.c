#include "snapshot/walk.h"

#include "snapshot/index.h"

static const struct vf_str no_host = {NULL, 0};

/* Returns `host` without its port; the brackets of an IP literal stay. */
static struct vf_str without_port(struct vf_str host)
{
    bool is_literal = host.len > 0 && host.data[0] == '[';
    const char *end = host.len > 0 ? memchr(host.data, is_literal ? ']' : ':', host.len) : NULL;
    if (end != NULL)
        host.len = (size_t)(end - host.data) + is_literal;
    return host;
}

void vf_walk_host(struct vf_str host, struct vf_walk_host *out)
{
    host = without_port(host);
    if (host.len > 1 && host.data[host.len - 1] == '.')
        host.len--;
    if (host.len > VF_WALK_HOST_BYTES)
        host = no_host;
    for (size_t i = 0; i < host.len; i++)
        out->text[i] = vf_lower(host.data[i]);
    out->len = host.len;
}

const struct vf_snap_host *vf_walk_entry(const struct vf_snapshot *snapshot, struct vf_str name)
{
    const struct vf_snap_host *hosts = vf_snap_section(snapshot, VF_SNAP_HOSTS);
    uint32_t mask = vf_snap_count(snapshot, VF_SNAP_HOSTS) - 1;
    uint32_t slot = (uint32_t)vf_index_host_hash(name) & mask;
    for (; hosts[slot].used; slot = (slot + 1) & mask)
        if (vf_str_eq(vf_snap_str(snapshot, hosts[slot].name), name))
            return &hosts[slot];
    return NULL;
}

const struct vf_snap_host *vf_walk_only_any(const struct vf_snapshot *snapshot)
{
    bool is_only = vf_snap_count(snapshot, VF_SNAP_HOSTS) == vf_index_entries(1);
    return is_only ? vf_walk_entry(snapshot, VF_STR("*")) : NULL;
}

/* Turns "a.example.com" into "*.example.com" in place; empty when there is no dot. */
static struct vf_str wildcard_of(struct vf_walk_host *host)
{
    char *dot = host->len > 0 ? memchr(host->text, '.', host->len) : NULL;
    if (dot == NULL || dot == host->text)
        return no_host;
    dot[-1] = '*';
    return vf_str_make(dot - 1, host->len - (size_t)(dot - 1 - host->text));
}

const struct vf_snap_host *vf_walk_find(const struct vf_snapshot *snapshot,
                                        struct vf_walk_host *host, enum vf_host_class class)
{
    struct vf_str name = VF_STR("*");
    if (class == VF_HOST_EXACT)
        name = vf_str_make(host->text, host->len);
    else if (class == VF_HOST_WILDCARD)
        name = wildcard_of(host);
    return name.len > 0 ? vf_walk_entry(snapshot, name) : NULL;
}

bool vf_walk_asks_clients(const struct vf_snapshot *snapshot, struct vf_str host)
{
    struct vf_walk_host wanted;
    if (vf_snap_settings(snapshot)->asks_clients == 0 || host.len == 0)
        return vf_snap_settings(snapshot)->asks_clients != 0;
    vf_walk_host(host, &wanted);
    for (int class = VF_HOST_EXACT; class < VF_HOST_CLASSES; class ++) {
        const struct vf_snap_host *entry = vf_walk_find(snapshot, &wanted, class);
        if (entry != NULL && entry->asks_clients != 0)
            return true;
    }
    return false;
}

void vf_walk_start(struct vf_walk *walk, const struct vf_snapshot *snapshot,
                   const struct vf_snap_host *host, struct vf_str path)
{
    bool is_rooted = path.len > 0 && path.data[0] == '/';
    *walk = (struct vf_walk){snapshot, path, host->root, 0, !is_rooted};
}

static const struct vf_snap_node *find_node(const struct vf_snapshot *snapshot, uint32_t parent,
                                            struct vf_str segment)
{
    const struct vf_snap_node *nodes = vf_snap_section(snapshot, VF_SNAP_NODES);
    uint32_t mask = vf_snap_count(snapshot, VF_SNAP_NODES) - 1;
    uint32_t slot = (uint32_t)vf_index_node_hash(parent, segment) & mask;
    for (; nodes[slot].parent != VF_SNAP_NONE; slot = (slot + 1) & mask)
        if (nodes[slot].parent == parent &&
            vf_str_eq(vf_snap_str(snapshot, nodes[slot].segment), segment))
            return &nodes[slot];
    return NULL;
}

const struct vf_snap_node *vf_walk_next(struct vf_walk *walk)
{
    if (walk->is_last || walk->parent == VF_SNAP_NONE)
        return NULL;
    const char *start = walk->path.data + walk->end + 1, *limit = walk->path.data + walk->path.len;
    const char *slash = memchr(start, '/', (size_t)(limit - start));
    struct vf_str segment = {start, (size_t)((slash != NULL ? slash : limit) - start)};
    const struct vf_snap_node *node = find_node(walk->snapshot, walk->parent, segment);
    walk->is_last = slash == NULL;
    walk->end += 1 + segment.len;
    if (node != NULL)
        walk->parent = node->id;
    return node;
}

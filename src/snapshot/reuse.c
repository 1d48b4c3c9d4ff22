#include "snapshot/reuse.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "snapshot/snapshot.h"

static bool same_place(struct vf_snap_text a, struct vf_snap_text b)
{
    return a.len == b.len && (a.len == 0 || a.offset == b.offset);
}

static bool same_routes(const struct vf_tables_input *input, const struct vf_snapshot *old)
{
    for (uint32_t i = 0; i < input->n_routes; i++) {
        const struct vf_snap_route *route = &input->routes[i], *before = vf_snap_route(old, i);
        if (route->path_kind != before->path_kind || !same_place(route->path, before->path) ||
            route->bindings.first != before->bindings.first ||
            route->bindings.count != before->bindings.count)
            return false;
    }
    return true;
}

static bool same_bindings(const struct vf_tables_input *input, const struct vf_snapshot *old)
{
    for (uint32_t i = 0; i < input->n_bindings; i++)
        if (!same_place(input->bindings[i].host, vf_snap_binding(old, i)->host))
            return false;
    return true;
}

static bool is_in_order(const struct vf_tables_input *input, const struct vf_snapshot *old,
                        struct vf_snap_list list)
{
    const uint32_t *candidates = vf_snap_section(old, VF_SNAP_CANDIDATES);
    for (uint32_t i = 1; i < list.count; i++)
        if (input->routes[candidates[list.first + i - 1]].rank >
            input->routes[candidates[list.first + i]].rank)
            return false;
    return true;
}

static bool are_in_order(const struct vf_tables_input *input, const struct vf_snapshot *old)
{
    const struct vf_snap_host *hosts = vf_snap_section(old, VF_SNAP_HOSTS);
    const struct vf_snap_node *nodes = vf_snap_section(old, VF_SNAP_NODES);
    for (uint32_t i = 0; i < vf_snap_count(old, VF_SNAP_HOSTS); i++)
        if (!is_in_order(input, old, hosts[i].prefix_root) ||
            !is_in_order(input, old, hosts[i].regexes))
            return false;
    for (uint32_t i = 0; i < vf_snap_count(old, VF_SNAP_NODES); i++)
        if (!is_in_order(input, old, nodes[i].prefix) || !is_in_order(input, old, nodes[i].exact))
            return false;
    return true;
}

/* What hosts ask of clients is part of their entries; without such routes there is nothing to
 * compare. */
bool vf_reuse_fits(const struct vf_tables_input *input, const struct vf_snapshot *old)
{
    return input->n_routes == vf_snap_count(old, VF_SNAP_ROUTES) &&
           input->n_bindings == vf_snap_count(old, VF_SNAP_BINDINGS) &&
           input->n_client_certs == 0 && vf_snap_count(old, VF_SNAP_CLIENT_CERTS) == 0 &&
           same_routes(input, old) && same_bindings(input, old) && are_in_order(input, old);
}

/* Returns a copy of the records of a section; NULL without memory. */
static void *copy_of(const struct vf_snapshot *old, uint32_t section, uint32_t *count)
{
    *count = vf_snap_count(old, section);
    size_t bytes = (size_t)*count * vf_snap_record_bytes(section);
    void *copy = malloc(bytes + 1);
    if (copy != NULL)
        memcpy(copy, vf_snap_section(old, section), bytes);
    return copy;
}

int vf_reuse_tables(const struct vf_snapshot *old, struct vf_tables *out)
{
    out->hosts = copy_of(old, VF_SNAP_HOSTS, &out->n_hosts);
    out->nodes = copy_of(old, VF_SNAP_NODES, &out->n_nodes);
    out->candidates = copy_of(old, VF_SNAP_CANDIDATES, &out->n_candidates);
    if (out->hosts != NULL && out->nodes != NULL && out->candidates != NULL)
        return 0;
    vf_tables_deinit(out);
    return UV_ENOMEM;
}

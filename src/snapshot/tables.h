/* snapshot/tables.h - makes the lookup tables of a snapshot from its ranked routes and bindings:
 * which hosts there are, which path segments below each, and the routes that end there. */
#ifndef VF_SNAPSHOT_TABLES_H
#define VF_SNAPSHOT_TABLES_H

#include <stdint.h>

#include "snapshot/layout.h"

/* What the tables are made from; all indexes and texts in it have been checked. */
struct vf_tables_input {
    const char *base; /* where text offsets begin */
    const struct vf_snap_route *routes;
    uint32_t n_routes;
    const uint32_t *ranked;                 /* route indexes, best first */
    const struct vf_snap_binding *bindings; /* by route */
    uint32_t n_bindings;
    const struct vf_snap_client_cert *client_certs; /* a route may name one beyond them */
    uint32_t n_client_certs;
};

/* The sections VF_SNAP_HOSTS, VF_SNAP_NODES and VF_SNAP_CANDIDATES. */
struct vf_tables {
    struct vf_snap_host *hosts;
    uint32_t n_hosts; /* entries, empty ones too */
    struct vf_snap_node *nodes;
    uint32_t n_nodes;
    uint32_t *candidates;
    uint32_t n_candidates;
};

/* Fills *out, whose memory the caller frees with vf_tables_deinit. Returns 0 or UV_ENOMEM, and then
 * *out is empty. */
int vf_tables_init(const struct vf_tables_input *input, struct vf_tables *out);
void vf_tables_deinit(struct vf_tables *tables);

#endif

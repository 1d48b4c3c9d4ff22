#include "proxy/labels.h"

#include "proxy/exchange.h"
#include "snapshot/snapshot.h"

void vf_labels(const struct vf_exchange *ex, struct vf_labels *out)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->labels != NULL) {
        *out = *ex->labels;
        return;
    }
    *out = (struct vf_labels){.listener = vf_snap_str(snapshot, ex->listener->name)};
    if (ex->route != NULL) {
        out->route = vf_snap_str(snapshot, ex->route->name);
        out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, ex->route->tenant)->name);
        if (ex->route->action == VF_ACTION_POOL)
            out->route_pool = vf_snap_str(snapshot, vf_snap_pool(snapshot, ex->route->pool)->name);
    }
    if (ex->is_raw)
        out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, ex->pool->tenant)->name);
    if (ex->pool != NULL)
        out->pool = vf_snap_str(snapshot, ex->pool->name);
    if (ex->backend != NULL)
        out->backend =
            ex->has_target ? ex->target_text : vf_snap_str(snapshot, ex->backend->address_text);
}

static bool copy_text(struct vf_exchange *ex, struct vf_str *text)
{
    text->data = vf_arena_strndup(&ex->arena, text->data != NULL ? text->data : "", text->len);
    return text->data != NULL;
}

/* Copies *record unless it is NULL. Returns false when out of memory. */
static bool copy_record(struct vf_exchange *ex, const void *record, size_t bytes, const void **out)
{
    void *copy = record != NULL ? vf_arena_alloc(&ex->arena, bytes) : NULL;
    if (copy != NULL)
        memcpy(copy, record, bytes);
    *out = copy;
    return copy != NULL || record == NULL;
}

void vf_labels_unpin(struct vf_exchange *ex)
{
    struct vf_labels *labels = vf_arena_alloc(&ex->arena, sizeof(*labels));
    if (labels == NULL)
        return;
    vf_labels(ex, labels);
    const void *listener, *route, *pool, *backend, *policy;
    if (!copy_text(ex, &labels->listener) || !copy_text(ex, &labels->route) ||
        !copy_text(ex, &labels->tenant) || !copy_text(ex, &labels->pool) ||
        !copy_text(ex, &labels->backend) || !copy_text(ex, &labels->route_pool) ||
        !copy_record(ex, ex->listener, sizeof(*ex->listener), &listener) ||
        !copy_record(ex, ex->route, sizeof(*ex->route), &route) ||
        !copy_record(ex, ex->pool, sizeof(*ex->pool), &pool) ||
        !copy_record(ex, ex->backend, sizeof(*ex->backend), &backend) ||
        !copy_record(ex, ex->policy, sizeof(*ex->policy), &policy))
        return;
    ex->listener = listener;
    ex->route = route;
    ex->pool = pool;
    ex->backend = backend;
    ex->policy = policy;
    ex->labels = labels;
    vf_snapshot_release(&ex->snapshot);
}

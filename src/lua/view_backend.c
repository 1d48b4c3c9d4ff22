/* lua/view_backend.c - what plugins change of what the backend gets, and which backend that is. */
#include "lua/view_parts.h"

#include "http/method.h"
#include "proxy/dispatch.h"
#include "proxy/exchange.h"
#include "proxy/phases.h"
#include "snapshot/snapshot.h"

/* A path or query that can stand in a request line as it is. */
static bool is_target_part(const char *data, size_t len, bool is_path)
{
    if (is_path && (len == 0 || data[0] != '/'))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c <= ' ' || c == 0x7f || c == '#' || (is_path && c == '?'))
            return false;
    }
    return true;
}

static int replace(struct vf_exchange *ex, struct vf_str *what, const char *data, size_t len)
{
    if (ex->upstream != NULL || ex->forward_target.data != NULL)
        return VF_VIEW_TOO_LATE;
    struct vf_str kept = vf_view_keep(ex, data, len);
    if (kept.data == NULL)
        return VF_VIEW_NO_MEMORY;
    *what = kept;
    return VF_VIEW_OK;
}

int vf_view_set_path(struct vf_exchange *ex, const char *data, size_t len)
{
    return is_target_part(data, len, true) ? replace(ex, &ex->new_path, data, len)
                                           : VF_VIEW_BAD_VALUE;
}

int vf_view_set_query(struct vf_exchange *ex, const char *data, size_t len)
{
    return is_target_part(data, len, false) ? replace(ex, &ex->new_query, data, len)
                                            : VF_VIEW_BAD_VALUE;
}

int vf_view_set_method(struct vf_exchange *ex, const char *data, size_t len)
{
    int method = vf_method_from_name(data, len);
    bool is_head = method == VF_METHOD_HEAD, was_head = ex->request.method == VF_METHOD_HEAD;
    if (method < 0 || method == VF_METHOD_CONNECT || is_head != was_head)
        return VF_VIEW_BAD_VALUE; /* after HEAD no content comes, and no client expects any */
    int rc = replace(ex, &ex->new_method, data, len);
    if (rc == VF_VIEW_OK)
        ex->sent_method = (uint32_t)method;
    return rc;
}

int vf_view_set_request_body(struct vf_exchange *ex, const char *data, size_t len)
{
    int rc = replace(ex, &ex->request_body, data, len);
    ex->has_new_body |= rc == VF_VIEW_OK;
    return rc;
}

int vf_view_set_pool(struct vf_exchange *ex, const char *name, size_t len)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->upstream != NULL || snapshot == NULL)
        return VF_VIEW_TOO_LATE;
    const struct vf_snap_tenant *tenant = vf_snap_tenant(snapshot, ex->route->tenant);
    uint32_t index = vf_snapshot_find_pool(snapshot, vf_snap_str(snapshot, tenant->name),
                                           vf_str_make(name, len), VF_SNAP_NONE);
    if (index == VF_SNAP_NONE)
        return VF_VIEW_UNKNOWN;
    ex->pool_index = index;
    ex->pool = vf_snap_pool(snapshot, index);
    ex->n_tried = 0;
    return VF_VIEW_OK;
}

int vf_view_set_timeouts(struct vf_exchange *ex, uint64_t connect_ms, uint64_t send_ms,
                         uint64_t response_ms)
{
    struct vf_snap_policy *policy = vf_arena_alloc(&ex->arena, sizeof(*policy));
    if (policy == NULL)
        return VF_VIEW_NO_MEMORY;
    *policy = *ex->policy;
    if (connect_ms != 0)
        policy->value[VF_POLICY_CONNECT_MS] = connect_ms;
    if (send_ms != 0)
        policy->value[VF_POLICY_CLIENT_BODY_MS] = send_ms;
    if (response_ms != 0)
        policy->value[VF_POLICY_RESPONSE_MS] = policy->value[VF_POLICY_RESPONSE_BODY_MS] =
            response_ms;
    ex->policy = policy;
    return VF_VIEW_OK;
}

int vf_view_set_target(struct vf_exchange *ex, const char *host, size_t len, uint32_t port)
{
    if (ex->upstream != NULL)
        return VF_VIEW_TOO_LATE;
    if (port == 0 || port > UINT16_MAX || len == 0 || len > 253)
        return VF_VIEW_BAD_VALUE;
    return vf_dispatch_set_target(ex, vf_str_make(host, len), (uint16_t)port) == 0
               ? VF_VIEW_OK
               : VF_VIEW_NO_MEMORY;
}

void vf_view_want_balancer(struct vf_exchange *ex)
{
    ex->phases |= 1u << VF_PHASE_BALANCER;
}

void vf_view_set_tries(struct vf_exchange *ex, uint32_t tries)
{
    ex->max_tries = tries < 1 ? 1 : tries > VF_TRIES ? VF_TRIES : tries;
}

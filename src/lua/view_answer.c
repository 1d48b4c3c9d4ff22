/* lua/view_answer.c - answers as plugins see and change them, and those that plugins give. */
#include "lua/view_parts.h"

#include "lua/plugin_run.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "proxy/labels.h"

void vf_view_want_answer(struct vf_exchange *ex)
{
    ex->buffers_answer = true;
    ex->collect_answer_max = ex->plugins->body_limit;
}

int vf_view_answer_body(struct vf_exchange *ex, struct vf_str *out)
{
    if (!ex->is_whole)
        return 0;
    *out = ex->local_body;
    return 1;
}

int vf_view_set_answer_body(struct vf_exchange *ex, const char *data, size_t len)
{
    if (ex->head_sent)
        return VF_VIEW_TOO_LATE;
    if (!ex->is_whole)
        return VF_VIEW_UNKNOWN;
    struct vf_str kept = vf_view_keep(ex, data, len);
    if (kept.data == NULL)
        return VF_VIEW_NO_MEMORY;
    ex->local_body = kept;
    ex->response.framing = len > 0 ? VF_FRAMING_LENGTH : VF_FRAMING_NONE;
    ex->response.content_length = len;
    return VF_VIEW_OK;
}

void vf_view_response(struct vf_exchange *ex, struct vf_response_view *out)
{
    struct vf_labels labels;
    vf_labels(ex, &labels);
    *out = (struct vf_response_view){
        .size = sizeof(*out),
        .status = ex->response.status,
        .upstream_status = ex->upstream_status,
        .is_local = ex->is_local,
        .is_plugins = ex->plugins != NULL && ex->plugins->answered,
        .head_sent = ex->head_sent,
        .bytes_in = ex->bytes_in,
        .bytes_out = ex->bytes_out,
        .start_ns = ex->start_ns,
        .connect_ns = ex->connect_ns,
        .connected_ns = ex->connected_ns,
        .sent_ns = ex->sent_ns,
        .first_byte_ns = ex->first_byte_ns,
        .now_ns = vf_proxy_now_ns(ex->proxy),
        .reason = ex->reason != NULL ? vf_str_from(ex->reason) : vf_str_make("", 0),
        .listener = labels.listener,
        .route = labels.route,
        .route_tenant = labels.tenant,
        .pool = labels.pool,
        .backend = labels.backend,
        .tries = ex->n_tried + ex->retried,
    };
}

int vf_view_try(struct vf_exchange *ex, uint32_t nth, struct vf_str *out)
{
    if (nth >= ex->n_tried)
        return 0;
    if (ex->tried[nth] == VF_SNAP_NONE ||
        ex->snapshot == NULL) { /* a plugin's; or a tunnel stands */
        struct vf_labels labels;
        vf_labels(ex, &labels);
        *out = labels.backend;
        return 1;
    }
    const struct vf_snap_backend *backend = vf_snap_backend(ex->snapshot, ex->tried[nth]);
    *out = vf_snap_str(ex->snapshot, backend->address_text);
    return 1;
}

int vf_view_set_status(struct vf_exchange *ex, uint32_t status)
{
    if (ex->head_sent)
        return VF_VIEW_TOO_LATE;
    if (status < 200 || status > 599 || ex->response.status == 101)
        return VF_VIEW_BAD_VALUE;
    bool had_content = ex->response.framing != VF_FRAMING_NONE;
    if (had_content && (status == 204 || status == 304))
        return VF_VIEW_BAD_VALUE; /* its content could not leave */
    ex->response.status = status;
    ex->response.reason = vf_status_reason(status);
    return VF_VIEW_OK;
}

void vf_view_chunk(struct vf_exchange *ex, struct vf_str *out, uint32_t *is_last)
{
    *out = ex->chunk;
    *is_last = ex->chunk_is_last;
}

void vf_view_set_chunk(struct vf_exchange *ex, const char *data, size_t len)
{
    ex->chunk = vf_str_make(data, len);
}

/* A plugin's own answer */

int vf_view_answer(struct vf_exchange *ex, uint32_t status, const char *body, size_t len)
{
    struct vf_plugin_run *run = ex->plugins;
    if (status < 200 || status > 599)
        return VF_VIEW_BAD_VALUE;
    run->body = vf_view_keep(ex, body, len);
    if (run->body.data == NULL)
        return VF_VIEW_NO_MEMORY;
    run->has_answer = true;
    run->status = status;
    run->fields = (struct vf_fields){0};
    return VF_VIEW_OK;
}

int vf_view_answer_field(struct vf_exchange *ex, const char *name, size_t name_len,
                         const char *value, size_t value_len)
{
    return vf_view_edit(ex, &ex->plugins->fields, VF_VIEW_ADD, vf_str_make(name, name_len),
                        vf_str_make(value, value_len));
}

void vf_view_forget_answer(struct vf_exchange *ex)
{
    ex->plugins->has_answer = false;
}

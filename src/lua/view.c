#include "lua/view.h"

#include <string.h>

#include "base/clock.h"
#include "http/method.h"
#include "http/target.h"
#include "lua/host.h"
#include "lua/plugin_run.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/labels.h"
#include "proxy/phases.h"
#include "snapshot/router.h"

/* The request */

static struct vf_str peer_ip(const struct vf_exchange *ex)
{
    return ex->client != NULL ? vf_downstream_peer_text(ex->client) : ex->client_ip;
}

static struct vf_str tenant(const struct vf_exchange *ex)
{
    if (ex->labels != NULL)
        return ex->labels->tenant;
    if (ex->route == NULL)
        return vf_str_make("", 0);
    return vf_snap_str(ex->snapshot, vf_snap_tenant(ex->snapshot, ex->route->tenant)->name);
}

static struct vf_str text_of(const struct vf_exchange *ex, enum vf_view_text what)
{
    switch (what) {
    case VF_VIEW_METHOD:
        return ex->request.method_name;
    case VF_VIEW_PATH:
        return ex->path.text;
    case VF_VIEW_RAW_PATH:
        return ex->target.path;
    case VF_VIEW_QUERY:
        return ex->target.has_query ? ex->target.query : vf_str_make(NULL, 0);
    case VF_VIEW_HOST:
        return ex->host;
    case VF_VIEW_REQUEST_ID:
        return ex->request_id;
    case VF_VIEW_CLIENT_IP:
        return ex->client_ip;
    case VF_VIEW_PEER_IP:
        return peer_ip(ex);
    case VF_VIEW_TENANT:
        return tenant(ex);
    }
    return vf_str_make(NULL, 0);
}

void vf_view_text(struct vf_exchange *ex, int what, struct vf_str *out)
{
    *out = text_of(ex, (enum vf_view_text)what);
}

void vf_view_request(struct vf_exchange *ex, struct vf_request_view *out)
{
    const struct vf_downstream *client = ex->client;
    *out = (struct vf_request_view){
        .size = sizeof(*out),
        .version_minor = ex->request.version_minor,
        .method = ex->request.method_name,
        .target = ex->request.target,
        .path = ex->path.text,
        .raw_path = ex->target.path,
        .query = ex->target.has_query ? ex->target.query : vf_str_make(NULL, 0),
        .host = ex->host,
        .request_id = ex->request_id,
        .client_ip = ex->client_ip,
        .peer_ip = peer_ip(ex),
        .peer_port = client != NULL ? client->peer.port : 0,
        .listener_port = ex->listener->address.port,
        .is_trusted = ex->trusted,
        .start_wall_ms = vf_clock_wall_ms() - (vf_proxy_now_ns(ex->proxy) - ex->start_ns) / 1000000,
        .content_length =
            ex->request.framing == VF_FRAMING_LENGTH ? ex->request.content_length : UINT64_MAX,
    };
}

static struct vf_fields *fields_of(struct vf_exchange *ex, int side)
{
    if (side == VF_VIEW_REQUEST)
        return &ex->request.fields;
    if (side == VF_VIEW_RESPONSE && ex->response.status == 0)
        return &ex->early_fields; /* for whatever answer comes */
    return &ex->response.fields;
}

/* Of the backend's answer the fields count that came, whatever became of them; of what leaves
 * those that are not dropped. */
static bool is_shown(const struct vf_exchange *ex, int side, uint32_t index,
                     const struct vf_field *field)
{
    if (side == VF_VIEW_UPSTREAM)
        return index < ex->n_upstream_fields;
    return !field->dropped;
}

static char fold(char c)
{
    return c == '_' ? '-' : vf_lower(c);
}

static bool is_called(struct vf_str name, const char *wanted, size_t len)
{
    if (name.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name.data[i] != wanted[i] && fold(name.data[i]) != fold(wanted[i]))
            return false;
    return true;
}

int vf_view_field(struct vf_exchange *ex, int side, const char *name, size_t len, uint32_t nth,
                  struct vf_str *value)
{
    const struct vf_fields *fields = fields_of(ex, side);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct vf_field *field = &fields->list[i];
        if (!is_shown(ex, side, i, field) || !is_called(field->name, name, len) || nth-- > 0)
            continue;
        *value = field->value;
        return 1;
    }
    return 0;
}

uint32_t vf_view_field_at(struct vf_exchange *ex, int side, uint32_t index, struct vf_str *name,
                          struct vf_str *value)
{
    const struct vf_fields *fields = fields_of(ex, side);
    for (; index < fields->count; index++) {
        const struct vf_field *field = &fields->list[index];
        if (!is_shown(ex, side, index, field))
            continue;
        *name = field->name;
        *value = field->value;
        return index + 1;
    }
    return 0;
}

static struct vf_str keep(struct vf_exchange *ex, const char *data, size_t len)
{
    return vf_str_make(vf_arena_strndup(&ex->arena, data, len), len);
}

static bool is_ours(enum vf_field_id id)
{
    switch (id) {
    case VF_FIELD_CONNECTION:
    case VF_FIELD_CONTENT_LENGTH:
    case VF_FIELD_HTTP2_SETTINGS:
    case VF_FIELD_KEEP_ALIVE:
    case VF_FIELD_PROXY_CONNECTION:
    case VF_FIELD_TE:
    case VF_FIELD_TRANSFER_ENCODING:
    case VF_FIELD_UPGRADE:
        return true;
    default:
        return false;
    }
}

static int edit(struct vf_exchange *ex, struct vf_fields *fields, int how, struct vf_str name,
                struct vf_str value)
{
    if (!vf_is_token(name))
        return VF_VIEW_BAD_NAME;
    if (!vf_is_field_value(value))
        return VF_VIEW_BAD_VALUE;
    if (is_ours(vf_field_id(name)))
        return VF_VIEW_OURS;
    if (how != VF_VIEW_ADD)
        for (uint32_t i = 0; i < fields->count; i++)
            if (is_called(fields->list[i].name, name.data, name.len))
                fields->list[i].dropped = true;
    if (how == VF_VIEW_CLEAR)
        return VF_VIEW_OK;
    name = keep(ex, name.data, name.len);
    value = keep(ex, value.data, value.len);
    if (name.data == NULL || value.data == NULL)
        return VF_VIEW_NO_MEMORY;
    return vf_fields_add(fields, &ex->arena, name, value) == 0 ? VF_VIEW_OK : VF_VIEW_NO_MEMORY;
}

int vf_view_edit_field(struct vf_exchange *ex, int side, int how, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
    struct vf_str field = vf_str_make(name, name_len), text = vf_str_make(value, value_len);
    if (side == VF_VIEW_REQUEST ? ex->upstream != NULL : ex->head_sent)
        return VF_VIEW_TOO_LATE;
    if (side != VF_VIEW_REQUEST || vf_field_id(field) != VF_FIELD_HOST)
        return edit(ex, fields_of(ex, side), how, field, text);
    if (how == VF_VIEW_CLEAR || !vf_host_is_valid(text))
        return VF_VIEW_BAD_VALUE;
    ex->forward_host = keep(ex, value, value_len);
    return ex->forward_host.data != NULL ? VF_VIEW_OK : VF_VIEW_NO_MEMORY;
}

int vf_view_capture(struct vf_exchange *ex, uint32_t nth, struct vf_str *out)
{
    const struct vf_route_match *match = ex->match;
    if (match == NULL || nth == 0 || nth >= match->n_captures ||
        match->captures[nth].start == UINT32_MAX)
        return 0;
    *out = vf_str_make(ex->path.text.data + match->captures[nth].start,
                       match->captures[nth].end - match->captures[nth].start);
    return 1;
}

/* What the backend gets */

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
    struct vf_str kept = keep(ex, data, len);
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
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), tenant = ex->route->tenant;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_pool *pool = vf_snap_pool(snapshot, i);
        if (pool->tenant != tenant ||
            !vf_str_eq(vf_snap_str(snapshot, pool->name), vf_str_make(name, len)))
            continue;
        ex->pool_index = i;
        ex->pool = pool;
        ex->n_tried = 0;
        return VF_VIEW_OK;
    }
    return VF_VIEW_UNKNOWN;
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

/* Request content */

int vf_view_collect_body(struct vf_exchange *ex)
{
    return vf_phases_collect(ex, ex->plugins->body_limit);
}

int vf_view_request_body(struct vf_exchange *ex, struct vf_str *out)
{
    if (ex->collect_failed && !ex->has_new_body)
        return 0;
    *out = ex->request_body.data != NULL ? ex->request_body : vf_str_make("", 0);
    return 1;
}

/* The answer */

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
    struct vf_str kept = keep(ex, data, len);
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
    run->body = keep(ex, body, len);
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
    return edit(ex, &ex->plugins->fields, VF_VIEW_ADD, vf_str_make(name, name_len),
                vf_str_make(value, value_len));
}

void vf_view_switch_chain(struct vf_exchange *ex, uint32_t phases)
{
    ex->plugins->switched = true;
    ex->phases = phases;
}

int vf_view_set_reason(struct vf_exchange *ex, const char *code, size_t len)
{
    const char *kept = vf_arena_strndup(&ex->arena, code, len);
    if (kept == NULL)
        return VF_VIEW_NO_MEMORY;
    ex->reason = kept;
    return VF_VIEW_OK;
}

void vf_view_set_consumer(struct vf_exchange *ex, const char *name, size_t len)
{
    struct vf_str kept = keep(ex, name, len);
    if (kept.data != NULL)
        ex->consumer = kept;
}

uint64_t vf_view_body_limit(const struct vf_exchange *ex)
{
    return ex->plugins->body_limit;
}

int vf_view_is_trusted(const struct vf_exchange *ex, const char *ip, size_t len)
{
    uint8_t bytes[16];
    int family = vf_ip_parse(ip, len, bytes);
    return family != VF_FAMILY_NONE &&
           vf_snapshot_is_trusted(ex->proxy->snapshot, (uint32_t)family, bytes);
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

int vf_view_route(struct vf_exchange *ex, struct vf_route_view *out)
{
    const struct vf_snap_route *route = ex->route;
    struct vf_labels labels;
    if (route == NULL)
        return 0;
    vf_labels(ex, &labels);
    *out = (struct vf_route_view){
        .size = sizeof(*out),
        .path_kind = route->path_kind,
        .name = labels.route,
        .tenant = labels.tenant,
        .path = ex->snapshot != NULL ? vf_snap_str(ex->snapshot, route->path) : vf_str_make("", 0),
        .pool = labels.pool,
        .id = route->id,
        .pool_id = ex->pool != NULL ? ex->pool->id : 0,
        .strip_prefix = route->strip_prefix,
        .action = route->action,
        .methods = route->methods,
        .version = ex->snapshot != NULL ? ex->snapshot->version : 0,
    };
    return 1;
}

int vf_view_route_host(struct vf_exchange *ex, uint32_t nth, struct vf_str *out)
{
    const struct vf_snapshot *snapshot = ex->snapshot;
    if (ex->route == NULL || snapshot == NULL || nth >= ex->route->bindings.count)
        return 0;
    uint32_t index = ex->route->bindings.first + nth;
    *out = vf_snap_str(snapshot, vf_snap_binding(snapshot, index)->host);
    return 1;
}

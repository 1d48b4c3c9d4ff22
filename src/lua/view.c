#include "lua/view.h"

#include "base/clock.h"
#include "lua/host.h"
#include "lua/plugin_run.h"
#include "lua/view_parts.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/labels.h"
#include "proxy/phases.h"
#include "snapshot/router.h"

struct vf_str vf_view_keep(struct vf_exchange *ex, const char *data, size_t len)
{
    return vf_str_make(vf_arena_strndup(&ex->arena, data, len), len);
}

/* The request */

static struct vf_str peer_ip(const struct vf_exchange *ex)
{
    return ex->client != NULL ? vf_downstream_peer_text(ex->client->conn) : ex->client_ip;
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
    case VF_VIEW_UPSTREAM_URI:
        return ex->forward_target;
    }
    return vf_str_make(NULL, 0);
}

void vf_view_text(struct vf_exchange *ex, int what, struct vf_str *out)
{
    *out = text_of(ex, (enum vf_view_text)what);
}

void vf_view_request(struct vf_exchange *ex, struct vf_request_view *out)
{
    const struct vf_client *client = ex->client;
    *out = (struct vf_request_view){
        .size = sizeof(*out),
        .http_version = vf_head_version(&ex->request),
        .method = ex->request.method_name,
        .target = ex->request.target,
        .path = ex->path.text,
        .raw_path = ex->target.path,
        .query = ex->target.has_query ? ex->target.query : vf_str_make(NULL, 0),
        .host = ex->host,
        .request_id = ex->request_id,
        .client_ip = ex->client_ip,
        .peer_ip = peer_ip(ex),
        .peer_port = client != NULL ? client->conn->peer.port : 0,
        .client_port = ex->client_address.port,
        .listener_port = ex->listener->address.port,
        .is_trusted = ex->trusted,
        .is_tls = ex->is_secure,
        .start_wall_ms = vf_clock_wall_ms() - (vf_proxy_now_ns(ex->proxy) - ex->start_ns) / 1000000,
        .content_length =
            ex->request.framing == VF_FRAMING_LENGTH ? ex->request.content_length : UINT64_MAX,
    };
}

int vf_view_capture(struct vf_exchange *ex, uint32_t nth, struct vf_str *out)
{
    const struct vf_route_match *match = ex->match;
    if (match == NULL || nth >= match->n_captures || match->captures[nth].start == UINT32_MAX)
        return 0;
    *out = vf_str_make(ex->path.text.data + match->captures[nth].start,
                       match->captures[nth].end - match->captures[nth].start);
    return 1;
}

/* Request content */

int vf_view_collect_body(struct vf_exchange *ex)
{
    return vf_phases_collect(ex, ex->plugins->body_limit);
}

void vf_view_leave_body(struct vf_exchange *ex)
{
    ex->collects = false;
}

int vf_view_request_body(struct vf_exchange *ex, struct vf_str *out)
{
    if (ex->collect_failed && !ex->has_new_body)
        return 0;
    *out = ex->request_body.data != NULL ? ex->request_body : vf_str_make("", 0);
    return 1;
}

/* The exchange as a whole */

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
    struct vf_str kept = vf_view_keep(ex, name, len);
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

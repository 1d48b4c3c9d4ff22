/* proxy/h2/link_start.c - a connection to a backend stands: it speaks HTTP/2, and its calls begin,
 * or HTTP/1.1 after all. */
#include <stdlib.h>
#include <uv.h>

#include "proxy/account.h"
#include "proxy/h2/link_parts.h"
#include "tls/transport.h"

static int open_wire(struct vf_h2_link *link)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, VF_H2_STREAM_WINDOW},
    };
    return vf_h2_wire_open(&link->wire, settings, sizeof(settings) / sizeof(settings[0]), link);
}

static void log_other_protocol(struct vf_h2_link *link, const char *alpn)
{
    const struct vf_exchange *ex = vf_h2_link_exchange(link);
    if (ex == NULL)
        return;
    struct vf_str address =
        ex->has_target ? ex->target_text : vf_snap_str(ex->snapshot, ex->backend->address_text);
    vf_log_warn(&link->proxy->log, "backend.no_h2", "backend=%.*s alpn=%s", (int)address.len,
                address.data, alpn);
}

/* The exchange's request goes out on a connection of HTTP/1.1. */
static void ask_h1(struct vf_exchange *ex, struct vf_h2_call *call)
{
    vf_upstream_send_head(ex);
    if (ex->upstream != NULL && vf_h2_flow_has_kept(&call->flow))
        vf_upstream_send_data(ex, vf_h2_flow_kept(&call->flow));
    if (ex->upstream != NULL && call->flow.has_ended)
        vf_upstream_send_end(ex, &ex->request.trailers);
}

/* The backend does not speak HTTP/2 after all: the first exchange gets the connection, the others
 * ones of their own. */
static void fall_back(struct vf_h2_link *link)
{
    struct vf_upstream_conn *up = link->up;
    struct vf_exchange *first = NULL;
    up->peer->speaks_h1 = true;
    vf_h2_links_remove(link);
    up->h2 = NULL;
    up->stream.events = &vf_upstream_events;
    up->timer.on_fire = vf_upstream_on_timer;
    while (link->wire.flows != NULL) {
        struct vf_h2_call *call = vf_h2_call_of(link->wire.flows);
        struct vf_exchange *ex = vf_h2_call_detach(call);
        if (first == NULL) {
            first = up->ex = ex;
            ex->upstream = &up->upstream;
        } else if (vf_upstream_open(ex, true) < 0) {
            vf_exchange_on_upstream_failed(ex, VF_UPSTREAM_CONNECT, NULL);
            continue;
        }
        ask_h1(ex, call);
    }
    vf_h2_links_remove(link); /* it has become pending */
    free(link);
    if (first == NULL)
        vf_upstream_close(up);
    else if (up->ex == first)
        vf_upstream_events.on_connected(&up->stream);
}

static void begin_calls(struct vf_h2_link *link)
{
    uint64_t now_ns = vf_proxy_now_ns(link->proxy);
    struct vf_h2_call *call;
    do { /* what a start, or an exchange that goes on, does may end others */
        call = vf_h2_call_of(link->wire.flows);
        while (call != NULL && (call->flow.id != 0 || call->n_fields == 0))
            call = vf_h2_call_of(call->flow.next);
        if (call == NULL)
            return;
        struct vf_exchange *ex = call->ex;
        ex->connected_ns = now_ns;
        vf_h2_call_start(call);
        if (call->ex == ex)
            vf_exchange_on_connected(ex);
    } while (!link->up->is_dead);
}

/* What TLS has agreed on; nothing, when that is HTTP/2 or there is no TLS. */
static bool speaks_other(const struct vf_h2_link *link, struct vf_tls_info *info)
{
    if (vf_stream_is_plain(link->wire.stream))
        return false;
    vf_tls_info(link->wire.stream, info);
    return strcmp(info->alpn, "h2") != 0;
}

int vf_h2_link_start(struct vf_h2_link *link)
{
    struct vf_tls_info info;
    bool is_other = speaks_other(link, &info);
    if (is_other && link->may_fall_back) {
        fall_back(link);
        return 0;
    }
    if (is_other) {
        log_other_protocol(link, info.alpn);
        return UV_EPROTONOSUPPORT;
    }
    if (open_wire(link) < 0)
        return UV_ENOMEM;
    vf_upstream_set_timer(link->up, link->connect_ms); /* for its SETTINGS */
    begin_calls(link);
    vf_h2_link_pend(link);
    return 0;
}

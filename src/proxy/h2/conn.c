#include "proxy/h2/conn.h"

#include <stdlib.h>
#include <uv.h>

#include "proxy/h2/conn_parts.h"

enum {
    MAX_STREAMS = 128, /* at once, as RFC 9113 section 6.5.2 recommends: 100 or more */
    PING_MS = 10000    /* for its answer */
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int vf_h2_is_preface(const char *data, size_t len)
{
    size_t n = len < VF_H2_PREFACE_BYTES ? len : VF_H2_PREFACE_BYTES;
    if (memcmp(data, preface, n) != 0)
        return -1;
    return n == VF_H2_PREFACE_BYTES;
}

/* --- Its end --- */

/* Says goodbye with a reason, and closes when that was sent. */
static void terminate(struct vf_h2 *h2, uint32_t code, const char *reason)
{
    struct vf_downstream *conn = h2->conn;
    nghttp2_session_terminate_session(h2->wire.session, code);
    vf_h2_wire_pump(&h2->wire);
    if (conn->is_dead)
        return;
    vf_stream_flush(&conn->stream);
    if (conn->is_dead)
        return;
    vf_h2_abandon(h2, reason);
    vf_downstream_end(conn);
}

/* nghttp2 has said goodbye, for a fault of the client or because everything is over. */
static bool is_over(const struct vf_h2 *h2)
{
    return nghttp2_session_want_read(h2->wire.session) == 0 &&
           nghttp2_session_want_write(h2->wire.session) == 0;
}

/* Ends a connection that is leaving and has no streams left. */
static void end_if_over(struct vf_h2 *h2)
{
    if (is_over(h2) && !h2->conn->closing) {
        vf_h2_abandon(h2, "client_closed");
        vf_downstream_end(h2->conn);
        return;
    }
    if (h2->wire.n_flows == 0 && h2->is_leaving && !h2->conn->closing)
        terminate(h2, NGHTTP2_NO_ERROR, "drained");
    else if (h2->wire.n_flows == 0 && h2->conn->acceptor->is_gone && !h2->is_draining)
        vf_h2_drain(h2, false);
}

/* First GOAWAY of two: what the client has sent until it sees it is still answered (RFC 9113
 * section 6.8). */
static void begin_to_leave(struct vf_h2 *h2)
{
    h2->is_draining = true;
    nghttp2_submit_shutdown_notice(h2->wire.session);
    vf_h2_await_client(h2);
    vf_h2_pend(h2);
}

static void leave(struct vf_h2 *h2)
{
    h2->is_leaving = true;
    nghttp2_submit_goaway(h2->wire.session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->wire.session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    vf_h2_pend(h2);
}

void vf_h2_drain(struct vf_h2 *h2, bool now)
{
    if (h2->conn->closing)
        return;
    if (!h2->is_draining)
        begin_to_leave(h2);
    else if (now && !h2->is_leaving)
        leave(h2);
}

/* Streams are open: is the client still there? */
static void check_peer(struct vf_h2 *h2)
{
    switch (vf_h2_wire_pulse(&h2->wire)) {
    case VF_H2_HEARD:
        vf_h2_await_client(h2);
        break;
    case VF_H2_ASKED:
        vf_downstream_set_timer(h2->conn, PING_MS);
        vf_h2_pend(h2);
        break;
    case VF_H2_SILENT:
        vf_downstream_close(h2->conn, "client_timeout");
        break;
    }
}

/* Nothing else can come on the connection before the rest of this head. */
static void give_up_head(struct vf_h2 *h2)
{
    vf_count_add(&h2->proxy->block->totals.client_timeouts, 1);
    terminate(h2, NGHTTP2_NO_ERROR, "client_timeout");
}

void vf_h2_on_timer(struct vf_h2 *h2)
{
    if (!h2->is_acked)
        terminate(h2, NGHTTP2_SETTINGS_TIMEOUT, "client_timeout");
    else if (h2->awaits_head)
        give_up_head(h2);
    else if (h2->is_draining && !h2->is_leaving)
        leave(h2);
    else if (h2->wire.n_flows > 0)
        check_peer(h2);
    else
        terminate(h2, NGHTTP2_NO_ERROR, "idle");
}

void vf_h2_on_drained(struct vf_h2 *h2)
{
    struct vf_h2_flow *flow;
    vf_h2_wire_pump(&h2->wire);
    if (h2->conn->is_dead)
        return;
    h2->wire.next_of_walk = h2->wire.flows;
    /* those that had all their frames made, and waited for the socket alone */
    while (!h2->conn->is_dead && !h2->conn->stream.blocked &&
           (flow = vf_h2_wire_walk(&h2->wire)) != NULL)
        if (!flow->was_full)
            vf_h2_stream_on_drained(vf_h2_stream_of(flow));
}

void vf_h2_abandon(struct vf_h2 *h2, const char *reason)
{
    struct vf_h2_flow *flow;
    vf_h2_wire_enter(&h2->wire);
    h2->wire.next_of_walk = h2->wire.flows;
    while ((flow = vf_h2_wire_walk(&h2->wire)) != NULL) {
        struct vf_h2_stream *stream = vf_h2_stream_of(flow);
        struct vf_exchange *ex = stream->ex;
        vf_reactor_timer_stop(h2->proxy->reactor, &stream->timer);
        stream->ex = NULL;
        if (ex != NULL)
            vf_exchange_on_client_gone(ex, reason);
    }
    vf_h2_wire_leave(&h2->wire);
}

static void free_streams(struct vf_h2_flow *list)
{
    while (list != NULL) {
        struct vf_h2_stream *stream = vf_h2_stream_of(list);
        list = list->next;
        vf_h2_stream_free(stream);
    }
}

static void forget_pending(struct vf_h2 *h2)
{
    struct vf_h2 **at = &h2->proxy->pending_h2;
    while (*at != NULL && *at != h2)
        at = &(*at)->next_pending;
    if (*at == h2)
        *at = h2->next_pending;
}

void vf_h2_free(struct vf_h2 *h2)
{
    if (h2 == NULL)
        return;
    if (h2->is_pending)
        forget_pending(h2);
    free_streams(h2->wire.flows);
    free_streams(h2->dead);
    vf_h2_wire_deinit(&h2->wire);
    free(h2);
}

/* --- Its beginning --- */

static void pend(struct vf_h2_wire *wire)
{
    vf_h2_pend((struct vf_h2 *)wire);
}

static void on_room(struct vf_h2_flow *flow)
{
    vf_h2_stream_on_drained(vf_h2_stream_of(flow));
}

static void on_taken_back(struct vf_h2_wire *wire)
{
    struct vf_h2 *h2 = (struct vf_h2 *)wire;
    free_streams(h2->dead);
    h2->dead = NULL;
}

static void on_out_of_memory(struct vf_h2_wire *wire)
{
    vf_downstream_close(((struct vf_h2 *)wire)->conn, "out_of_memory");
}

static const struct vf_h2_wire_ops ops = {.listen = vf_h2_listen,
                                          .pend = pend,
                                          .on_room = on_room,
                                          .on_taken_back = on_taken_back,
                                          .on_out_of_memory = on_out_of_memory};

static int open_wire(struct vf_h2 *h2)
{
    struct vf_h1_limits limits =
        vf_proxy_head_limits(h2->proxy->snapshot, h2->conn->acceptor->listener);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, VF_H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         (uint32_t)(limits.header_bytes < UINT32_MAX ? limits.header_bytes : UINT32_MAX)},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    h2->wire.ops = &ops;
    h2->wire.stream = &h2->conn->stream;
    return vf_h2_wire_open(&h2->wire, settings, sizeof(settings) / sizeof(settings[0]), h2);
}

/* The time for a head begins; that for the client's first settings is as long. */
static void await_head(struct vf_h2 *h2)
{
    const struct vf_snap_policy *policy = vf_downstream_policy(h2->conn);
    vf_downstream_set_timer(h2->conn, policy->value[VF_POLICY_CLIENT_HEADER_MS]);
}

bool vf_h2_start(struct vf_downstream *client)
{
    struct vf_h2 *h2 = calloc(1, sizeof(*h2));
    if (h2 != NULL) {
        h2->conn = client;
        h2->proxy = client->proxy;
        client->h2 = h2;
    }
    if (h2 == NULL || open_wire(h2) < 0) {
        vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
        vf_downstream_close(client, "out_of_memory");
        return false;
    }
    vf_count_add(&vf_downstream_counters(client)->h2_connections, 1);
    await_head(h2);
    vf_h2_pend(h2);
    return true;
}

/* --- What the client sends --- */

/* The connection ends for what the client has sent. */
static void refuse(struct vf_h2 *h2, const char *word)
{
    struct vf_downstream *conn = h2->conn;
    const char *client = vf_downstream_peer_text(conn).data;
    if (h2->wire.guard.code == NGHTTP2_ENHANCE_YOUR_CALM) {
        vf_count_add(&vf_downstream_counters(conn)->h2_floods, 1);
        vf_log_warn(&h2->proxy->log, "client.flood", "listener=%s client=%s kind=%s",
                    conn->acceptor->name, client, word);
    } else {
        vf_count_add(&h2->proxy->block->totals.malformed_requests, 1);
        vf_log_info(&h2->proxy->log, "client.bad_frame",
                    "listener=%s client=%s type=%d stream=%d err=%s", conn->acceptor->name, client,
                    vf_h2_guard_type(&h2->wire.guard), (int)vf_h2_guard_stream(&h2->wire.guard),
                    word);
    }
    terminate(h2, h2->wire.guard.code, word);
}

void vf_h2_flush(struct vf_proxy *proxy)
{
    while (proxy->pending_h2 != NULL) {
        struct vf_h2 *h2 = proxy->pending_h2;
        proxy->pending_h2 = h2->next_pending;
        h2->is_pending = false;
        vf_h2_resume_streams(h2);
        vf_h2_wire_pump(&h2->wire);
        if (h2->conn->is_dead || h2->conn->closing)
            continue;
        if (h2->flood != NULL)
            refuse(h2, h2->flood);
        else
            end_if_over(h2);
    }
}

/* The time for a head runs while it comes in pieces. */
static void watch_head(struct vf_h2 *h2)
{
    bool is_open = vf_h2_guard_in_head(&h2->wire.guard);
    if (is_open == h2->awaits_head || !h2->is_acked)
        return;
    h2->awaits_head = is_open;
    if (is_open)
        await_head(h2);
    else
        vf_h2_await_client(h2);
}

void vf_h2_feed(struct vf_h2 *h2, const char *data, size_t len)
{
    struct vf_downstream *conn = h2->conn;
    const char *word;
    int rc = vf_h2_wire_recv(&h2->wire, data, len, vf_reactor_now_ns(h2->proxy->reactor), &word);
    if (word != NULL) {
        refuse(h2, word);
        return;
    }
    vf_h2_pend(h2);
    if (conn->is_dead)
        return;
    if (rc < 0) {
        vf_log_info(&h2->proxy->log, "client.bad_frames", "listener=%s client=%s err=%s",
                    conn->acceptor->name, vf_downstream_peer_text(conn).data, nghttp2_strerror(rc));
        vf_count_add(&vf_downstream_counters(conn)->refused, 1);
        terminate(h2, NGHTTP2_PROTOCOL_ERROR, "malformed");
        return;
    }
    watch_head(h2);
}

#include "proxy/h2.h"

#include <stdlib.h>
#include <uv.h>

#include "proxy/h2_conn.h"

enum {
    MAX_STREAMS = 128,          /* at once, as RFC 9113 section 6.5.2 recommends: 100 or more */
    STREAM_WINDOW = 256 * 1024, /* content that may wait for an exchange */
    CONNECTION_WINDOW = 1024 * 1024, /* and for all of them together */
    PING_MS = 10000                  /* for its answer */
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int vf_h2_is_preface(const char *data, size_t len)
{
    size_t n = len < VF_H2_PREFACE_BYTES ? len : VF_H2_PREFACE_BYTES;
    if (memcmp(data, preface, n) != 0)
        return -1;
    return n == VF_H2_PREFACE_BYTES;
}

/* --- Its life --- */

static void set_timer(struct vf_h2 *h2, uint64_t delay_ms)
{
    vf_downstream_set_timer(h2->conn, delay_ms);
}

static uint64_t patience_ms(const struct vf_h2 *h2)
{
    const struct vf_snap_policy *policy = vf_downstream_policy(h2->conn);
    return policy->value[h2->proxy->draining ? VF_POLICY_DRAIN_IDLE_MS : VF_POLICY_CLIENT_IDLE_MS];
}

/* Says goodbye with a reason, and closes when that was sent. */
static void terminate(struct vf_h2 *h2, uint32_t code, const char *reason)
{
    struct vf_downstream *conn = h2->conn;
    nghttp2_session_terminate_session(h2->session, code);
    vf_h2_pump(h2);
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
    return nghttp2_session_want_read(h2->session) == 0 &&
           nghttp2_session_want_write(h2->session) == 0;
}

void vf_h2_end_if_over(struct vf_h2 *h2)
{
    if (is_over(h2) && !h2->conn->closing) {
        vf_h2_abandon(h2, "client_closed");
        vf_downstream_end(h2->conn);
        return;
    }
    if (h2->n_streams == 0 && h2->is_leaving && !h2->conn->closing)
        terminate(h2, NGHTTP2_NO_ERROR, "drained");
    else if (h2->n_streams == 0 && h2->conn->acceptor->is_gone && !h2->is_draining)
        vf_h2_drain(h2, false);
}

/* First GOAWAY of two: what the client has sent until it sees it is still answered (RFC 9113
 * section 6.8). */
static void begin_to_leave(struct vf_h2 *h2)
{
    h2->is_draining = true;
    nghttp2_submit_shutdown_notice(h2->session);
    set_timer(h2, patience_ms(h2));
    vf_h2_pend(h2);
}

static void leave(struct vf_h2 *h2)
{
    h2->is_leaving = true;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
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
    if (h2->was_heard) {
        h2->was_heard = false;
        h2->was_pinged = false;
        set_timer(h2, patience_ms(h2));
    } else if (!h2->was_pinged) {
        h2->was_pinged = true;
        nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
        set_timer(h2, PING_MS);
        vf_h2_pend(h2);
    } else {
        vf_downstream_close(h2->conn, "client_timeout");
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
    else if (h2->n_streams > 0)
        check_peer(h2);
    else
        terminate(h2, NGHTTP2_NO_ERROR, "idle");
}

/* Walks over the open streams, any of which may end meanwhile: vf_h2_stream_bury moves the walk on.
 * Returns NULL at the end. */
static struct vf_h2_stream *next_of_walk(struct vf_h2 *h2)
{
    struct vf_h2_stream *stream = h2->next_of_walk;
    if (stream != NULL)
        h2->next_of_walk = stream->next;
    return stream;
}

void vf_h2_on_drained(struct vf_h2 *h2)
{
    struct vf_h2_stream *stream;
    vf_h2_pump(h2);
    if (h2->conn->is_dead)
        return;
    h2->next_of_walk = h2->streams;
    /* those that had all their frames made, and waited for the socket alone */
    while (!h2->conn->is_dead && !h2->conn->stream.blocked && (stream = next_of_walk(h2)) != NULL)
        if (stream->ex != NULL && !stream->was_full)
            vf_h2_stream_on_drained(stream);
}

void vf_h2_abandon(struct vf_h2 *h2, const char *reason)
{
    struct vf_h2_stream *stream;
    vf_h2_enter(h2);
    h2->next_of_walk = h2->streams;
    while ((stream = next_of_walk(h2)) != NULL) {
        struct vf_exchange *ex = stream->ex;
        vf_reactor_timer_stop(h2->proxy->reactor, &stream->timer);
        stream->ex = NULL;
        if (ex != NULL)
            vf_exchange_on_client_gone(ex, reason);
    }
    vf_h2_leave(h2);
}

static void free_streams(struct vf_h2_stream *list)
{
    while (list != NULL) {
        struct vf_h2_stream *stream = list;
        list = stream->next;
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
    free_streams(h2->streams);
    free_streams(h2->dead);
    nghttp2_session_del(h2->session);
    free(h2);
}

/* --- Events of nghttp2 --- */

static struct vf_h2_stream *stream_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct vf_h2 *h2 = owner;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct vf_h2_stream *stream = vf_h2_stream_new(h2, frame->hd.stream_id);
    if (stream == NULL) {
        vf_count_add(&h2->proxy->block->totals.out_of_memory, 1);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    vf_count_add(&vf_downstream_counters(h2->conn)->h2_streams, 1);
    return 0;
}

static int add_trailer(struct vf_h2_stream *stream, struct vf_str name, struct vf_str value)
{
    struct vf_exchange *ex = stream->ex;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    stream->trailer_bytes += name.len + value.len;
    if (ex->request.trailers.count >= limits.header_count ||
        stream->trailer_bytes > limits.header_bytes)
        return 0; /* what is too much is not passed on */
    name.data = vf_arena_strndup(&ex->arena, name.data, name.len);
    value.data = vf_arena_strndup(&ex->arena, value.data, value.len);
    return name.data == NULL || value.data == NULL
               ? UV_ENOMEM
               : vf_fields_add(&ex->request.trailers, &ex->arena, name, value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *owner)
{
    struct vf_h2_stream *stream = stream_at(session, frame->hd.stream_id);
    struct vf_str name_of = vf_str_make((const char *)name, name_len);
    struct vf_str value_of = vf_str_make((const char *)value, value_len);
    (void)flags, (void)owner;
    if (stream == NULL || stream->ex == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct vf_exchange *ex = stream->ex;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return add_trailer(stream, name_of, value_of) == 0 ? 0
                                                           : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    return vf_h2_request_add(&stream->request, &limits, name_of, value_of) == 0
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* nghttp2 would leave such a field out. A request that has one is malformed as a whole (RFC 9113
 * section 8.1.1), so that nobody behind us reads it differently. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *owner)
{
    struct vf_h2 *h2 = owner;
    (void)name, (void)name_len, (void)value, (void)value_len, (void)flags;
    vf_count_add(&h2->proxy->block->totals.malformed_requests, 1);
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *owner)
{
    struct vf_h2 *h2 = owner;
    (void)session;
    vf_count_add(&h2->proxy->block->totals.malformed_requests, 1);
    vf_log_info(&h2->proxy->log, "client.bad_frame",
                "listener=%s client=%s type=%d stream=%d err=%s", h2->conn->acceptor->name,
                vf_downstream_peer_text(h2->conn).data, frame->hd.type, frame->hd.stream_id,
                nghttp2_strerror(error));
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct vf_h2 *h2 = owner;
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        if (!h2->is_acked && !h2->is_draining)
            set_timer(h2, patience_ms(h2));
        h2->is_acked = true;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct vf_h2_stream *stream = stream_at(session, frame->hd.stream_id);
    if (stream == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (stream->ex != NULL)
            vf_h2_stream_on_head(stream, !ends);
    } else if (ends)
        vf_h2_stream_on_end(stream);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *owner)
{
    struct vf_h2_stream *stream = stream_at(session, id);
    (void)flags, (void)owner;
    if (stream != NULL)
        vf_h2_stream_on_data(stream, (const char *)data, len);
    else
        nghttp2_session_consume(session, id, len);
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    (void)owner;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct vf_h2_stream *stream = stream_at(session, frame->hd.stream_id);
    if (stream != NULL && stream->ex == NULL && stream->stops_input)
        vf_h2_stream_linger(stream);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *owner)
{
    struct vf_h2 *h2 = owner;
    struct vf_h2_stream *stream = stream_at(session, id);
    (void)code;
    if (stream == NULL)
        return 0;
    vf_h2_stream_on_close(stream);
    if (h2->n_streams == 0 && !h2->is_draining)
        set_timer(h2, patience_ms(h2));
    return 0;
}

static int make_session(struct vf_h2 *h2)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return UV_ENOMEM;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return UV_ENOMEM;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, vf_h2_send_content);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1); /* priorities of RFC 7540 are not used */
    int rc = nghttp2_session_server_new2(&h2->session, callbacks, h2, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 ? 0 : UV_ENOMEM;
}

static int greet(struct vf_h2 *h2)
{
    struct vf_h1_limits limits =
        vf_proxy_head_limits(h2->proxy->snapshot, h2->conn->acceptor->listener);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         (uint32_t)(limits.header_bytes < UINT32_MAX ? limits.header_bytes : UINT32_MAX)},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int rc = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                   CONNECTION_WINDOW);
    return rc == 0 ? 0 : UV_ENOMEM;
}

bool vf_h2_start(struct vf_downstream *client)
{
    struct vf_h2 *h2 = calloc(1, sizeof(*h2));
    if (h2 != NULL) {
        h2->conn = client;
        h2->proxy = client->proxy;
        client->h2 = h2;
    }
    if (h2 == NULL || vf_h2_scratch(h2->proxy) < 0 || make_session(h2) < 0 || greet(h2) < 0) {
        vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
        vf_downstream_close(client, "out_of_memory");
        return false;
    }
    vf_count_add(&vf_downstream_counters(client)->h2_connections, 1);
    set_timer(h2, vf_downstream_policy(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
    vf_h2_pend(h2);
    return true;
}

/* The connection ends for what the client has sent. */
static void refuse(struct vf_h2 *h2, const char *word)
{
    struct vf_downstream *conn = h2->conn;
    const char *client = vf_downstream_peer_text(conn).data;
    if (h2->guard.code == NGHTTP2_ENHANCE_YOUR_CALM) {
        vf_count_add(&vf_downstream_counters(conn)->h2_floods, 1);
        vf_log_warn(&h2->proxy->log, "client.flood", "listener=%s client=%s kind=%s",
                    conn->acceptor->name, client, word);
    } else {
        vf_count_add(&h2->proxy->block->totals.malformed_requests, 1);
        vf_log_info(&h2->proxy->log, "client.bad_frame",
                    "listener=%s client=%s type=%d stream=%d err=%s", conn->acceptor->name, client,
                    vf_h2_guard_type(&h2->guard), (int)vf_h2_guard_stream(&h2->guard), word);
    }
    terminate(h2, h2->guard.code, word);
}

/* The time for a head runs while it comes in pieces. */
static void watch_head(struct vf_h2 *h2)
{
    bool is_open = vf_h2_guard_in_head(&h2->guard);
    if (is_open == h2->awaits_head || !h2->is_acked)
        return;
    h2->awaits_head = is_open;
    set_timer(h2, is_open ? vf_downstream_policy(h2->conn)->value[VF_POLICY_CLIENT_HEADER_MS]
                          : patience_ms(h2));
}

void vf_h2_feed(struct vf_h2 *h2, const char *data, size_t len)
{
    struct vf_downstream *conn = h2->conn;
    const char *word =
        vf_h2_guard_scan(&h2->guard, data, len, vf_reactor_now_ns(h2->proxy->reactor));
    h2->was_heard = true;
    if (word != NULL) {
        refuse(h2, word);
        return;
    }
    vf_h2_enter(h2);
    ssize_t n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, len);
    vf_h2_leave(h2);
    vf_h2_pend(h2);
    if (conn->is_dead)
        return;
    if (n < 0) {
        vf_log_info(&h2->proxy->log, "client.bad_frames", "listener=%s client=%s err=%s",
                    conn->acceptor->name, vf_downstream_peer_text(conn).data,
                    nghttp2_strerror((int)n));
        vf_count_add(&vf_downstream_counters(conn)->refused, 1);
        terminate(h2, NGHTTP2_PROTOCOL_ERROR, "malformed");
        return;
    }
    watch_head(h2);
}

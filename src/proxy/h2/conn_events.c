/* proxy/h2/conn_events.c - what nghttp2 tells of a connection to a client, for the streams that it
 * is about. */
#include "proxy/account.h"
#include "proxy/h2/conn_parts.h"

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

/* Without memory for a field the stream is reset. */
static int answer_to(int rc)
{
    return rc == 0 ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
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
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return answer_to(vf_h2_flow_add_trailer(&stream->flow, &limits, &ex->arena,
                                                &ex->request.trailers, name_of, value_of));
    return answer_to(vf_h2_request_add(&stream->request, &limits, name_of, value_of));
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
            vf_h2_await_client(h2);
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

/* Resets for faults of clients have codes that no other reset of ours has. */
static bool is_for_fault(uint32_t code)
{
    return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
           code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FRAME_SIZE_ERROR;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct vf_h2 *h2 = owner;
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_for_fault(frame->rst_stream.error_code) &&
        h2->flood == NULL)
        h2->flood = vf_h2_guard_fault(&h2->wire.guard, vf_proxy_now_ns(h2->proxy));
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
    if (h2->wire.n_flows == 0 && !h2->is_draining)
        vf_h2_await_client(h2);
    return 0;
}

void vf_h2_listen(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

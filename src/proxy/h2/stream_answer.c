/* proxy/h2/stream_answer.c - a stream of HTTP/2 as an exchange sees it: what its client gets. */
#include <stdlib.h>

#include "http/h2_fields.h"
#include "proxy/h2/conn_parts.h"

enum { DISCARD_BYTES = 64 * 1024 /* of content nobody wants, before the client is told to stop */ };

static struct vf_h2_stream *stream_of(const struct vf_exchange *ex)
{
    return (struct vf_h2_stream *)ex->client;
}

static void send_interim(struct vf_exchange *ex)
{
    struct vf_h2_stream *stream = stream_of(ex);
    nghttp2_nv *fields;
    size_t n = vf_h2_write_response(&ex->arena, &ex->response, ex->response.status, false, &fields);
    if (n > 0)
        nghttp2_submit_headers(stream->h2->wire.session, NGHTTP2_FLAG_NONE, stream->flow.id, NULL,
                               fields, n, NULL);
    vf_h2_pend(stream->h2);
}

static void send_head(struct vf_exchange *ex)
{
    struct vf_h2_stream *stream = stream_of(ex);
    nghttp2_data_provider provider = vf_h2_wire_provider(&stream->flow);
    nghttp2_nv *fields;
    bool is_tunnel = ex->is_tunnel; /* RFC 8441 section 5: 200 where HTTP/1.1 has 101 */
    stream->has_content = is_tunnel || ex->response.framing != VF_FRAMING_NONE || ex->filters_body;
    /* behind content of a known length HTTP/2 may have trailers yet (RFC 9113 section 8.1) */
    bool ends_by_length = !is_tunnel && !ex->response.is_h2 && vf_client_has_length(ex);
    stream->due = ends_by_length ? ex->response.content_length : UINT64_MAX;
    uint32_t status = is_tunnel ? 200 : ex->response.status;
    if (stream->is_extended && !is_tunnel && status / 100 == 2)
        status = 502; /* a success would say that there is a tunnel */
    size_t n =
        vf_h2_write_response(&ex->arena, &ex->response, status,
                             !is_tunnel && status != 204 && vf_client_has_length(ex), &fields);
    if (n == 0 || nghttp2_submit_response(stream->h2->wire.session, stream->flow.id, fields, n,
                                          stream->has_content ? &provider : NULL) != 0)
        nghttp2_submit_rst_stream(stream->h2->wire.session, NGHTTP2_FLAG_NONE, stream->flow.id,
                                  NGHTTP2_INTERNAL_ERROR);
    vf_h2_pend(stream->h2);
}

/* Keeps what did not become frames. */
static void keep(struct vf_h2_stream *stream, struct vf_exchange *ex, struct vf_str slice)
{
    bool was_full = stream->flow.was_full;
    int rc = vf_h2_wire_keep(&stream->flow, slice);
    if (rc == UV_ENOMEM)
        vf_h2_stream_give_up(stream, NGHTTP2_INTERNAL_ERROR, "out_of_memory");
    else if (rc == 0 && !was_full && !vf_h2_stream_awaits_content(stream))
        vf_h2_stream_set_timer(
            stream,
            ex->policy->value[ex->is_tunnel ? VF_POLICY_TUNNEL_MS : VF_POLICY_RESPONSE_BODY_MS]);
}

static void send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_h2_stream *stream = stream_of(ex);
    if (!stream->has_content)
        return;
    if (stream->due != UINT64_MAX && (stream->due -= slice.len) == 0)
        stream->flow.has_ended = true; /* its last frame says so: no empty one follows */
    if (!vf_h2_wire_send(&stream->flow, &slice) || stream->ex != ex || slice.len == 0)
        return;
    keep(stream, ex, slice);
    vf_h2_pend(stream->h2);
}

/* What it has sent and nobody read is dropped; the rest is not wanted. */
static void drop_input(struct vf_h2_stream *stream)
{
    struct vf_str input =
        vf_h2_flow_take_input(&stream->flow, &stream->h2->proxy->net.buffered_bytes);
    if (stream->flow.unreturned + input.len > 0)
        vf_h2_stream_give_back(stream, stream->flow.unreturned + input.len);
    free((char *)input.data);
    stream->flow.unreturned = 0;
    stream->stops_input = !stream->flow.input_ended;
    if (stream->stops_input &&
        nghttp2_session_get_stream_local_close(stream->h2->wire.session, stream->flow.id) == 1)
        vf_h2_stream_linger(stream);
}

/* The stream goes on without its exchange, to its end. */
static void let_go(struct vf_exchange *ex)
{
    struct vf_h2_stream *stream = stream_of(ex);
    stream->ex = NULL;
    vf_reactor_timer_stop(stream->h2->proxy->reactor, &stream->timer);
    if (stream->is_closed)
        vf_h2_stream_bury(stream);
    else
        drop_input(stream);
    vf_h2_pend(stream->h2);
    vf_exchange_free(ex);
}

static void end_content(struct vf_h2_stream *stream, const struct vf_fields *trailers)
{
    if (stream->flow.has_ended)
        return; /* the content was as long as was said */
    stream->flow.has_ended = true;
    if (!stream->has_content)
        return;
    stream->flow.n_trailers = vf_h2_copy_trailers(trailers, &stream->flow.trailers);
    nghttp2_session_resume_data(stream->h2->wire.session, stream->flow.id);
    vf_h2_pend(stream->h2);
}

static void send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    end_content(stream_of(ex), trailers);
    if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel && ex->upstream != NULL &&
        !ex->close_client) {
        ex->answer_ended = true; /* the backend goes on reading: vf_client_finish */
        vf_h2_stream_await_content(stream_of(ex));
        return;
    }
    let_go(ex);
}

static bool discard(struct vf_exchange *ex, size_t len)
{
    (void)len;
    if (ex->discarded_bytes <= DISCARD_BYTES)
        return true;
    let_go(ex);
    return false;
}

static void abort_answer(struct vf_exchange *ex)
{
    struct vf_h2_stream *stream = stream_of(ex);
    if (!stream->is_closed)
        nghttp2_submit_rst_stream(stream->h2->wire.session, NGHTTP2_FLAG_NONE, stream->flow.id,
                                  NGHTTP2_INTERNAL_ERROR);
    let_go(ex);
}

static void close_client(struct vf_exchange *ex, const char *reason)
{
    vf_h2_stream_give_up(stream_of(ex), NGHTTP2_INTERNAL_ERROR, reason);
}

static void flush(struct vf_exchange *ex)
{
    vf_stream_flush(&ex->client->conn->stream);
}

static void tunnel_end(struct vf_exchange *ex)
{
    end_content(stream_of(ex), NULL);
}

static bool is_blocked(const struct vf_exchange *ex)
{
    const struct vf_h2_stream *stream = stream_of(ex);
    return vf_h2_flow_has_kept(&stream->flow) || stream->client.conn->stream.blocked;
}

const struct vf_client_codec vf_h2_codec = {
    .send_interim = send_interim,
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .finish = let_go,
    .discard = discard,
    .abort = abort_answer,
    .close = close_client,
    .resume = vf_h2_stream_resume,
    .flush = flush,
    .tunnel_end = tunnel_end,
    .is_blocked = is_blocked,
};

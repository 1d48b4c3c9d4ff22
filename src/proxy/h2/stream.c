/* proxy/h2/stream.c - a stream of HTTP/2: its life, and what its client sends. */
#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

#include "proxy/account.h"
#include "proxy/h2/conn_parts.h"

enum { LINGER_MS = 100 /* for clients that lose an answer when its reset comes along with it */ };

static struct vf_h2_stream *stream_of(const struct vf_exchange *ex)
{
    return (struct vf_h2_stream *)ex->client;
}

/* --- Life --- */

void vf_h2_stream_set_timer(struct vf_h2_stream *stream, uint64_t delay_ms)
{
    vf_reactor_timer(stream->h2->proxy->reactor, &stream->timer, delay_ms);
}

void vf_h2_stream_bury(struct vf_h2_stream *stream)
{
    struct vf_h2 *h2 = stream->h2;
    vf_reactor_timer_stop(h2->proxy->reactor, &stream->timer);
    vf_h2_wire_remove(&stream->flow);
    stream->flow.next = h2->dead;
    h2->dead = &stream->flow;
    vf_h2_pend(h2); /* frees it, and may end the connection */
}

void vf_h2_stream_give_up(struct vf_h2_stream *stream, uint32_t code, const char *reason)
{
    struct vf_h2 *h2 = stream->h2;
    struct vf_exchange *ex = stream->ex;
    stream->ex = NULL;
    if (stream->is_closed)
        vf_h2_stream_bury(stream);
    else
        nghttp2_submit_rst_stream(h2->wire.session, NGHTTP2_FLAG_NONE, stream->flow.id, code);
    vf_h2_pend(h2);
    if (ex == NULL)
        return;
    vf_h2_wire_enter(&h2->wire);
    vf_exchange_on_client_gone(ex, reason);
    vf_h2_wire_leave(&h2->wire);
}

bool vf_h2_stream_awaits_content(const struct vf_h2_stream *stream)
{
    const struct vf_exchange *ex = stream->ex;
    return ex->request_state == VF_FLOW_BODY && !ex->is_tunnel && !stream->flow.input_ended &&
           vf_exchange_wants_body(ex);
}

void vf_h2_stream_await_content(struct vf_h2_stream *stream)
{
    const struct vf_exchange *ex = stream->ex;
    if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel)
        vf_h2_stream_set_timer(stream, ex->policy->value[VF_POLICY_CLIENT_BODY_MS]);
}

/* Content that nobody takes: is there still none of it that leaves? */
static void check_stall(struct vf_h2_stream *stream)
{
    struct vf_exchange *ex = stream->ex;
    enum vf_snap_policy_field field =
        ex->is_tunnel ? VF_POLICY_TUNNEL_MS : VF_POLICY_RESPONSE_BODY_MS;
    bool is_full = vf_h2_flow_has_kept(&stream->flow);
    if (is_full && stream->stall_mark == stream->flow.sent_bytes + 1) {
        vf_h2_stream_give_up(stream, NGHTTP2_CANCEL, "client_stalled");
        return;
    }
    stream->stall_mark = is_full ? stream->flow.sent_bytes + 1 : 0;
    if (is_full)
        vf_h2_stream_set_timer(stream, ex->policy->value[field]);
}

void vf_h2_stream_linger(struct vf_h2_stream *stream)
{
    vf_h2_stream_set_timer(stream, LINGER_MS);
}

/* RFC 9113 section 8.1: the rest of the request is not wanted. */
static void stop_input(struct vf_h2_stream *stream)
{
    if (stream->is_closed || stream->flow.input_ended)
        return;
    nghttp2_submit_rst_stream(stream->h2->wire.session, NGHTTP2_FLAG_NONE, stream->flow.id,
                              NGHTTP2_NO_ERROR);
    vf_h2_pend(stream->h2);
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_h2_stream *stream =
        (struct vf_h2_stream *)((char *)timer - offsetof(struct vf_h2_stream, timer));
    struct vf_h2 *h2 = stream->h2;
    if (stream->ex == NULL) {
        stop_input(stream);
        return;
    }
    if (!vf_h2_stream_awaits_content(stream)) {
        check_stall(stream);
        return;
    }
    vf_count_add(&h2->proxy->block->totals.client_timeouts, 1);
    vf_h2_wire_enter(&h2->wire);
    vf_exchange_on_client_timeout(stream->ex);
    vf_h2_wire_leave(&h2->wire);
    vf_h2_pend(h2);
}

struct vf_h2_stream *vf_h2_stream_new(struct vf_h2 *h2, int32_t id)
{
    struct vf_h2_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->client = (struct vf_client){&vf_h2_codec, h2->conn};
    stream->h2 = h2;
    stream->flow.id = id;
    stream->timer.on_fire = on_timer;
    stream->ex = vf_exchange_new(h2->proxy, &stream->client, h2->conn->acceptor->listener);
    if (stream->ex == NULL) {
        free(stream);
        return NULL;
    }
    vf_h2_request_begin(&stream->request, &stream->ex->arena, &stream->ex->request);
    vf_h2_wire_add(&h2->wire, &stream->flow);
    h2->conn->n_requests++;
    return stream;
}

void vf_h2_stream_on_close(struct vf_h2_stream *stream)
{
    struct vf_h2 *h2 = stream->h2;
    struct vf_exchange *ex = stream->ex;
    size_t unread = stream->flow.unreturned + stream->flow.input_len;
    stream->is_closed = true;
    if (unread > 0) /* the connection's window does not end with the stream */
        nghttp2_session_consume_connection(h2->wire.session, unread);
    if (ex != NULL && stream->flow.has_ended && stream->flow.input_ended)
        return; /* all is said, and the exchange is about to notice: let_go */
    stream->ex = NULL;
    vf_h2_stream_bury(stream);
    if (ex != NULL) {
        vf_h2_wire_enter(&h2->wire);
        vf_exchange_on_client_gone(ex, "client_reset");
        vf_h2_wire_leave(&h2->wire);
    }
}

void vf_h2_stream_free(struct vf_h2_stream *stream)
{
    vf_reactor_timer_stop(stream->h2->proxy->reactor, &stream->timer);
    vf_h2_flow_deinit(&stream->flow, &stream->h2->proxy->net.buffered_bytes);
    free(stream);
}

/* --- What the client sends --- */

static void refuse(struct vf_h2_stream *stream, const struct vf_fault *fault)
{
    vf_count_add(&vf_downstream_counters(stream->client.conn)->refused, 1);
    vf_exchange_on_fault(stream->ex, fault);
}

void vf_h2_stream_on_head(struct vf_h2_stream *stream, bool has_content)
{
    struct vf_h2 *h2 = stream->h2;
    struct vf_exchange *ex = stream->ex;
    vf_exchange_renew(ex, h2->conn->acceptor->listener);
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    struct vf_fault fault;
    uint8_t nonce[16] = {0};
    if (stream->request.protocol.data != NULL && getrandom(nonce, sizeof(nonce), 0) < 0)
        nonce[0] = 1; /* it is no secret: a client of RFC 6455 may not repeat it, that is all */
    int rc = vf_h2_request_end(&stream->request, &limits, has_content, nonce, &fault);
    if (rc == UV_ENOMEM) {
        vf_h2_stream_give_up(stream, NGHTTP2_INTERNAL_ERROR, "out_of_memory");
        return;
    }
    stream->is_extended = ex->request.wants_upgrade;
    stream->flow.input_ended = !has_content;
    ex->request_state = ex->request.framing == VF_FRAMING_NONE ? VF_FLOW_DONE : VF_FLOW_BODY;
    vf_h2_wire_enter(&h2->wire);
    if (rc < 0)
        refuse(stream, &fault);
    else
        vf_exchange_on_request(ex);
    vf_h2_wire_leave(&h2->wire);
    if (stream->ex == ex && !stream->flow.input_ended)
        vf_h2_stream_await_content(stream);
    vf_h2_pend(h2);
}

void vf_h2_stream_give_back(struct vf_h2_stream *stream, size_t len)
{
    nghttp2_session_consume(stream->h2->wire.session, stream->flow.id, len);
    vf_h2_pend(stream->h2);
}

static bool may_take(const struct vf_h2_stream *stream)
{
    const struct vf_exchange *ex = stream->ex;
    return (ex->is_tunnel || ex->request_state == VF_FLOW_BODY) && vf_exchange_wants_body(ex);
}

/* Hands content to the exchange. Its window is given back when it takes more. */
static void deliver(struct vf_h2_stream *stream, const char *data, size_t len)
{
    struct vf_h2 *h2 = stream->h2;
    struct vf_exchange *ex = stream->ex;
    stream->flow.unreturned += len;
    vf_h2_wire_enter(&h2->wire);
    vf_exchange_on_request_data(ex, vf_str_make(data, len));
    vf_h2_wire_leave(&h2->wire);
    if (stream->ex == ex && !vf_exchange_wants_body(ex))
        return;
    vf_h2_stream_give_back(stream, stream->flow.unreturned);
    stream->flow.unreturned = 0;
    if (stream->ex == ex)
        vf_h2_stream_await_content(stream);
}

void vf_h2_stream_on_data(struct vf_h2_stream *stream, const char *data, size_t len)
{
    const struct vf_exchange *ex = stream->ex;
    if (ex == NULL) { /* nobody wants it any more, nor what would follow */
        nghttp2_session_consume_connection(stream->h2->wire.session, len);
        return;
    }
    if (ex->request_state == VF_FLOW_DONE && !ex->request.wants_upgrade) {
        vf_h2_stream_give_back(stream, len);
        return;
    }
    if (stream->flow.input_len == 0 && may_take(stream))
        deliver(stream, data, len);
    else if (!vf_h2_flow_keep_input(&stream->flow, &stream->h2->proxy->net.buffered_bytes, data,
                                    len))
        vf_h2_stream_give_up(stream, NGHTTP2_INTERNAL_ERROR, "out_of_memory");
}

/* Everything was handed over: tells the exchange about the end, once. */
static void end_input(struct vf_h2_stream *stream)
{
    struct vf_h2 *h2 = stream->h2;
    struct vf_exchange *ex = stream->ex;
    if (ex->request_state != VF_FLOW_BODY)
        return;
    if (!ex->is_tunnel)
        ex->request_state = VF_FLOW_DONE;
    vf_h2_wire_enter(&h2->wire);
    vf_exchange_on_request_end(ex);
    vf_h2_wire_leave(&h2->wire);
    vf_h2_pend(h2);
}

void vf_h2_stream_on_end(struct vf_h2_stream *stream)
{
    stream->flow.input_ended = true;
    if (stream->ex != NULL && stream->flow.input_len == 0 &&
        (stream->ex->is_tunnel || !stream->is_extended))
        end_input(stream);
}

void vf_h2_stream_resume(struct vf_exchange *ex)
{
    struct vf_h2_stream *stream = stream_of(ex);
    struct vf_net *net = &stream->h2->proxy->net;
    if (stream->h2->wire.depth > 0) {
        stream->h2->has_resumes = stream->wants_resume = true;
        vf_h2_pend(stream->h2);
        return;
    }
    if (stream->flow.unreturned > 0 && may_take(stream)) {
        vf_h2_stream_give_back(stream, stream->flow.unreturned);
        stream->flow.unreturned = 0;
    }
    if (stream->flow.input_len > 0 && may_take(stream)) {
        struct vf_str input = vf_h2_flow_take_input(&stream->flow, &net->buffered_bytes);
        deliver(stream, input.data, input.len);
        vf_net_flush(net); /* what was sent points into it */
        free((char *)input.data);
    }
    if (stream->ex == ex && stream->flow.input_ended && stream->flow.input_len == 0 &&
        (ex->is_tunnel || !stream->is_extended))
        end_input(stream);
}

void vf_h2_resume_streams(struct vf_h2 *h2)
{
    while (h2->has_resumes && !h2->conn->is_dead) {
        struct vf_h2_flow *flow = h2->wire.flows;
        while (flow != NULL && !vf_h2_stream_of(flow)->wants_resume)
            flow = flow->next;
        if (flow == NULL) {
            h2->has_resumes = false;
            return;
        }
        struct vf_h2_stream *stream = vf_h2_stream_of(flow);
        stream->wants_resume = false;
        if (stream->ex != NULL)
            vf_h2_stream_resume(stream->ex);
    }
}

void vf_h2_stream_on_drained(struct vf_h2_stream *stream)
{
    struct vf_h2 *h2 = stream->h2;
    if (stream->ex == NULL)
        return;
    stream->stall_mark = 0;
    vf_h2_wire_enter(&h2->wire);
    vf_exchange_on_client_drained(stream->ex);
    vf_h2_wire_leave(&h2->wire);
}

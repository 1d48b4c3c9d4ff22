/* proxy/h2/call.c - a call: the backend of one exchange, a stream of HTTP/2. Its life, and the
 * request that it sends. */
#include <stdlib.h>
#include <uv.h>

#include "http/h2_fields.h"
#include "proxy/account.h"
#include "proxy/downstream.h"
#include "proxy/h2/link_parts.h"
#include "proxy/phases.h"

static const struct vf_upstream_codec codec;

static struct vf_h2_call *call_of(const struct vf_exchange *ex)
{
    return (struct vf_h2_call *)ex->upstream;
}

/* --- Life --- */

void vf_h2_call_set_timer(struct vf_h2_call *call, uint64_t delay_ms)
{
    vf_reactor_timer(call->owner->proxy->reactor, &call->timer, delay_ms);
}

static bool is_connecting(const struct vf_h2_call *call)
{
    return call->flow.wire != NULL && call->flow.wire->session == NULL;
}

void vf_h2_call_reset(struct vf_h2_call *call, uint32_t code)
{
    if (call->flow.wire == NULL || call->is_closed || call->is_reset || call->flow.id == 0)
        return;
    call->is_reset = true;
    nghttp2_submit_rst_stream(call->flow.wire->session, NGHTTP2_FLAG_NONE, call->flow.id, code);
    vf_h2_link_pend(vf_h2_call_link(call));
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_h2_call *call =
        (struct vf_h2_call *)((char *)timer - offsetof(struct vf_h2_call, timer));
    struct vf_exchange *ex = call->ex;
    if (ex == NULL) { /* what is left of a request whose answer is complete */
        vf_h2_call_reset(call, NGHTTP2_CANCEL);
        return;
    }
    const struct vf_snap_policy *policy = ex->policy;
    bool is_moving = call->flow.sent_bytes != call->sent_mark;
    call->sent_mark = call->flow.sent_bytes;
    if (is_connecting(call))
        return; /* the connection's time counts */
    if (ex->response_state == VF_FLOW_BODY && vf_client_is_blocked(ex))
        vf_h2_call_set_timer(call, policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    else if (ex->request_state != VF_FLOW_DONE && ex->response_state <= VF_FLOW_HEAD &&
             (is_moving || !vf_upstream_is_blocked(ex)))
        vf_h2_call_set_timer(call, policy->value[VF_POLICY_RESPONSE_MS]); /* the client's turn */
    else
        vf_h2_call_fail(call, VF_UPSTREAM_TIMEOUT, NULL);
}

struct vf_h2_call *vf_h2_call_new(struct vf_h2_link *link, struct vf_exchange *ex)
{
    struct vf_h2_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->upstream.codec = &codec;
    call->owner = link->up->owner;
    call->timer.on_fire = on_timer;
    call->ex = ex;
    vf_h2_wire_add(&link->wire, &call->flow);
    ex->upstream = &call->upstream;
    return call;
}

static void unlink_call(struct vf_h2_call *call)
{
    struct vf_h2_link *link = vf_h2_call_link(call);
    if (link == NULL)
        return;
    vf_h2_wire_remove(&call->flow);
    vf_h2_link_pend(link); /* it may rest now */
}

void vf_h2_call_bury(struct vf_h2_call *call)
{
    if (call->is_dead)
        return;
    call->is_dead = true;
    unlink_call(call);
    vf_reactor_timer_stop(call->owner->proxy->reactor, &call->timer);
    call->flow.next = call->owner->dead_calls;
    call->owner->dead_calls = &call->flow;
}

struct vf_exchange *vf_h2_call_detach(struct vf_h2_call *call)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL)
        return NULL;
    call->ex = NULL;
    ex->upstream = NULL;
    if (call->is_closed || call->flow.id == 0 || call->flow.wire == NULL)
        vf_h2_call_bury(call);
    return ex;
}

void vf_h2_call_fail(struct vf_h2_call *call, enum vf_upstream_failure failure,
                     const struct vf_fault *fault)
{
    vf_h2_call_reset(call, fault != NULL ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_CANCEL);
    struct vf_exchange *ex = vf_h2_call_detach(call);
    if (ex != NULL && (!call->was_told || ex->answer_ended))
        vf_exchange_on_upstream_failed(ex, failure, fault); /* else the answer is complete */
}

void vf_h2_call_outlive(struct vf_h2_call *call)
{
    call->is_closed = true;
    unlink_call(call);
    if (call->ex == NULL)
        vf_h2_call_bury(call);
}

static void unlink_resuming(struct vf_h2_call *call)
{
    struct vf_h2_call **at = &call->owner->resuming;
    if (!call->wants_resume)
        return;
    while (*at != call)
        at = &(*at)->next_resuming;
    *at = call->next_resuming;
    call->wants_resume = false;
}

void vf_h2_calls_reap(struct vf_upstreams *upstreams)
{
    while (upstreams->dead_calls != NULL) {
        struct vf_h2_call *call = vf_h2_call_of(upstreams->dead_calls);
        upstreams->dead_calls = call->flow.next;
        unlink_resuming(call);
        vf_h2_flow_deinit(&call->flow, &upstreams->proxy->net.buffered_bytes);
        free(call);
    }
}

/* --- Requests --- */

void vf_h2_call_start(struct vf_h2_call *call)
{
    struct vf_h2_link *link = vf_h2_call_link(call);
    nghttp2_data_provider provider = vf_h2_wire_provider(&call->flow);
    int32_t id = nghttp2_submit_request(link->wire.session, NULL, call->fields, call->n_fields,
                                        call->has_content ? &provider : NULL, call);
    if (id < 0) {
        link->is_leaving = true; /* there are no more ids, or there is no memory */
        vf_h2_call_fail(call, VF_UPSTREAM_REFUSED, NULL);
        return;
    }
    call->flow.id = id;
    if (call->ex != NULL)
        vf_h2_call_set_timer(call, call->ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_link_pend(link);
}

static void send_head(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    struct vf_head head = ex->request;
    bool is_secure = !vf_stream_is_plain(call->flow.wire->stream);
    ex->chunk_request = false;
    ex->response_state = VF_FLOW_HEAD;
    if (ex->new_method.data != NULL)
        head.method_name = ex->new_method;
    call->has_content = head.framing != VF_FRAMING_NONE;
    call->n_fields =
        vf_h2_client_request(&ex->arena, &head, is_secure ? VF_STR("https") : VF_STR("http"),
                             ex->forward_target, ex->forward_host, &call->fields);
    if (call->n_fields == 0)
        vf_h2_call_fail(call, VF_UPSTREAM_CLOSED, NULL);
    else if (!is_connecting(call))
        vf_h2_call_start(call);
}

static void send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_h2_call *call = call_of(ex);
    struct vf_h2_link *link = vf_h2_call_link(call);
    if (slice.len == 0 || link == NULL || call->is_closed || call->is_reset || !call->has_content)
        return;
    if (call->flow.id != 0 && (!vf_h2_wire_send(&call->flow, &slice) || slice.len == 0))
        return;
    int rc = vf_h2_wire_keep(&call->flow, slice);
    if (rc == UV_ENOMEM)
        vf_h2_call_fail(call, VF_UPSTREAM_CUT, NULL);
    else if (rc == 0 && call->flow.id != 0)
        vf_h2_link_pend(link);
}

static void send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_h2_call *call = call_of(ex);
    ex->sent_ns = vf_proxy_now_ns(ex->proxy);
    if (call->flow.wire == NULL || call->flow.has_ended)
        return;
    call->flow.has_ended = true;
    if (call->has_content)
        call->flow.n_trailers = vf_h2_copy_trailers(trailers, &call->flow.trailers);
    if (call->flow.id == 0)
        return;
    if (call->has_content)
        nghttp2_session_resume_data(call->flow.wire->session, call->flow.id);
    if (ex->response_state == VF_FLOW_HEAD)
        vf_h2_call_set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_link_pend(vf_h2_call_link(call));
}

/* The rest of the request leaves when the backend takes it. */
static void finish(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    vf_h2_call_set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_call_detach(call);
}

/* Nothing becomes a tunnel here. */
static void tunnel_end(struct vf_exchange *ex)
{
    (void)ex;
}

static bool is_blocked(const struct vf_exchange *ex)
{
    const struct vf_h2_call *call = call_of(ex);
    return is_connecting(call) || (call->flow.wire != NULL && vf_h2_flow_has_kept(&call->flow));
}

static void resume(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    if (call->wants_resume)
        return;
    call->wants_resume = true;
    call->next_resuming = call->owner->resuming;
    call->owner->resuming = call;
}

static void abandon(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    vf_h2_call_reset(call, NGHTTP2_CANCEL);
    vf_h2_call_detach(call);
}

void vf_h2_call_on_drained(struct vf_h2_call *call)
{
    if (call->ex != NULL)
        vf_exchange_on_upstream_drained(call->ex);
}

static const struct vf_upstream_codec codec = {.send_head = send_head,
                                               .send_data = send_data,
                                               .send_end = send_end,
                                               .finish = finish,
                                               .tunnel_end = tunnel_end,
                                               .is_blocked = is_blocked,
                                               .resume = resume,
                                               .abandon = abandon,
                                               .may_refuse = true};

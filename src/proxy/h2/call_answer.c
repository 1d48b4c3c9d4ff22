/* proxy/h2/call_answer.c - the answer to a call: heads, content and trailers to its exchange. */
#include <stdlib.h>
#include <uv.h>

#include "proxy/downstream.h"
#include "proxy/h2/link_parts.h"

enum { MAX_INTERIM = 32 /* 1xx answers to one request */ };

static struct vf_h1_limits limits_of(const struct vf_exchange *ex)
{
    return vf_proxy_head_limits(ex->snapshot, ex->listener);
}

int vf_h2_call_on_field(struct vf_h2_call *call, struct vf_str name, struct vf_str value)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL || call->flow.input_ended)
        return 0;
    struct vf_h1_limits limits = limits_of(ex);
    if (call->has_head)
        return vf_h2_flow_add_trailer(&call->flow, &limits, &ex->arena, &ex->response.trailers,
                                      name, value);
    if (call->answer.head == NULL) {
        if (ex->first_byte_ns == 0)
            ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
        vf_h2_answer_begin(&call->answer, &ex->arena, &ex->response);
    }
    return vf_h2_answer_add(&call->answer, &limits, name, value);
}

void vf_h2_call_on_head(struct vf_h2_call *call, bool is_last)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL || call->has_head || call->answer.head == NULL)
        return;
    struct vf_h1_limits limits = limits_of(ex);
    struct vf_fault fault;
    int rc = vf_h2_answer_end(&call->answer, &limits, ex->request.method, is_last, &fault);
    call->answer.head = NULL;
    if (rc == 0 && ex->response.status < 200 && ++call->n_interim > MAX_INTERIM) {
        fault = (struct vf_fault){502, "malformed_response", "too many interim answers",
                                  "RFC 9110 section 15.2", 0};
        rc = -1;
    }
    if (rc < 0) {
        vf_h2_call_fail(call, VF_UPSTREAM_MALFORMED, &fault);
        return;
    }
    if (ex->response.status < 200) {
        vf_exchange_on_interim(ex);
        return;
    }
    call->has_head = true;
    ex->response_state = VF_FLOW_BODY;
    if (!is_last)
        vf_h2_call_set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    vf_exchange_on_response(ex);
}

/* Gives `len` bytes of the stream's window back; those of the connection's went at once, so that
 * one slow client does not stop the others. */
static void give_back(struct vf_h2_call *call, size_t len)
{
    if (len == 0 || call->flow.wire == NULL || call->is_closed)
        return;
    nghttp2_session_consume_stream(call->flow.wire->session, call->flow.id, len);
    vf_h2_link_pend(vf_h2_call_link(call));
}

/* Hands content to the exchange. Its window is given back when the client takes more. */
static void deliver(struct vf_h2_call *call, struct vf_str slice)
{
    struct vf_exchange *ex = call->ex;
    vf_exchange_on_response_data(ex, slice);
    if (call->ex == ex && vf_client_is_blocked(ex)) {
        call->flow.unreturned += slice.len;
        return;
    }
    give_back(call, slice.len + call->flow.unreturned);
    call->flow.unreturned = 0;
}

void vf_h2_call_on_data(struct vf_h2_call *call, const char *data, size_t len)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL) {
        give_back(call, len);
        return;
    }
    vf_h2_call_set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    if (call->flow.input_len == 0 && !vf_client_is_blocked(ex))
        deliver(call, vf_str_make(data, len));
    else if (!vf_h2_flow_keep_input(&call->flow, &call->owner->proxy->net.buffered_bytes, data,
                                    len))
        vf_h2_call_fail(call, VF_UPSTREAM_CUT, NULL);
}

/* Everything was handed over: tells the exchange about the end, once. */
static void tell_end(struct vf_h2_call *call)
{
    struct vf_exchange *ex = call->ex;
    if (call->was_told)
        return;
    call->was_told = true;
    if (ex->request_state == VF_FLOW_BODY && !ex->close_client && !call->is_closed) {
        vf_reactor_timer_stop(call->owner->proxy->reactor, &call->timer);
        vf_exchange_on_response_end(ex); /* the backend goes on reading: finish */
        return;
    }
    if (ex->request_state != VF_FLOW_DONE)
        vf_h2_call_reset(call, NGHTTP2_CANCEL);
    vf_h2_call_set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_call_detach(call);
    vf_exchange_on_response_end(ex);
}

void vf_h2_call_on_end(struct vf_h2_call *call)
{
    call->flow.input_ended = true;
    if (call->ex != NULL && call->flow.input_len == 0 && !vf_client_is_blocked(call->ex))
        tell_end(call);
}

static enum vf_upstream_failure failure_of(const struct vf_h2_call *call, uint32_t code)
{
    if (call->fault.rule != NULL)
        return VF_UPSTREAM_MALFORMED;
    if (call->has_head)
        return VF_UPSTREAM_CUT;
    return code == NGHTTP2_REFUSED_STREAM ? VF_UPSTREAM_REFUSED : VF_UPSTREAM_RESET;
}

void vf_h2_call_on_close(struct vf_h2_call *call, uint32_t code)
{
    call->is_closed = true;
    if (call->ex == NULL)
        vf_h2_call_bury(call);
    else if (!call->flow.input_ended)
        vf_h2_call_fail(call, failure_of(call, code),
                        call->fault.rule != NULL ? &call->fault : NULL);
    else if (call->was_told) /* it wants no more of the request */
        vf_h2_call_fail(call, VF_UPSTREAM_CUT, NULL);
}

void vf_h2_call_resume(struct vf_h2_call *call)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL || vf_client_is_blocked(ex))
        return;
    give_back(call, call->flow.unreturned);
    call->flow.unreturned = 0;
    if (call->flow.input_len > 0) {
        struct vf_net *net = &call->owner->proxy->net;
        struct vf_str input = vf_h2_flow_take_input(&call->flow, &net->buffered_bytes);
        deliver(call, input);
        vf_net_flush(net); /* slices point into it */
        free((char *)input.data);
    }
    if (call->ex == ex && call->flow.input_ended && call->flow.input_len == 0 &&
        !vf_client_is_blocked(ex))
        tell_end(call);
}

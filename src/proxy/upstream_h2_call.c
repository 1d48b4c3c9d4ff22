/* proxy/upstream_h2_call.c - a call: the backend of one exchange, a stream of HTTP/2. */
#include <stdlib.h>
#include <uv.h>

#include "http/h2_fields.h"
#include "proxy/account.h"
#include "proxy/downstream.h"
#include "proxy/phases.h"
#include "proxy/upstream_h2_link.h"

enum {
    FIRST_ROOM = 4096,
    MAX_INTERIM = 32 /* 1xx answers to one request */
};

static const struct vf_upstream_codec codec;

static struct vf_h2_call *call_of(const struct vf_exchange *ex)
{
    return (struct vf_h2_call *)ex->upstream;
}

/* --- Life --- */

static void set_timer(struct vf_h2_call *call, uint64_t delay_ms)
{
    vf_reactor_timer(call->owner->proxy->reactor, &call->timer, delay_ms);
}

static bool is_connecting(const struct vf_h2_call *call)
{
    return call->link != NULL && call->link->session == NULL;
}

static void reset(struct vf_h2_call *call, uint32_t code)
{
    if (call->link == NULL || call->is_closed || call->is_reset || call->id == 0)
        return;
    call->is_reset = true;
    nghttp2_submit_rst_stream(call->link->session, NGHTTP2_FLAG_NONE, call->id, code);
    vf_h2_link_pend(call->link);
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_h2_call *call =
        (struct vf_h2_call *)((char *)timer - offsetof(struct vf_h2_call, timer));
    struct vf_exchange *ex = call->ex;
    if (ex == NULL) { /* what is left of a request whose answer is complete */
        reset(call, NGHTTP2_CANCEL);
        return;
    }
    const struct vf_snap_policy *policy = ex->policy;
    bool is_moving = call->sent_bytes != call->sent_mark;
    call->sent_mark = call->sent_bytes;
    if (is_connecting(call))
        return; /* the connection's time counts */
    if (ex->response_state == VF_FLOW_BODY && vf_client_is_blocked(ex))
        set_timer(call, policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    else if (ex->request_state != VF_FLOW_DONE && ex->response_state <= VF_FLOW_HEAD &&
             (is_moving || !vf_upstream_is_blocked(ex)))
        set_timer(call, policy->value[VF_POLICY_RESPONSE_MS]); /* the client's turn */
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
    call->link = link;
    call->timer.on_fire = on_timer;
    call->ex = ex;
    call->next = link->calls;
    if (call->next != NULL)
        call->next->prev = call;
    link->calls = call;
    link->n_calls++;
    ex->upstream = &call->upstream;
    return call;
}

static void unlink_call(struct vf_h2_call *call)
{
    struct vf_h2_link *link = call->link;
    if (link == NULL)
        return;
    if (link->in_hand == call)
        link->in_hand = NULL;
    if (call->was_full)
        link->n_full--;
    call->was_full = false;
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        link->calls = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    call->next = call->prev = NULL;
    call->link = NULL;
    link->n_calls--;
    vf_h2_link_pend(link); /* it may rest now */
}

static void bury(struct vf_h2_call *call)
{
    if (call->is_dead)
        return;
    call->is_dead = true;
    unlink_call(call);
    vf_reactor_timer_stop(call->owner->proxy->reactor, &call->timer);
    call->next = call->owner->dead_calls;
    call->owner->dead_calls = call;
}

struct vf_exchange *vf_h2_call_detach(struct vf_h2_call *call)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL)
        return NULL;
    call->ex = NULL;
    ex->upstream = NULL;
    if (call->is_closed || call->id == 0 || call->link == NULL)
        bury(call);
    return ex;
}

void vf_h2_call_fail(struct vf_h2_call *call, enum vf_upstream_failure failure,
                     const struct vf_fault *fault)
{
    reset(call, fault != NULL ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_CANCEL);
    struct vf_exchange *ex = vf_h2_call_detach(call);
    if (ex != NULL && (!call->was_told || ex->answer_ended))
        vf_exchange_on_upstream_failed(ex, failure, fault); /* else the answer is complete */
}

void vf_h2_call_outlive(struct vf_h2_call *call)
{
    call->is_closed = true;
    unlink_call(call);
    if (call->ex == NULL)
        bury(call);
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
        struct vf_h2_call *call = upstreams->dead_calls;
        upstreams->dead_calls = call->next;
        unlink_resuming(call);
        upstreams->proxy->net.buffered_bytes -= call->kept_end - call->kept_begin;
        upstreams->proxy->net.buffered_bytes -= call->input_len;
        free(call->kept);
        free(call->input);
        free(call->trailers);
        free(call);
    }
}

/* --- Requests --- */

void vf_h2_call_start(struct vf_h2_call *call)
{
    struct vf_h2_link *link = call->link;
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = vf_h2_call_read_content};
    int32_t id = nghttp2_submit_request(link->session, NULL, call->fields, call->n_fields,
                                        call->has_content ? &provider : NULL, call);
    if (id < 0) {
        link->is_leaving = true; /* there are no more ids, or there is no memory */
        vf_h2_call_fail(call, VF_UPSTREAM_REFUSED, NULL);
        return;
    }
    call->id = id;
    if (call->ex != NULL)
        set_timer(call, call->ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_link_pend(link);
}

static void send_head(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    struct vf_head head = ex->request;
    bool is_secure = !vf_stream_is_plain(&call->link->up->stream);
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
    else if (call->link->session != NULL)
        vf_h2_call_start(call);
}

/* Keeps what did not become frames. Returns false without memory. */
static bool keep(struct vf_h2_call *call, struct vf_str slice)
{
    size_t used = call->kept_end - call->kept_begin;
    if (call->kept_end + slice.len > call->kept_room) {
        size_t room = used + slice.len < FIRST_ROOM ? FIRST_ROOM : (used + slice.len) * 2;
        if (call->link->has_lent)
            vf_stream_flush(&call->link->up->stream); /* slices may point into it */
        char *kept = malloc(room);
        if (kept == NULL)
            return false;
        if (used > 0)
            memcpy(kept, call->kept + call->kept_begin, used);
        free(call->kept);
        call->kept = kept;
        call->kept_room = room;
        call->kept_begin = 0;
        call->kept_end = used;
    }
    memcpy(call->kept + call->kept_end, slice.data, slice.len);
    call->kept_end += slice.len;
    call->owner->proxy->net.buffered_bytes += slice.len;
    return true;
}

/* Sends what windows and socket take at once. Returns false when the call ended by that. */
static bool send_now(struct vf_h2_call *call, struct vf_str *slice)
{
    struct vf_h2_link *link = call->link;
    struct vf_h2_call *before = link->in_hand;
    link->in_hand = call;
    call->slice = *slice;
    nghttp2_session_resume_data(link->session, call->id);
    vf_h2_link_pump(link);
    bool is_there = link->in_hand == call && call->link == link;
    link->in_hand = before;
    if (!is_there)
        return false;
    *slice = call->slice;
    call->slice = vf_str_make(NULL, 0);
    return true;
}

static void send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_h2_call *call = call_of(ex);
    struct vf_h2_link *link = call->link;
    if (slice.len == 0 || link == NULL || call->is_closed || call->is_reset || !call->has_content)
        return;
    if (call->id != 0 && link->depth == 0 && !vf_h2_call_has_kept(call) &&
        (!send_now(call, &slice) || slice.len == 0))
        return;
    if (!keep(call, slice)) {
        vf_h2_call_fail(call, VF_UPSTREAM_CUT, NULL);
        return;
    }
    link->n_full += !call->was_full;
    call->was_full = true;
    if (call->id != 0) {
        nghttp2_session_resume_data(link->session, call->id);
        vf_h2_link_pend(link);
    }
}

static void send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_h2_call *call = call_of(ex);
    ex->sent_ns = vf_proxy_now_ns(ex->proxy);
    if (call->link == NULL || call->has_ended)
        return;
    call->has_ended = true;
    if (call->has_content)
        call->n_trailers = vf_h2_copy_trailers(trailers, &call->trailers);
    if (call->id == 0)
        return;
    if (call->has_content)
        nghttp2_session_resume_data(call->link->session, call->id);
    if (ex->response_state == VF_FLOW_HEAD)
        set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_link_pend(call->link);
}

/* The rest of the request leaves when the backend takes it. */
static void finish(struct vf_exchange *ex)
{
    struct vf_h2_call *call = call_of(ex);
    set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
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
    return is_connecting(call) || (call->link != NULL && vf_h2_call_has_kept(call));
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
    reset(call, NGHTTP2_CANCEL);
    vf_h2_call_detach(call);
}

void vf_h2_call_on_drained(struct vf_h2_call *call)
{
    if (call->ex != NULL)
        vf_exchange_on_upstream_drained(call->ex);
}

/* --- Answers --- */

static struct vf_h1_limits limits_of(const struct vf_exchange *ex)
{
    return vf_proxy_head_limits(ex->snapshot, ex->listener);
}

static int add_trailer(struct vf_h2_call *call, struct vf_str name, struct vf_str value)
{
    struct vf_exchange *ex = call->ex;
    struct vf_h1_limits limits = limits_of(ex);
    call->trailer_bytes += name.len + value.len;
    if (ex->response.trailers.count >= limits.header_count ||
        call->trailer_bytes > limits.header_bytes)
        return 0; /* what is too much is not passed on */
    char *copy = vf_arena_alloc(&ex->arena, name.len + value.len + 1);
    if (copy == NULL)
        return UV_ENOMEM;
    memcpy(copy, name.data, name.len);
    if (value.len > 0)
        memcpy(copy + name.len, value.data, value.len);
    return vf_fields_add(&ex->response.trailers, &ex->arena, vf_str_make(copy, name.len),
                         vf_str_make(copy + name.len, value.len));
}

int vf_h2_call_on_field(struct vf_h2_call *call, struct vf_str name, struct vf_str value)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL || call->input_ended)
        return 0;
    if (call->has_head)
        return add_trailer(call, name, value);
    if (call->answer.head == NULL) {
        if (ex->first_byte_ns == 0)
            ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
        vf_h2_answer_begin(&call->answer, &ex->arena, &ex->response);
    }
    struct vf_h1_limits limits = limits_of(ex);
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
        set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    vf_exchange_on_response(ex);
}

/* Gives `len` bytes of the stream's window back; those of the connection's went at once, so that
 * one slow client does not stop the others. */
static void give_back(struct vf_h2_call *call, size_t len)
{
    if (len == 0 || call->link == NULL || call->is_closed)
        return;
    nghttp2_session_consume_stream(call->link->session, call->id, len);
    vf_h2_link_pend(call->link);
}

/* Hands content to the exchange. Its window is given back when the client takes more. */
static void deliver(struct vf_h2_call *call, struct vf_str slice)
{
    struct vf_exchange *ex = call->ex;
    vf_exchange_on_response_data(ex, slice);
    if (call->ex == ex && vf_client_is_blocked(ex)) {
        call->unreturned += slice.len;
        return;
    }
    give_back(call, slice.len + call->unreturned);
    call->unreturned = 0;
}

static bool keep_input(struct vf_h2_call *call, const char *data, size_t len)
{
    if (call->input_len + len > call->input_room) {
        size_t need = call->input_len + len;
        size_t room = need < FIRST_ROOM ? FIRST_ROOM : need * 2;
        char *input = realloc(call->input, room);
        if (input == NULL)
            return false;
        call->input = input;
        call->input_room = room;
    }
    memcpy(call->input + call->input_len, data, len);
    call->input_len += len;
    call->owner->proxy->net.buffered_bytes += len;
    return true;
}

void vf_h2_call_on_data(struct vf_h2_call *call, const char *data, size_t len)
{
    struct vf_exchange *ex = call->ex;
    if (ex == NULL) {
        give_back(call, len);
        return;
    }
    set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    if (call->input_len == 0 && !vf_client_is_blocked(ex))
        deliver(call, vf_str_make(data, len));
    else if (!keep_input(call, data, len))
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
        reset(call, NGHTTP2_CANCEL);
    set_timer(call, ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_h2_call_detach(call);
    vf_exchange_on_response_end(ex);
}

void vf_h2_call_on_end(struct vf_h2_call *call)
{
    call->input_ended = true;
    if (call->ex != NULL && call->input_len == 0 && !vf_client_is_blocked(call->ex))
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
        bury(call);
    else if (!call->input_ended)
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
    give_back(call, call->unreturned);
    call->unreturned = 0;
    if (call->input_len > 0) {
        struct vf_str slice = vf_str_make(call->input, call->input_len);
        char *input = call->input;
        call->owner->proxy->net.buffered_bytes -= call->input_len;
        call->input = NULL;
        call->input_len = call->input_room = 0;
        deliver(call, slice);
        vf_net_flush(&call->owner->proxy->net); /* slices point into it */
        free(input);
    }
    if (call->ex == ex && call->input_ended && call->input_len == 0 && !vf_client_is_blocked(ex))
        tell_end(call);
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

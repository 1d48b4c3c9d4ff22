/* proxy/upstream_h1_read.c - the answers of a backend that speaks HTTP/1.1: bytes to heads, content
 * and tunnels; large content goes from socket to socket. */
#include <stdlib.h>
#include <uv.h>

#include "base/error.h"
#include "net/splice.h"
#include "proxy/account.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/phases.h"
#include "proxy/upstream_h1.h"
#include "tls/transport.h"

enum {
    READS_PER_EVENT = 8,
    MAX_INTERIM = 32 /* 1xx answers to one request */
};

bool vf_upstream_h1_is_reusable(const struct vf_upstream_conn *up, size_t stray)
{
    const struct vf_exchange *ex = up->ex;
    return stray == 0 && ex->response.keep_alive && ex->response.framing != VF_FRAMING_CLOSE &&
           !up->stream.hung_up && !up->write_failed && ex->pool->proxy_protocol == 0 &&
           !up->proxy->draining;
}

/* The answer is complete; `stray` bytes came behind it. */
static void complete(struct vf_upstream_conn *up, size_t stray)
{
    uint64_t idle_ms = vf_policy_get(up->ex->policy, VF_POLICY_UPSTREAM_IDLE_MS);
    bool reusable = vf_upstream_h1_is_reusable(up, stray);
    if (stray > 0) {
        vf_count_add(&vf_upstream_counters(up)->malformed, 1);
        vf_log_warn(&up->proxy->log, "backend.stray_bytes", "backend_slot=%u bytes=%zu section=%s",
                    up->peer->slot, stray, "RFC 9112 section 9.2");
    }
    if (reusable && up->ex->request_state == VF_FLOW_BODY && !up->ex->close_client) {
        vf_exchange_on_response_end(up->ex); /* it goes on reading: vf_upstream_finish */
        return;
    }
    reusable =
        reusable && up->ex->request_state == VF_FLOW_DONE && vf_stream_pending(&up->stream) == 0;
    struct vf_exchange *ex = vf_upstream_h1_detach(up);
    if (reusable)
        vf_upstream_keep(up, idle_ms);
    else
        vf_upstream_close(up);
    vf_exchange_on_response_end(ex);
}

static void on_data(void *owner, struct vf_str slice)
{
    struct vf_exchange *ex = owner;
    if (ex->upstream != NULL)
        vf_exchange_on_response_data(ex, slice);
}

/* Reads one head of `head_len` bytes. Returns false when the connection ended. */
static bool read_head(struct vf_upstream_conn *up, const char *data, size_t head_len)
{
    struct vf_exchange *ex = up->ex;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    struct vf_fault fault;
    char *head = vf_arena_strndup(&ex->arena, data, head_len);
    int rc = head == NULL
                 ? UV_ENOMEM
                 : vf_h1_response(&ex->response_parser, &ex->arena, &limits, ex->request.method,
                                  head, head_len, &ex->response, &fault);
    if (rc == -1 || (rc == 0 && ex->response.status < 200 && ++up->n_interim > MAX_INTERIM)) {
        if (rc == 0)
            fault = (struct vf_fault){502, "malformed_response", "too many interim answers",
                                      "RFC 9110 section 15.2", 0};
        vf_upstream_h1_fail(up, VF_UPSTREAM_MALFORMED, &fault);
        return false;
    }
    if (rc < 0) {
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
        return false;
    }
    if (ex->first_byte_ns == 0)
        ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
    if (ex->response.status < 200 && ex->response.status != 101) {
        vf_exchange_on_interim(ex);
        return up->ex == ex;
    }
    up->n_interim = 0;
    vf_net_used_up(&up->proxy->net, data, data + head_len);
    ex->response_parser.owner = ex;
    ex->response_parser.on_data = on_data;
    ex->response_state = VF_FLOW_BODY;
    if (!ex->response_parser.is_done)
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    vf_exchange_on_response(ex);
    if (up->ex == ex && ex->is_tunnel)
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_TUNNEL_MS]);
    return up->ex == ex;
}

/* Judges an incomplete head. Returns true when it may still become one. */
static bool may_grow(struct vf_upstream_conn *up, const char *data, size_t len)
{
    const struct vf_exchange *ex = up->ex;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    struct vf_fault fault = {502, "malformed_response", "these bytes do not begin an answer",
                             "RFC 9112 section 4", 0};
    size_t known = len < 7 ? len : 7;
    if (memcmp(data, "HTTP/1.", known) == 0 && len < limits.header_bytes)
        return true;
    if (len >= limits.header_bytes)
        fault.rule = "the header section of the answer is larger than allowed";
    vf_upstream_h1_fail(up, VF_UPSTREAM_MALFORMED, &fault);
    return false;
}

static bool head_fits(struct vf_upstream_conn *up, size_t head_len)
{
    struct vf_fault fault = {502, "malformed_response", "the header section is larger than allowed",
                             "RFC 6585 section 5", head_len};
    if (head_len <= vf_proxy_head_limits(up->ex->snapshot, up->ex->listener).header_bytes)
        return true;
    vf_upstream_h1_fail(up, VF_UPSTREAM_MALFORMED, &fault);
    return false;
}

/* Works on `len` bytes. Returns how many were used; less: an incomplete head, or the end. */
static size_t feed(struct vf_upstream_conn *up, const char *data, size_t len)
{
    size_t used = 0;
    struct vf_exchange *ex = up->ex;
    if (ex->answer_ended) { /* nothing more was asked for */
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
        return len;
    }
    while (used < len && up->ex == ex && ex->response_state == VF_FLOW_HEAD) {
        size_t head_len = vf_h1_head_len(data + used, len - used, 0);
        if (head_len == 0) {
            if (may_grow(up, data + used, len - used) && ex->first_byte_ns == 0)
                ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
            return used;
        }
        if (!head_fits(up, head_len))
            return len;
        if (!read_head(up, data + used, head_len))
            return len;
        used += head_len;
    }
    if (up->ex != ex || ex->response_state == VF_FLOW_HEAD) /* ended, or an interim answer only */
        return len;
    if (vf_phases_hold_answer(ex)) {
        up->is_held = true;
        return used;
    }
    if (ex->is_tunnel) {
        if (used < len)
            vf_exchange_on_response_data(ex, vf_str_make(data + used, len - used));
        return len;
    }
    struct vf_fault fault;
    size_t body = 0;
    int rc = vf_h1_body(&ex->response_parser, data + used, len - used, &body, &fault);
    if (up->ex != ex)
        return len;
    if (rc < 0) {
        fault.status = 502;
        fault.code = "malformed_response";
        vf_upstream_h1_fail(up, rc == UV_ENOMEM ? VF_UPSTREAM_CUT : VF_UPSTREAM_MALFORMED, &fault);
    } else if (ex->response_parser.is_done) {
        complete(up, len - used - body);
    }
    return len;
}

static bool keep_input(struct vf_upstream_conn *up, const char *data, size_t len)
{
    if (len == 0) {
        free(up->input);
        up->input = NULL;
        up->input_len = up->input_room = 0;
        return true;
    }
    if (len > up->input_room) {
        char *input = malloc(len + 2048);
        if (input == NULL)
            return false;
        memcpy(input, data, len);
        free(up->input);
        up->input = input;
        up->input_room = len + 2048;
    } else {
        memmove(up->input, data, len);
    }
    up->input_len = len;
    return true;
}

/* Feeds new bytes behind those of an incomplete head. */
static void feed_joined(struct vf_upstream_conn *up, const char *data, size_t len)
{
    size_t total = up->input_len + len, used;
    char *joined = malloc(total);
    if (joined == NULL) {
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
        return;
    }
    memcpy(joined, up->input, up->input_len);
    memcpy(joined + up->input_len, data, len);
    used = feed(up, joined, total);
    vf_net_flush(&up->proxy->net); /* slices point into `joined` */
    if (up->ex != NULL && !up->is_dead && !keep_input(up, joined + used, total - used))
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
    else if (up->ex == NULL && !up->is_dead)
        keep_input(up, NULL, 0);
    free(joined);
}

static void feed_new(struct vf_upstream_conn *up, const char *data, size_t len)
{
    size_t used = feed(up, data, len);
    if (used < len && up->ex != NULL && !up->is_dead && !keep_input(up, data + used, len - used))
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
}

/* A phase lets the answer go on: what was read meanwhile comes first. */
static void feed_held(struct vf_upstream_conn *up)
{
    char *input = up->input;
    size_t len = up->input_len;
    up->is_held = false;
    up->input = NULL;
    up->input_len = up->input_room = 0;
    feed_new(up, input, len);
    vf_net_flush(&up->proxy->net); /* slices point into it */
    free(input);
}

/* Without a length, only close_notify tells that the answer is whole (RFC 9112 section 9.8). */
static bool is_cut(const struct vf_upstream_conn *up)
{
    return !vf_stream_is_plain(&up->stream) && vf_tls_was_cut(&up->stream);
}

static void on_end(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    if (ex->is_tunnel) {
        up->saw_eof = true;
        vf_exchange_on_response_end(ex);
    } else if (ex->response_state == VF_FLOW_BODY && !is_cut(up) &&
               vf_h1_finish(&ex->response_parser)) {
        complete(up, 0);
    } else if (ex->response_state == VF_FLOW_BODY) {
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
    } else {
        vf_upstream_h1_fail(up, ex->first_byte_ns != 0 ? VF_UPSTREAM_CUT : VF_UPSTREAM_CLOSED,
                            NULL);
    }
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_upstream_conn *up)
{
    char *data;
    ssize_t n = vf_stream_read(&up->stream, &data);
    if (up->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (up->ex == NULL) {
        if (n > 0)
            vf_count_add(&vf_upstream_counters(up)->malformed, 1);
        vf_upstream_close(up); /* end of file, or an answer that nobody asked for */
        return false;
    }
    if (n == VF_ETLS)
        vf_upstream_log_tls(up, up->ex);
    if (n <= 0 && (n == 0 || up->ex->response_state != VF_FLOW_BODY)) {
        on_end(up);
        return false;
    }
    if (n < 0) { /* a reset is no end of an answer, not even of one without a length */
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
        return false;
    }
    vf_count_add(&vf_upstream_counters(up)->bytes_in, (uint64_t)n);
    if (up->ex->is_tunnel)
        vf_upstream_set_timer(up, up->ex->policy->value[VF_POLICY_TUNNEL_MS]);
    else if (up->ex->response_state == VF_FLOW_BODY)
        vf_upstream_set_timer(up, up->ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    if (up->input_len > 0)
        feed_joined(up, data, (size_t)n);
    else
        feed_new(up, data, (size_t)n);
    return !up->is_dead && up->ex != NULL;
}

/* Large answers: from socket to socket through a pipe */

static bool wants_splice(const struct vf_upstream_conn *up)
{
    const struct vf_exchange *ex = up->ex;
    return up->splice != NULL ||
           (ex != NULL && ex->client != NULL && !ex->is_tunnel && !ex->chunk_answer &&
            !ex->filters_body && ex->response_state == VF_FLOW_BODY &&
            ex->response.framing == VF_FRAMING_LENGTH &&
            ex->response_parser.left >= VF_SPLICE_MIN_BYTES && vf_stream_is_plain(&up->stream) &&
            ex->client->codec->takes_raw_bytes && vf_stream_is_plain(&ex->client->conn->stream));
}

/* Sends what the pipe holds. Returns false when the exchange ended. */
static bool drain_pipe(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    struct vf_h1 *parser = &ex->response_parser;
    ssize_t moved = vf_splice_drain(up->splice, &ex->client->conn->stream, parser->left > 0);
    if (moved < 0) {
        vf_client_close(ex, "client_reset");
        return false;
    }
    vf_account_out(ex, (uint64_t)moved);
    if (up->splice->held > 0 || parser->left > 0)
        return true;
    vf_splice_give(&up->proxy->net, up->splice);
    up->splice = NULL;
    parser->is_done = true;
    complete(up, 0);
    return false;
}

/* Returns false when moving is over for this event. */
static bool splice_once(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    vf_net_flush(&up->proxy->net); /* the head, and what came with it, goes first */
    if (up->is_dead || up->ex != ex || vf_client_is_blocked(ex))
        return false;
    if (up->splice == NULL && (up->splice = vf_splice_take(&up->proxy->net)) == NULL)
        return read_once(up);
    if (ex->response_parser.left > 0) {
        ssize_t n = vf_splice_fill(up->splice, &up->stream, ex->response_parser.left);
        if (n == UV_EAGAIN)
            return false;
        if (n <= 0) {
            vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
            return false;
        }
        ex->response_parser.left -= (uint64_t)n;
        vf_count_add(&vf_upstream_counters(up)->bytes_in, (uint64_t)n);
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    }
    return drain_pipe(up) && !vf_client_is_blocked(ex);
}

void vf_upstream_h1_on_readable(struct vf_stream *stream)
{
    struct vf_upstream_conn *up = (struct vf_upstream_conn *)stream;
    if (up->is_dead || up->saw_eof)
        return;
    if (up->is_held && !vf_client_is_blocked(up->ex))
        feed_held(up);
    if (up->is_dead || up->ex == NULL ? up->is_dead : up->is_held)
        return;
    if (up->splice != NULL && up->splice->held > 0 &&
        (vf_client_is_blocked(up->ex) || !drain_pipe(up)))
        return;
    for (int i = 0; i < READS_PER_EVENT; i++) {
        if (!stream->readable ||
            (up->ex != NULL && vf_client_is_blocked(up->ex) && !stream->has_gathered))
            return;
        if (!(wants_splice(up) ? splice_once(up) : read_once(up)))
            return;
    }
    if (stream->readable)
        vf_stream_yield(stream);
}

bool vf_upstream_h1_will_read(const struct vf_stream *stream)
{
    const struct vf_upstream_conn *up = (const struct vf_upstream_conn *)stream;
    const struct vf_exchange *ex = up->ex;
    return ex != NULL && ex->response_state == VF_FLOW_HEAD && !ex->is_tunnel && !up->is_held &&
           !up->saw_eof && up->splice == NULL && !vf_client_is_blocked(ex);
}

/* proxy/upstream_h1.c - a backend that speaks HTTP/1.1: one exchange at a time on a connection. Its
 * answers are read by upstream_h1_read.c. */
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <uv.h>

#include "base/error.h"
#include "http/h1_write.h"
#include "net/resolver.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/upstream_h1.h"

static struct vf_upstream_conn *conn_of(const struct vf_exchange *ex)
{
    return (struct vf_upstream_conn *)((char *)ex->upstream -
                                       offsetof(struct vf_upstream_conn, upstream));
}

struct vf_exchange *vf_upstream_h1_detach(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    up->ex = NULL;
    if (ex != NULL)
        ex->upstream = NULL;
    return ex;
}

void vf_upstream_h1_fail(struct vf_upstream_conn *up, enum vf_upstream_failure failure,
                         const struct vf_fault *fault)
{
    struct vf_exchange *ex = up->ex;
    if (up->stream.connecting && up->peer->name != NULL)
        vf_name_failed(up->peer->name, up->address_tag);
    vf_upstream_close(up);
    if (ex == NULL)
        return;
    ex->upstream = NULL;
    vf_exchange_on_upstream_failed(ex, failure, fault);
}

/* Timers */

/* Nothing passed for the time that a tunnel may rest: nobody's fault. */
static void end_idle_tunnel(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = vf_upstream_h1_detach(up);
    vf_upstream_close(up);
    ex->reason = "tunnel_idle";
    vf_client_send_end(ex, NULL);
}

/* How much the backend has taken: the kernel's queue, which may hold megabytes, not counted. */
static uint64_t taken_bytes(const struct vf_upstream_conn *up)
{
    int queued = 0;
    ioctl(up->stream.io.fd, SIOCOUTQ, &queued);
    return up->stream.bytes_out - (uint64_t)queued;
}

/* Whether the request is still on its way: the backend takes what waits for it, however slowly; or
 * nothing waits, and it is the client's turn. */
static bool is_sending(struct vf_upstream_conn *up)
{
    uint64_t taken = taken_bytes(up);
    bool is_moving = taken != up->taken_mark;
    up->taken_mark = taken;
    return up->stream.blocked ? is_moving : up->ex->request_state != VF_FLOW_DONE;
}

static void on_exchange_timer(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    const struct vf_snap_policy *policy = ex->policy;
    if (up->stream.connecting)
        vf_upstream_h1_fail(up, VF_UPSTREAM_CONNECT_TIMEOUT, NULL);
    else if (ex->is_tunnel)
        end_idle_tunnel(up);
    else if (ex->response_state <= VF_FLOW_HEAD && is_sending(up))
        vf_upstream_set_timer(up, policy->value[VF_POLICY_RESPONSE_MS]);
    else if (ex->response_state == VF_FLOW_BODY && vf_client_is_blocked(ex))
        vf_upstream_set_timer(up, policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    else
        vf_upstream_h1_fail(up, VF_UPSTREAM_TIMEOUT, NULL);
}

void vf_upstream_on_timer(struct vf_timer *timer)
{
    struct vf_upstream_conn *up =
        (struct vf_upstream_conn *)((char *)timer - offsetof(struct vf_upstream_conn, timer));
    if (up->ex == NULL)
        vf_upstream_close(up);
    else
        on_exchange_timer(up);
}

static void on_connected(struct vf_stream *stream)
{
    struct vf_upstream_conn *up = (struct vf_upstream_conn *)stream;
    if (up->ex == NULL)
        return;
    up->ex->connected_ns = vf_proxy_now_ns(up->proxy);
    vf_upstream_set_timer(
        up, up->ex->policy->value[up->ex->is_tunnel ? VF_POLICY_TUNNEL_MS : VF_POLICY_RESPONSE_MS]);
    vf_exchange_on_connected(up->ex);
}

/* Requests */

static void send_head(struct vf_exchange *ex)
{
    struct vf_upstream_conn *up = conn_of(ex);
    struct vf_h1_framing_lines lines = {
        .length = ex->request.framing == VF_FRAMING_LENGTH ||
                  (ex->request.framing == VF_FRAMING_NONE && ex->request.has_content_length),
        .chunked = ex->request.framing == VF_FRAMING_CHUNKED,
        .connection = ex->request.te_trailers ? VF_H1_TRAILERS : VF_H1_PERSIST};
    if (ex->request.wants_upgrade)
        lines.connection = VF_H1_UPGRADE;
    ex->chunk_request = lines.chunked;
    ex->response_state = VF_FLOW_HEAD;
    /* what the client asked for, in ex->request, decides on its answer */
    struct vf_str method = ex->new_method.data != NULL ? ex->new_method : ex->request.method_name;
    struct vf_str text = vf_h1_write_request(&ex->arena, &ex->request, method, ex->forward_target,
                                             ex->forward_host, &lines);
    if (text.data == NULL) {
        vf_upstream_h1_fail(up, VF_UPSTREAM_CLOSED, NULL);
        return;
    }
    vf_stream_add(&up->stream, text);
    up->taken_mark = up->stream.bytes_out;
    if (!up->stream.connecting && ex->request_state != VF_FLOW_DONE) /* else send_end follows */
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_MS]);
}

static void send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_upstream_conn *up = conn_of(ex);
    struct vf_stream *stream = &up->stream;
    if (up->write_failed || slice.len == 0)
        return;
    if (ex->is_tunnel)
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_TUNNEL_MS]);
    if (!ex->chunk_request || ex->is_tunnel) {
        vf_stream_add(stream, slice);
        return;
    }
    char *line = vf_net_scratch(stream->net, VF_H1_CHUNK_LINE_BYTES);
    vf_stream_add(stream, vf_str_make(line, vf_h1_chunk_line(slice.len, line)));
    vf_stream_add(stream, slice);
    vf_stream_add(stream, VF_STR("\r\n"));
}

static void send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_upstream_conn *up = conn_of(ex);
    if (ex->chunk_request && !up->write_failed)
        vf_stream_add(&up->stream, vf_h1_write_last_chunk(&ex->arena, trailers));
    ex->sent_ns = vf_proxy_now_ns(ex->proxy);
    if (!up->stream.connecting && ex->response_state == VF_FLOW_HEAD)
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_MS]);
}

static void tunnel_end(struct vf_exchange *ex)
{
    vf_stream_shutdown(&conn_of(ex)->stream);
}

static bool is_blocked(const struct vf_exchange *ex)
{
    const struct vf_upstream_conn *up = conn_of(ex);
    return up->stream.blocked || up->stream.connecting;
}

static void resume(struct vf_exchange *ex)
{
    struct vf_upstream_conn *up = conn_of(ex);
    if (up->stream.readable || up->splice != NULL || up->is_held)
        vf_stream_yield(&up->stream);
}

static void abandon(struct vf_exchange *ex)
{
    struct vf_upstream_conn *up = conn_of(ex);
    ex->upstream = NULL;
    vf_upstream_close(up);
}

static void finish(struct vf_exchange *ex)
{
    struct vf_upstream_conn *up = conn_of(ex);
    uint64_t idle_ms = vf_policy_get(ex->policy, VF_POLICY_UPSTREAM_IDLE_MS);
    vf_stream_flush(&up->stream);
    if (up->is_dead || up->ex != ex)
        return;
    /* what may have come while a phase held the answer back was not read */
    bool reusable = vf_upstream_h1_is_reusable(up, 0) && vf_stream_pending(&up->stream) == 0 &&
                    !up->stream.readable;
    vf_upstream_h1_detach(up);
    if (reusable)
        vf_upstream_keep(up, idle_ms);
    else
        vf_upstream_close(up);
}

static void on_drained(struct vf_stream *stream)
{
    struct vf_upstream_conn *up = (struct vf_upstream_conn *)stream;
    struct vf_exchange *ex = up->ex;
    if (ex == NULL)
        return;
    if (ex->request_state == VF_FLOW_DONE && ex->response_state == VF_FLOW_HEAD)
        vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_MS]); /* from here on */
    vf_exchange_on_upstream_drained(ex);
}

/* A kept connection had closed and took no byte of the request: what is queued goes out on a fresh
 * one. Returns false when that is not possible. */
static bool send_elsewhere(struct vf_upstream_conn *up)
{
    struct vf_exchange *ex = up->ex;
    if (!ex->on_reused || ex->retried || up->stream.bytes_out != up->sent_mark || ex->is_tunnel)
        return false;
    ex->retried = true;
    if (vf_upstream_open(ex, true) < 0) {
        ex->upstream = &up->upstream;
        return false;
    }
    vf_stream_move_output(&up->stream, &conn_of(ex)->stream);
    up->ex = NULL;
    vf_upstream_close(up);
    return true;
}

static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_upstream_conn *up = (struct vf_upstream_conn *)stream;
    if (up->ex == NULL) {
        vf_upstream_close(up);
    } else if (stream->connecting) {
        if (error == VF_ETLS) {
            vf_upstream_log_tls(up, up->ex);
            up->ex->own_tls_failed = up->has_own_tls;
        }
        vf_upstream_h1_fail(up, VF_UPSTREAM_CONNECT, NULL);
    } else if (up->saw_eof) {
        vf_upstream_h1_fail(up, VF_UPSTREAM_CUT, NULL);
    } else if (!send_elsewhere(up)) {
        /* it may have answered before it closed: read that first */
        up->write_failed = true;
        stream->readable = true;
        vf_stream_yield(stream);
    }
}

const struct vf_stream_events vf_upstream_events = {
    .on_connected = on_connected,
    .on_readable = vf_upstream_h1_on_readable,
    .on_drained = on_drained,
    .on_failed = on_failed,
    .will_read = vf_upstream_h1_will_read,
    .rank = VF_IO_BACKEND,
};

const struct vf_upstream_codec vf_upstream_h1 = {.send_head = send_head,
                                                 .send_data = send_data,
                                                 .send_end = send_end,
                                                 .finish = finish,
                                                 .tunnel_end = tunnel_end,
                                                 .is_blocked = is_blocked,
                                                 .resume = resume,
                                                 .abandon = abandon};

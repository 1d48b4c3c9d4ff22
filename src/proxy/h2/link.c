#include "proxy/h2/link.h"

#include <stdlib.h>
#include <uv.h>

#include "base/error.h"
#include "net/resolver.h"
#include "proxy/account.h"
#include "proxy/h2/link_parts.h"

enum { READS_PER_EVENT = 8 };

/* --- Its end --- */

/* Those whose answer is complete keep what they have. */
static void fail_calls(struct vf_h2_link *link, enum vf_upstream_failure failure,
                       const struct vf_fault *fault)
{
    vf_h2_wire_enter(&link->wire); /* it stays in memory */
    while (link->wire.flows != NULL) {
        struct vf_h2_call *call = vf_h2_call_of(link->wire.flows);
        bool has_begun = call->ex != NULL && call->ex->first_byte_ns != 0;
        enum vf_upstream_failure how =
            failure == VF_UPSTREAM_CLOSED && has_begun ? VF_UPSTREAM_CUT : failure;
        bool is_complete = call->flow.input_ended && !call->was_told;
        vf_h2_call_outlive(call);
        if (!is_complete && call->ex != NULL)
            vf_h2_call_fail(call, how, fault);
    }
    vf_h2_wire_leave(&link->wire);
}

void vf_h2_link_fail(struct vf_h2_link *link, enum vf_upstream_failure failure,
                     const struct vf_fault *fault)
{
    if (link->up->is_dead)
        return;
    if (link->up->stream.connecting && link->up->peer->name != NULL)
        vf_name_failed(link->up->peer->name, link->up->address_tag);
    vf_upstream_close(link->up);
    fail_calls(link, failure, fault);
}

void vf_h2_link_closed(struct vf_h2_link *link)
{
    vf_h2_links_count(link, false);
    vf_h2_links_remove(link);
    link->is_leaving = true;
}

bool vf_h2_link_free(struct vf_h2_link *link)
{
    if (link->wire.depth > 0)
        return false;
    vf_h2_wire_deinit(&link->wire);
    free(link);
    return true;
}

void vf_h2_links_close(struct vf_peer *peer, bool all)
{
    struct vf_h2_link *link = peer->links, *next;
    for (; link != NULL; link = next) {
        next = link->next;
        link->is_leaving = true;
        if (all || link->is_idle)
            vf_h2_link_fail(link, VF_UPSTREAM_CUT, NULL);
    }
}

/* Says why, as far as the socket takes it, and ends. */
static void terminate(struct vf_h2_link *link, uint32_t code, enum vf_upstream_failure failure,
                      const struct vf_fault *fault)
{
    if (link->wire.session != NULL && link->wire.depth == 0) {
        nghttp2_session_terminate_session(link->wire.session, code);
        vf_h2_wire_pump(&link->wire);
        if (!link->up->is_dead)
            vf_stream_flush(&link->up->stream);
    }
    vf_h2_link_fail(link, failure, fault);
}

/* Nobody calls any more: it is kept, or closed. */
static void rest(struct vf_h2_link *link)
{
    struct vf_peer *peer = link->up->peer;
    if (link->wire.session == NULL || link->is_leaving || link->is_private ||
        !vf_peer_may_keep(peer)) {
        terminate(link, NGHTTP2_NO_ERROR, VF_UPSTREAM_CUT, NULL);
        return;
    }
    vf_h2_links_count(link, true);
    vf_upstream_set_timer(link->up, link->idle_ms);
    vf_peer_bound_kept(peer);
}

/* --- Events --- */

static struct vf_h2_link *link_of(struct vf_stream *stream)
{
    return ((struct vf_upstream_conn *)stream)->h2;
}

/* Silence, with calls: is the backend still there? */
static void check_peer(struct vf_h2_link *link)
{
    switch (vf_h2_wire_pulse(&link->wire)) {
    case VF_H2_HEARD:
        vf_upstream_set_timer(link->up, link->idle_ms);
        break;
    case VF_H2_ASKED:
        vf_h2_link_pend(link);
        vf_upstream_set_timer(link->up, link->connect_ms);
        break;
    case VF_H2_SILENT:
        vf_h2_link_fail(link, VF_UPSTREAM_TIMEOUT, NULL);
        break;
    }
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_upstream_conn *up =
        (struct vf_upstream_conn *)((char *)timer - offsetof(struct vf_upstream_conn, timer));
    struct vf_h2_link *link = up->h2;
    if (link->wire.session == NULL)
        vf_h2_link_fail(link, VF_UPSTREAM_CONNECT_TIMEOUT, NULL);
    else if (link->wire.n_flows == 0)
        terminate(link, NGHTTP2_NO_ERROR, VF_UPSTREAM_CUT, NULL);
    else if (!link->is_greeted)
        terminate(link, NGHTTP2_SETTINGS_TIMEOUT, VF_UPSTREAM_TIMEOUT, NULL);
    else
        check_peer(link);
}

static void on_connected(struct vf_stream *stream)
{
    struct vf_h2_link *link = link_of(stream);
    if (vf_h2_link_start(link) < 0)
        vf_h2_link_fail(link, VF_UPSTREAM_CONNECT, NULL);
}

/* nghttp2 has given up, and has told the backend why. */
static bool is_over(const struct vf_h2_link *link)
{
    return link->wire.session != NULL && nghttp2_session_want_read(link->wire.session) == 0 &&
           (link->fault != NULL || link->wire.n_flows > 0);
}

static void fail_malformed(struct vf_h2_link *link)
{
    struct vf_fault fault = {502, "malformed_response",
                             link->fault != NULL ? link->fault : "frames that break HTTP/2",
                             "RFC 9113 section 5.4.1", 0};
    terminate(link, NGHTTP2_PROTOCOL_ERROR, VF_UPSTREAM_MALFORMED, &fault);
}

static void fail_flood(struct vf_h2_link *link, const char *word)
{
    struct vf_fault fault = {502, "malformed_response", word, "RFC 9113 section 10.5", 0};
    vf_count_add(&vf_upstream_counters(link->up)->h2_floods, 1);
    vf_log_warn(&link->proxy->log, "backend.flood", "backend_slot=%u kind=%s", link->up->peer->slot,
                word);
    terminate(link, NGHTTP2_ENHANCE_YOUR_CALM, VF_UPSTREAM_MALFORMED, &fault);
}

static void feed(struct vf_h2_link *link, const char *data, size_t len)
{
    const char *flood;
    vf_count_add(&vf_upstream_counters(link->up)->bytes_in, len);
    int rc = vf_h2_wire_recv(&link->wire, data, len, vf_proxy_now_ns(link->proxy), &flood);
    if (flood != NULL) {
        fail_flood(link, flood);
        return;
    }
    if (link->up->is_dead)
        return;
    vf_h2_link_pend(link);
    if (rc < 0)
        fail_malformed(link);
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_h2_link *link)
{
    char *data;
    ssize_t n = vf_stream_read(&link->up->stream, &data);
    if (link->up->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (n == VF_ETLS && link->wire.flows != NULL)
        vf_upstream_log_tls(link->up, vf_h2_link_exchange(link));
    if (n <= 0 || link->wire.session == NULL) {
        vf_h2_link_fail(link, VF_UPSTREAM_CLOSED, NULL);
        return false;
    }
    feed(link, data, (size_t)n);
    return !link->up->is_dead;
}

static void on_readable(struct vf_stream *stream)
{
    struct vf_h2_link *link = link_of(stream);
    if (link->up->is_dead)
        return;
    for (int i = 0; i < READS_PER_EVENT && stream->readable; i++)
        if (!read_once(link))
            return;
    if (stream->readable)
        vf_stream_yield(stream);
}

static void on_drained(struct vf_stream *stream)
{
    vf_h2_link_pend(link_of(stream));
}

static void note_tls_failure(struct vf_h2_link *link)
{
    if (link->wire.flows != NULL)
        vf_upstream_log_tls(link->up, vf_h2_link_exchange(link));
    for (struct vf_h2_flow *flow = link->wire.flows; flow != NULL; flow = flow->next)
        vf_h2_call_of(flow)->ex->own_tls_failed = link->up->has_own_tls;
}

static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_h2_link *link = link_of(stream);
    if (link->up->is_dead)
        return;
    if (stream->connecting) {
        if (error == VF_ETLS)
            note_tls_failure(link);
        vf_h2_link_fail(link, VF_UPSTREAM_CONNECT, NULL);
        return;
    }
    link->wire.is_broken = true; /* it may have answered before it closed: read that first */
    stream->readable = true;
    vf_stream_yield(stream);
}

static const struct vf_stream_events events = {.on_connected = on_connected,
                                               .on_readable = on_readable,
                                               .on_drained = on_drained,
                                               .on_failed = on_failed,
                                               .rank = VF_IO_BACKEND};

static void pend(struct vf_h2_wire *wire)
{
    vf_h2_link_pend((struct vf_h2_link *)wire);
}

static void on_room(struct vf_h2_flow *flow)
{
    vf_h2_call_on_drained(vf_h2_call_of(flow));
}

static void on_out_of_memory(struct vf_h2_wire *wire)
{
    vf_h2_link_fail((struct vf_h2_link *)wire, VF_UPSTREAM_CUT, NULL);
}

static const struct vf_h2_wire_ops ops = {.is_client = true,
                                          .listen = vf_h2_link_listen,
                                          .pend = pend,
                                          .on_room = on_room,
                                          .on_out_of_memory = on_out_of_memory};

/* --- Calls --- */

struct vf_h2_link *vf_h2_link_new(struct vf_upstream_conn *up, const struct vf_exchange *ex,
                                  bool may_fall_back, bool is_private)
{
    struct vf_h2_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->wire.ops = &ops;
    link->wire.stream = &up->stream;
    link->up = up;
    link->proxy = up->proxy;
    link->may_fall_back = may_fall_back;
    link->is_private = is_private;
    vf_h2_guard_init_backend(&link->wire.guard);
    link->connect_ms = ex->policy->value[VF_POLICY_CONNECT_MS];
    up->h2 = link;
    up->stream.events = &events;
    up->timer.on_fire = on_timer;
    vf_h2_links_add(link);
    return link;
}

int vf_h2_link_call(struct vf_h2_link *link, struct vf_exchange *ex)
{
    bool is_new = link->wire.n_flows == 0 && !link->is_idle;
    struct vf_h2_call *call = vf_h2_call_new(link, ex);
    if (call == NULL)
        return UV_ENOMEM;
    link->connect_ms = ex->policy->value[VF_POLICY_CONNECT_MS];
    link->idle_ms = vf_policy_get(ex->policy, VF_POLICY_UPSTREAM_IDLE_MS);
    vf_h2_links_count(link, false);
    ex->on_reused = link->wire.session != NULL;
    ex->connect_ns = vf_proxy_now_ns(link->proxy);
    if (link->wire.session != NULL)
        ex->connected_ns = ex->connect_ns;
    if (!is_new)
        vf_count_add(&vf_upstream_counters(link->up)->reused, 1);
    return 0;
}

void vf_h2_links_flush(struct vf_upstreams *upstreams)
{
    while (upstreams->resuming != NULL) {
        struct vf_h2_call *call = upstreams->resuming;
        upstreams->resuming = call->next_resuming;
        call->wants_resume = false;
        vf_h2_call_resume(call);
    }
    while (upstreams->pending_links != NULL) {
        struct vf_h2_link *link = upstreams->pending_links;
        upstreams->pending_links = link->next_pending;
        link->is_pending = false;
        vf_h2_wire_pump(&link->wire);
        if (!link->up->is_dead && is_over(link))
            fail_malformed(link);
        else if (!link->up->is_dead && link->wire.n_flows == 0 && !link->is_idle)
            rest(link);
    }
}

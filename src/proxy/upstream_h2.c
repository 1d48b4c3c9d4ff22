#include "proxy/upstream_h2.h"

#include <stdlib.h>
#include <uv.h>

#include "base/error.h"
#include "net/resolver.h"
#include "proxy/account.h"
#include "proxy/upstream_h2_link.h"
#include "tls/transport.h"

enum {
    READS_PER_EVENT = 8,
    FIRST_CALLS = 100,               /* until the backend first says how many it takes at once */
    MOST_CALLS = 1000,               /* more are spread over connections */
    STREAM_WINDOW = 256 * 1024,      /* content that may wait for one client */
    CONNECTION_WINDOW = 1024 * 1024, /* given back at once: bounds what is on its way */
    LAST_ID = 1 << 30                /* a connection is replaced long before ids are used up */
};

/* --- Which there are --- */

static void count_idle(struct vf_h2_link *link, bool is_idle)
{
    if (link->is_idle == is_idle)
        return;
    link->is_idle = is_idle;
    link->up->stream.io.rank = is_idle ? VF_IO_FIRST : VF_IO_BACKEND;
    vf_peer_kept_one(link->up->peer, is_idle ? 1 : -1);
    vf_peer_show(link->up->peer);
}

void vf_h2_link_set_timer(struct vf_h2_link *link, uint64_t delay_ms)
{
    vf_upstream_set_timer(link->up, delay_ms);
}

static uint32_t most_calls(const struct vf_h2_link *link)
{
    if (link->is_private)
        return 1;
    struct vf_peer *peer = link->up->peer;
    if (link->is_greeted)
        peer->most_calls = nghttp2_session_get_remote_settings(
            link->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    else if (peer->most_calls == 0)
        return FIRST_CALLS;
    return peer->most_calls < MOST_CALLS ? peer->most_calls : MOST_CALLS;
}

static bool has_tls(const struct vf_h2_link *link, uint64_t tls_id, bool is_own)
{
    return link->up->tls_id == tls_id && link->up->has_own_tls == is_own;
}

static bool has_room(struct vf_h2_link *link, uint64_t tls_id, bool is_own)
{
    bool fits = has_tls(link, tls_id, is_own);
    if (!fits && !is_own && !link->up->has_own_tls) /* not what the pool wants by now */
        link->is_leaving = true;
    if (link->session != NULL && !nghttp2_session_check_request_allowed(link->session))
        link->is_leaving = true; /* it ends, or ids are used up */
    return fits && !link->is_leaving && !link->is_broken && !link->is_private &&
           !link->up->stream.hung_up && link->n_calls < most_calls(link);
}

struct vf_h2_link *vf_h2_link_find(struct vf_peer *peer, uint64_t tls_id, bool is_own)
{
    struct vf_h2_link *link = peer->links, *next;
    for (; link != NULL; link = next) {
        next = link->next;
        if (has_room(link, tls_id, is_own))
            return link;
        if (link->is_idle && link->is_leaving)
            vf_upstream_close(link->up);
    }
    return NULL;
}

static void unlink_link(struct vf_h2_link *link)
{
    struct vf_h2_link **at = &link->up->peer->links;
    while (*at != NULL && *at != link)
        at = &(*at)->next;
    if (*at != NULL)
        *at = link->next;
    struct vf_h2_link **pending = &link->up->owner->pending_links;
    while (link->is_pending && *pending != link)
        pending = &(*pending)->next_pending;
    if (link->is_pending)
        *pending = link->next_pending;
    link->is_pending = false;
}

void vf_h2_link_closed(struct vf_h2_link *link)
{
    count_idle(link, false);
    unlink_link(link);
    link->is_leaving = true;
}

bool vf_h2_link_free(struct vf_h2_link *link)
{
    if (link->depth > 0)
        return false;
    nghttp2_session_del(link->session);
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

bool vf_h2_links_drop_one(struct vf_peer *peer)
{
    for (struct vf_h2_link *link = peer->links; link != NULL; link = link->next)
        if (link->is_idle) {
            vf_upstream_close(link->up);
            return true;
        }
    return false;
}

/* --- Its end --- */

/* Those whose answer is complete keep what they have. */
static void fail_calls(struct vf_h2_link *link, enum vf_upstream_failure failure,
                       const struct vf_fault *fault)
{
    link->depth++; /* it stays in memory */
    while (link->calls != NULL) {
        struct vf_h2_call *call = link->calls;
        bool has_begun = call->ex != NULL && call->ex->first_byte_ns != 0;
        enum vf_upstream_failure how =
            failure == VF_UPSTREAM_CLOSED && has_begun ? VF_UPSTREAM_CUT : failure;
        bool is_complete = call->input_ended && !call->was_told;
        vf_h2_call_outlive(call);
        if (!is_complete && call->ex != NULL)
            vf_h2_call_fail(call, how, fault);
    }
    link->depth--;
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

/* Says why, as far as the socket takes it, and ends. */
static void terminate(struct vf_h2_link *link, uint32_t code, enum vf_upstream_failure failure,
                      const struct vf_fault *fault)
{
    if (link->session != NULL && link->depth == 0) {
        nghttp2_session_terminate_session(link->session, code);
        vf_h2_link_pump(link);
        if (!link->up->is_dead)
            vf_stream_flush(&link->up->stream);
    }
    vf_h2_link_fail(link, failure, fault);
}

void vf_h2_link_rest(struct vf_h2_link *link)
{
    struct vf_peer *peer = link->up->peer;
    if (link->session == NULL || link->is_leaving || link->is_private || !vf_peer_may_keep(peer)) {
        terminate(link, NGHTTP2_NO_ERROR, VF_UPSTREAM_CUT, NULL);
        return;
    }
    count_idle(link, true);
    vf_h2_link_set_timer(link, link->idle_ms);
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
    if (link->was_heard) {
        link->was_heard = link->was_pinged = false;
        vf_h2_link_set_timer(link, link->idle_ms);
    } else if (!link->was_pinged) {
        link->was_pinged = true;
        nghttp2_submit_ping(link->session, NGHTTP2_FLAG_NONE, NULL);
        vf_h2_link_pend(link);
        vf_h2_link_set_timer(link, link->connect_ms);
    } else {
        vf_h2_link_fail(link, VF_UPSTREAM_TIMEOUT, NULL);
    }
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_upstream_conn *up =
        (struct vf_upstream_conn *)((char *)timer - offsetof(struct vf_upstream_conn, timer));
    struct vf_h2_link *link = up->h2;
    if (link->session == NULL)
        vf_h2_link_fail(link, VF_UPSTREAM_CONNECT_TIMEOUT, NULL);
    else if (link->n_calls == 0)
        terminate(link, NGHTTP2_NO_ERROR, VF_UPSTREAM_CUT, NULL);
    else if (!link->is_greeted)
        terminate(link, NGHTTP2_SETTINGS_TIMEOUT, VF_UPSTREAM_TIMEOUT, NULL);
    else
        check_peer(link);
}

static int greet(struct vf_h2_link *link)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    int rc = vf_h2_link_make_session(link);
    if (rc == 0)
        rc = nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0,
                                                   CONNECTION_WINDOW);
    return rc == 0 ? 0 : UV_ENOMEM;
}

static void log_other_protocol(struct vf_h2_link *link, const char *alpn)
{
    const struct vf_exchange *ex = link->calls != NULL ? link->calls->ex : NULL;
    if (ex == NULL)
        return;
    struct vf_str address =
        ex->has_target ? ex->target_text : vf_snap_str(ex->snapshot, ex->backend->address_text);
    vf_log_warn(&link->proxy->log, "backend.no_h2", "backend=%.*s alpn=%s", (int)address.len,
                address.data, alpn);
}

/* The exchange's request goes out on a connection of HTTP/1.1. */
static void ask_h1(struct vf_exchange *ex, struct vf_h2_call *call)
{
    vf_upstream_send_head(ex);
    if (ex->upstream != NULL && vf_h2_call_has_kept(call))
        vf_upstream_send_data(
            ex, vf_str_make(call->kept + call->kept_begin, call->kept_end - call->kept_begin));
    if (ex->upstream != NULL && call->has_ended)
        vf_upstream_send_end(ex, &ex->request.trailers);
}

/* The backend does not speak HTTP/2 after all: the first exchange gets the connection, the others
 * ones of their own. */
static void fall_back(struct vf_h2_link *link)
{
    struct vf_upstream_conn *up = link->up;
    struct vf_h2_call *call;
    up->peer->speaks_h1 = true;
    unlink_link(link);
    up->h2 = NULL;
    up->stream.events = &vf_upstream_events;
    up->timer.on_fire = vf_upstream_on_timer;
    struct vf_exchange *first = NULL;
    while ((call = link->calls) != NULL) {
        struct vf_exchange *ex = vf_h2_call_detach(call);
        if (first == NULL) {
            first = up->ex = ex;
            ex->upstream = &up->upstream;
        } else if (vf_upstream_open(ex, true) < 0) {
            vf_exchange_on_upstream_failed(ex, VF_UPSTREAM_CONNECT, NULL);
            continue;
        }
        ask_h1(ex, call);
    }
    unlink_link(link); /* it has become pending */
    free(link);
    if (first == NULL)
        vf_upstream_close(up);
    else if (up->ex == first)
        vf_upstream_events.on_connected(&up->stream);
}

static void begin_calls(struct vf_h2_link *link)
{
    uint64_t now_ns = vf_proxy_now_ns(link->proxy);
    struct vf_h2_call *call;
    do { /* what a start, or an exchange that goes on, does may end others */
        for (call = link->calls; call != NULL && (call->id != 0 || call->n_fields == 0);)
            call = call->next;
        if (call == NULL)
            return;
        struct vf_exchange *ex = call->ex;
        ex->connected_ns = now_ns;
        vf_h2_call_start(call);
        if (call->ex == ex)
            vf_exchange_on_connected(ex);
    } while (!link->up->is_dead);
}

static void on_connected(struct vf_stream *stream)
{
    struct vf_h2_link *link = link_of(stream);
    if (!vf_stream_is_plain(stream)) {
        struct vf_tls_info info;
        vf_tls_info(stream, &info);
        if (strcmp(info.alpn, "h2") != 0 && link->may_fall_back) {
            fall_back(link);
            return;
        }
        if (strcmp(info.alpn, "h2") != 0) {
            log_other_protocol(link, info.alpn);
            vf_h2_link_fail(link, VF_UPSTREAM_CONNECT, NULL);
            return;
        }
    }
    if (greet(link) < 0) {
        vf_h2_link_fail(link, VF_UPSTREAM_CONNECT, NULL);
        return;
    }
    vf_h2_link_set_timer(link, link->connect_ms); /* for its SETTINGS */
    begin_calls(link);
    vf_h2_link_pend(link);
}

/* nghttp2 has given up, and has told the backend why. */
static bool is_over(const struct vf_h2_link *link)
{
    return link->session != NULL && nghttp2_session_want_read(link->session) == 0 &&
           (link->fault != NULL || link->n_calls > 0);
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
    const char *flood = vf_h2_guard_scan(&link->guard, data, len, vf_proxy_now_ns(link->proxy));
    link->was_heard = true;
    vf_count_add(&vf_upstream_counters(link->up)->bytes_in, len);
    if (flood != NULL) {
        fail_flood(link, flood);
        return;
    }
    link->depth++;
    ssize_t n = nghttp2_session_mem_recv(link->session, (const uint8_t *)data, len);
    link->depth--;
    if (link->up->is_dead)
        return;
    vf_h2_link_pend(link);
    if (n < 0)
        fail_malformed(link);
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_h2_link *link)
{
    char *data;
    ssize_t n = vf_stream_read(&link->up->stream, &data);
    if (link->up->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (n == VF_ETLS && link->calls != NULL)
        vf_upstream_log_tls(link->up, link->calls->ex);
    if (n <= 0 || link->session == NULL) {
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
    if (link->calls != NULL)
        vf_upstream_log_tls(link->up, link->calls->ex);
    for (struct vf_h2_call *call = link->calls; call != NULL; call = call->next)
        call->ex->own_tls_failed = link->up->has_own_tls;
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
    link->is_broken = true; /* it may have answered before it closed: read that first */
    stream->readable = true;
    vf_stream_yield(stream);
}

static const struct vf_stream_events events = {.on_connected = on_connected,
                                               .on_readable = on_readable,
                                               .on_drained = on_drained,
                                               .on_failed = on_failed,
                                               .rank = VF_IO_BACKEND};

/* --- Calls --- */

struct vf_h2_link *vf_h2_link_new(struct vf_upstream_conn *up, const struct vf_exchange *ex,
                                  bool may_fall_back, bool is_private)
{
    struct vf_h2_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->up = up;
    link->proxy = up->proxy;
    link->may_fall_back = may_fall_back;
    link->is_private = is_private;
    vf_h2_guard_init_backend(&link->guard);
    link->connect_ms = ex->policy->value[VF_POLICY_CONNECT_MS];
    up->h2 = link;
    up->stream.events = &events;
    up->timer.on_fire = on_timer;
    struct vf_h2_link **at = &up->peer->links;
    while (*at != NULL)
        at = &(*at)->next;
    *at = link;
    return link;
}

int vf_h2_link_call(struct vf_h2_link *link, struct vf_exchange *ex)
{
    bool is_new = link->n_calls == 0 && !link->is_idle;
    struct vf_h2_call *call = vf_h2_call_new(link, ex);
    if (call == NULL)
        return UV_ENOMEM;
    link->connect_ms = ex->policy->value[VF_POLICY_CONNECT_MS];
    link->idle_ms = vf_policy_get(ex->policy, VF_POLICY_UPSTREAM_IDLE_MS);
    count_idle(link, false);
    ex->on_reused = link->session != NULL;
    ex->connect_ns = vf_proxy_now_ns(link->proxy);
    if (link->session != NULL)
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
        vf_h2_link_pump(link);
        if (!link->up->is_dead && is_over(link))
            fail_malformed(link);
        else if (!link->up->is_dead && link->n_calls == 0 && !link->is_idle)
            vf_h2_link_rest(link);
    }
}

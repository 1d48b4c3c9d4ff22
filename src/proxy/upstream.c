#define _GNU_SOURCE
#include "proxy/upstream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/h1_write.h"
#include "net/proxy_protocol.h"
#include "net/resolver.h"
#include "proxy/core.h"
#include "proxy/downstream.h"

enum {
    READS_PER_EVENT = 8,
    SPARE_CONNECTIONS = 64,
    MAX_INTERIM = 32 /* 1xx answers to one request */
};

/* A backend as this process knows it, whatever the snapshot. */
struct vf_peer {
    uint64_t id;
    uint32_t slot;
    uint32_t seen;            /* publication in which it was there last */
    uint32_t n_open, n_idle;
    struct vf_upstream *idle, *idle_tail; /* newest first */
    struct vf_name *name;     /* NULL: a literal address */
    struct vf_peer *next;     /* in its bucket */
};

struct vf_upstream {
    struct vf_stream stream; /* first member */
    struct vf_upstreams *owner;
    struct vf_peer *peer;
    struct vf_exchange *ex;           /* served now, or NULL: idle */
    struct vf_upstream *next, *prev;  /* among the peer's idle ones */
    struct vf_timer timer;
    char *input; /* incomplete head; NULL: none */
    size_t input_len, input_room;
    uint32_t n_exchanges;
    uint32_t n_interim;
    uint64_t sent_mark; /* stream.bytes_out when the exchange began */
    bool write_failed; /* what the backend answered before is still read */
    bool saw_eof;      /* of a tunnel */
    bool is_dead;
};

enum { BUCKETS = 4096 };

struct vf_upstreams {
    struct vf_proxy *proxy;
    struct vf_peer *buckets[BUCKETS];
    struct vf_upstream *dead, *spare;
    unsigned n_spare;
    uint32_t publication;
};

static void on_connected(struct vf_stream *stream);
static void on_readable(struct vf_stream *stream);
static void on_drained(struct vf_stream *stream);
static void on_failed(struct vf_stream *stream, int error);

static const struct vf_stream_events stream_events = {.on_connected = on_connected,
                                                      .on_readable = on_readable,
                                                      .on_drained = on_drained,
                                                      .on_failed = on_failed};

/* Peers */

static struct vf_peer **bucket_of(struct vf_upstreams *upstreams, uint64_t id)
{
    return &upstreams->buckets[(id ^ id >> 32) & (BUCKETS - 1)];
}

static struct vf_peer *find_peer(struct vf_upstreams *upstreams, uint64_t id)
{
    struct vf_peer *peer = *bucket_of(upstreams, id);
    while (peer != NULL && peer->id != id)
        peer = peer->next;
    return peer;
}

static struct vf_peer *add_peer(struct vf_upstreams *upstreams, struct vf_snapshot *snapshot,
                                const struct vf_snap_backend *backend)
{
    struct vf_peer *peer = find_peer(upstreams, backend->id);
    if (peer != NULL) {
        peer->slot = backend->slot;
        return peer;
    }
    if ((peer = calloc(1, sizeof(*peer))) == NULL)
        return NULL;
    peer->id = backend->id;
    peer->slot = backend->slot;
    if (backend->address.family == VF_FAMILY_NONE &&
        vf_resolver_watch(upstreams->proxy->resolver, vf_snap_str(snapshot, backend->host),
                          backend->address.port, NULL, NULL, &peer->name) < 0)
        vf_log_warn(&upstreams->proxy->log, "backend.not_watched", "backend=%.*s",
                    (int)backend->address_text.len, vf_snap_str(snapshot, backend->address_text).data);
    struct vf_peer **bucket = bucket_of(upstreams, backend->id);
    peer->next = *bucket;
    *bucket = peer;
    return peer;
}

static struct vf_state_backend *counters(struct vf_upstream *up)
{
    return &up->owner->proxy->block->backends[up->peer->slot];
}

static void show_gauges(struct vf_upstreams *upstreams, struct vf_peer *peer)
{
    struct vf_state_backend *shown = &upstreams->proxy->block->backends[peer->slot];
    atomic_store_explicit(&shown->idle, peer->n_idle, memory_order_relaxed);
    atomic_store_explicit(&shown->open, peer->n_open, memory_order_relaxed);
}

/* Kept connections */

static void link_idle(struct vf_upstream *up)
{
    struct vf_peer *peer = up->peer;
    up->prev = NULL;
    up->next = peer->idle;
    if (peer->idle != NULL)
        peer->idle->prev = up;
    else
        peer->idle_tail = up;
    peer->idle = up;
    peer->n_idle++;
}

static void unlink_idle(struct vf_upstream *up)
{
    struct vf_peer *peer = up->peer;
    if (up->prev != NULL)
        up->prev->next = up->next;
    else
        peer->idle = up->next;
    if (up->next != NULL)
        up->next->prev = up->prev;
    else
        peer->idle_tail = up->prev;
    peer->n_idle--;
}

static void set_timer(struct vf_upstream *up, uint64_t delay_ms)
{
    vf_reactor_timer(up->owner->proxy->reactor, &up->timer, delay_ms);
}

/* Closes the socket; the memory goes after the event. The exchange is the caller's business. */
static void close_now(struct vf_upstream *up)
{
    struct vf_upstreams *upstreams = up->owner;
    if (up->is_dead)
        return;
    up->is_dead = true;
    if (up->ex == NULL && up->n_exchanges > 0)
        unlink_idle(up);
    up->ex = NULL;
    vf_reactor_timer_stop(upstreams->proxy->reactor, &up->timer);
    vf_stream_close(&up->stream, false);
    free(up->input);
    up->input = NULL;
    up->peer->n_open--;
    vf_count_add(&upstreams->proxy->block->process.upstream_connections, (uint64_t)-1);
    show_gauges(upstreams, up->peer);
    up->next = upstreams->dead;
    upstreams->dead = up;
}

void vf_upstreams_reap(struct vf_upstreams *upstreams)
{
    while (upstreams->dead != NULL) {
        struct vf_upstream *up = upstreams->dead;
        upstreams->dead = up->next;
        if (upstreams->n_spare >= SPARE_CONNECTIONS) {
            free(up);
            continue;
        }
        up->next = upstreams->spare;
        upstreams->spare = up;
        upstreams->n_spare++;
    }
}

static struct vf_upstream *take_memory(struct vf_upstreams *upstreams)
{
    struct vf_upstream *up = upstreams->spare;
    if (up == NULL)
        return calloc(1, sizeof(*up));
    upstreams->spare = up->next;
    upstreams->n_spare--;
    memset(up, 0, sizeof(*up));
    return up;
}

/* Takes the connection off the exchange; returns it. */
static struct vf_exchange *detach(struct vf_upstream *up)
{
    struct vf_exchange *ex = up->ex;
    up->ex = NULL;
    if (ex != NULL)
        ex->upstream = NULL;
    return ex;
}

static void fail(struct vf_upstream *up, enum vf_upstream_failure failure,
                 const struct vf_fault *fault)
{
    struct vf_exchange *ex = up->ex;
    close_now(up);
    if (ex == NULL)
        return;
    ex->upstream = NULL;
    vf_exchange_on_upstream_failed(ex, failure, fault);
}

/* Keeps the connection for the next exchange, within the bound per backend. */
static void keep(struct vf_upstream *up, const struct vf_snap_policy *policy)
{
    struct vf_peer *peer = up->peer;
    uint64_t most = vf_snap_settings(up->owner->proxy->snapshot)->upstream_keepalive;
    link_idle(up);
    if (peer->n_idle > most)
        close_now(peer->idle_tail);
    if (!up->is_dead)
        set_timer(up, policy->value[VF_POLICY_UPSTREAM_IDLE_MS]);
    show_gauges(up->owner, peer);
}

/* Timers */

static void on_exchange_timer(struct vf_upstream *up)
{
    struct vf_exchange *ex = up->ex;
    const struct vf_snap_policy *policy = ex->policy;
    if (up->stream.connecting)
        fail(up, VF_UPSTREAM_CONNECT_TIMEOUT, NULL);
    else if (ex->is_tunnel)
        fail(up, VF_UPSTREAM_TIMEOUT, NULL);
    else if (ex->request_state != VF_FLOW_DONE && ex->response_state <= VF_FLOW_HEAD &&
             !vf_upstream_is_blocked(ex))
        set_timer(up, policy->value[VF_POLICY_RESPONSE_MS]); /* the client's turn */
    else if (ex->response_state == VF_FLOW_BODY && vf_client_is_blocked(ex))
        set_timer(up, policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    else
        fail(up, VF_UPSTREAM_TIMEOUT, NULL);
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_upstream *up =
        (struct vf_upstream *)((char *)timer - offsetof(struct vf_upstream, timer));
    if (up->ex == NULL)
        close_now(up);
    else
        on_exchange_timer(up);
}

/* Connecting */

static socklen_t socket_address(const struct vf_snap_address *address,
                                struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (address->family == VF_FAMILY_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address->port);
    memcpy(&in6->sin6_addr, address->ip, 16);
    return sizeof(*in6);
}

static int connect_socket(const struct sockaddr_storage *address, socklen_t len)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno != EINPROGRESS) {
        int rc = uv_translate_sys_error(errno);
        close(fd);
        return rc;
    }
    return fd;
}

static int start_connection(struct vf_exchange *ex, struct vf_peer *peer)
{
    struct sockaddr_storage address;
    socklen_t len;
    int rc;
    if (ex->backend->address.family != VF_FAMILY_NONE)
        len = socket_address(&ex->backend->address, &address);
    else if (peer->name == NULL || (rc = vf_name_take(peer->name, &address, &len)) < 0)
        return VF_ENOADDRESS;
    return connect_socket(&address, len);
}

/* Tells a backend that wants it who the client is. */
static void send_proxy_header(struct vf_exchange *ex)
{
    struct vf_proxy_header header = {0};
    struct sockaddr_storage local;
    socklen_t len = sizeof(local);
    char text[VF_PROXY_HEADER_OUT];
    header.source = ex->client->peer;
    if (getsockname(ex->client->stream.io.fd, (struct sockaddr *)&local, &len) == 0) {
        bool v4 = local.ss_family == AF_INET;
        const struct sockaddr_in *in = (const struct sockaddr_in *)&local;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&local;
        header.destination.family = v4 ? VF_FAMILY_IPV4 : VF_FAMILY_IPV6;
        header.destination.port = ntohs(v4 ? in->sin_port : in6->sin6_port);
        memcpy(header.destination.ip, v4 ? (const void *)&in->sin_addr : &in6->sin6_addr,
               v4 ? 4 : 16);
    }
    size_t n = vf_proxy_header_write(ex->pool->proxy_protocol, &header, text);
    vf_stream_add(&ex->upstream->stream, vf_str_make(text, n));
    vf_stream_flush(&ex->upstream->stream); /* `text` is ours: copied while connecting */
}

static int open_new(struct vf_exchange *ex, struct vf_upstreams *upstreams, struct vf_peer *peer)
{
    struct vf_upstream *up;
    int fd, rc;
    if (peer->n_open - peer->n_idle >= ex->pool->max_connections)
        return VF_ENOBACKEND;
    if ((fd = start_connection(ex, peer)) < 0)
        return fd;
    if ((up = take_memory(upstreams)) == NULL) {
        close(fd);
        return UV_ENOMEM;
    }
    if ((rc = vf_stream_open(&up->stream, &upstreams->proxy->net, &stream_events, fd)) < 0) {
        close(fd);
        free(up);
        return rc;
    }
    up->stream.connecting = true;
    up->owner = upstreams;
    up->peer = peer;
    up->timer.on_fire = on_timer;
    up->ex = ex;
    ex->upstream = up;
    ex->on_reused = false;
    ex->connect_ns = vf_proxy_now_ns(upstreams->proxy);
    peer->n_open++;
    vf_count_add(&counters(up)->connects, 1);
    vf_count_add(&upstreams->proxy->block->process.upstream_connections, 1);
    show_gauges(upstreams, peer);
    set_timer(up, ex->policy->value[VF_POLICY_CONNECT_MS]);
    if (ex->pool->proxy_protocol != 0 && ex->client != NULL)
        send_proxy_header(ex);
    return 0;
}

int vf_upstream_open(struct vf_exchange *ex, bool fresh)
{
    struct vf_upstreams *upstreams = ex->proxy->upstreams;
    struct vf_peer *peer = add_peer(upstreams, ex->snapshot, ex->backend);
    if (peer == NULL)
        return UV_ENOMEM;
    struct vf_upstream *up = fresh || ex->pool->proxy_protocol != 0 ? NULL : peer->idle;
    if (up == NULL)
        return open_new(ex, upstreams, peer);
    unlink_idle(up);
    up->ex = ex;
    up->sent_mark = up->stream.bytes_out;
    ex->upstream = up;
    ex->on_reused = true;
    ex->connect_ns = ex->connected_ns = vf_proxy_now_ns(upstreams->proxy);
    vf_count_add(&counters(up)->reused, 1);
    show_gauges(upstreams, peer);
    return 0;
}

static void on_connected(struct vf_stream *stream)
{
    struct vf_upstream *up = (struct vf_upstream *)stream;
    if (up->ex == NULL)
        return;
    up->ex->connected_ns = vf_proxy_now_ns(up->owner->proxy);
    set_timer(up, up->ex->policy->value[VF_POLICY_RESPONSE_MS]);
    vf_exchange_on_connected(up->ex);
}

/* Requests */

void vf_upstream_send_head(struct vf_exchange *ex)
{
    struct vf_upstream *up = ex->upstream;
    struct vf_h1_framing_lines lines = {
        .length = ex->request.framing == VF_FRAMING_LENGTH ||
                  (ex->request.framing == VF_FRAMING_NONE && ex->request.has_content_length),
        .chunked = ex->request.framing == VF_FRAMING_CHUNKED,
        .connection = ex->request.te_trailers ? VF_H1_TRAILERS : VF_H1_PERSIST};
    if (ex->request.wants_upgrade)
        lines.connection = VF_H1_UPGRADE;
    ex->chunk_request = lines.chunked;
    ex->response_state = VF_FLOW_HEAD;
    struct vf_str text = vf_h1_write_request(&ex->arena, &ex->request, ex->forward_target,
                                             ex->forward_host, &lines);
    if (text.data == NULL) {
        fail(up, VF_UPSTREAM_CLOSED, NULL);
        return;
    }
    vf_stream_add(&up->stream, text);
    if (!up->stream.connecting)
        set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_MS]);
}

void vf_upstream_send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_upstream *up = ex->upstream;
    struct vf_stream *stream = &up->stream;
    if (up->write_failed || slice.len == 0)
        return;
    if (ex->is_tunnel)
        set_timer(up, ex->policy->value[VF_POLICY_TUNNEL_MS]);
    if (!ex->chunk_request || ex->is_tunnel) {
        vf_stream_add(stream, slice);
        return;
    }
    char *line = vf_net_scratch(stream->net, VF_H1_CHUNK_LINE_BYTES);
    vf_stream_add(stream, vf_str_make(line, vf_h1_chunk_line(slice.len, line)));
    vf_stream_add(stream, slice);
    vf_stream_add(stream, VF_STR("\r\n"));
}

void vf_upstream_send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_upstream *up = ex->upstream;
    if (ex->chunk_request && !up->write_failed)
        vf_stream_add(&up->stream, vf_h1_write_last_chunk(&ex->arena, trailers));
    ex->sent_ns = vf_proxy_now_ns(ex->proxy);
    if (!up->stream.connecting && ex->response_state == VF_FLOW_HEAD)
        set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_MS]);
}

void vf_upstream_tunnel_end(struct vf_exchange *ex)
{
    vf_stream_shutdown(&ex->upstream->stream);
}

bool vf_upstream_is_blocked(const struct vf_exchange *ex)
{
    return ex->upstream->stream.blocked || ex->upstream->stream.connecting;
}

void vf_upstream_resume(struct vf_exchange *ex)
{
    struct vf_upstream *up = ex->upstream;
    if (up->stream.readable)
        vf_stream_yield(&up->stream);
}

void vf_upstream_abandon(struct vf_exchange *ex)
{
    struct vf_upstream *up = ex->upstream;
    if (up == NULL)
        return;
    ex->upstream = NULL;
    close_now(up);
}

/* Answers */

static bool is_reusable(const struct vf_upstream *up, size_t stray)
{
    const struct vf_exchange *ex = up->ex;
    return stray == 0 && ex->response.keep_alive && ex->request_state == VF_FLOW_DONE &&
           ex->response.framing != VF_FRAMING_CLOSE && !up->stream.hung_up && !up->write_failed &&
           ex->pool->proxy_protocol == 0 && vf_stream_pending(&up->stream) == 0 &&
           !up->owner->proxy->draining;
}

/* The answer is complete; `stray` bytes came behind it. */
static void complete(struct vf_upstream *up, size_t stray)
{
    const struct vf_snap_policy policy = *up->ex->policy;
    bool reusable = is_reusable(up, stray);
    if (stray > 0) {
        vf_count_add(&counters(up)->malformed, 1);
        vf_log_warn(&up->owner->proxy->log, "backend.stray_bytes",
                    "backend_slot=%u bytes=%zu section=\"RFC 9112 section 9.2\"", up->peer->slot,
                    stray);
    }
    up->n_exchanges++;
    if (!reusable)
        up->n_exchanges = 0; /* not among the idle ones: see close_now */
    struct vf_exchange *ex = detach(up);
    if (reusable)
        keep(up, &policy);
    else
        close_now(up);
    vf_exchange_on_response_end(ex);
}

static void on_data(void *owner, struct vf_str slice)
{
    struct vf_exchange *ex = owner;
    if (ex->upstream != NULL)
        vf_exchange_on_response_data(ex, slice);
}

/* Reads one head of `head_len` bytes. Returns false when the connection ended. */
static bool read_head(struct vf_upstream *up, const char *data, size_t head_len)
{
    struct vf_exchange *ex = up->ex;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    struct vf_fault fault;
    char *head = vf_arena_strndup(&ex->arena, data, head_len);
    int rc = head == NULL ? UV_ENOMEM
                          : vf_h1_response(&ex->response_parser, &ex->arena, &limits,
                                           ex->request.method, head, head_len, &ex->response, &fault);
    if (rc == -1 || (rc == 0 && ex->response.status < 200 && ++up->n_interim > MAX_INTERIM)) {
        if (rc == 0)
            fault = (struct vf_fault){502, "malformed_response", "too many interim answers",
                                      "RFC 9110 section 15.2", 0};
        fail(up, VF_UPSTREAM_MALFORMED, &fault);
        return false;
    }
    if (rc < 0) {
        fail(up, VF_UPSTREAM_CUT, NULL);
        return false;
    }
    if (ex->first_byte_ns == 0)
        ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
    if (ex->response.status < 200 && ex->response.status != 101) {
        vf_exchange_on_interim(ex);
        return up->ex == ex;
    }
    up->n_interim = 0;
    ex->response_parser.owner = ex;
    ex->response_parser.on_data = on_data;
    ex->response_state = VF_FLOW_BODY;
    if (!ex->response_parser.is_done)
        set_timer(up, ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    vf_exchange_on_response(ex);
    return up->ex == ex;
}

/* Judges an incomplete head. Returns true when it may still become one. */
static bool may_grow(struct vf_upstream *up, const char *data, size_t len)
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
    fail(up, VF_UPSTREAM_MALFORMED, &fault);
    return false;
}

/* Works on `len` bytes. Returns how many were used; less: an incomplete head, or the end. */
static size_t feed(struct vf_upstream *up, const char *data, size_t len)
{
    size_t used = 0;
    struct vf_exchange *ex = up->ex;
    while (used < len && up->ex == ex && ex->response_state == VF_FLOW_HEAD) {
        size_t head_len = vf_h1_head_len(data + used, len - used, 0);
        if (head_len == 0) {
            if (may_grow(up, data + used, len - used) && ex->first_byte_ns == 0)
                ex->first_byte_ns = vf_proxy_now_ns(ex->proxy);
            return used;
        }
        if (!read_head(up, data + used, head_len))
            return len;
        used += head_len;
    }
    if (up->ex != ex)
        return len;
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
        fail(up, rc == UV_ENOMEM ? VF_UPSTREAM_CUT : VF_UPSTREAM_MALFORMED, &fault);
    } else if (ex->response_parser.is_done) {
        complete(up, len - used - body);
    }
    return len;
}

static bool keep_input(struct vf_upstream *up, const char *data, size_t len)
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
static void feed_joined(struct vf_upstream *up, const char *data, size_t len)
{
    size_t total = up->input_len + len, used;
    char *joined = malloc(total);
    if (joined == NULL) {
        fail(up, VF_UPSTREAM_CUT, NULL);
        return;
    }
    memcpy(joined, up->input, up->input_len);
    memcpy(joined + up->input_len, data, len);
    used = feed(up, joined, total);
    vf_net_flush(&up->owner->proxy->net); /* slices point into `joined` */
    if (up->ex != NULL && !up->is_dead && !keep_input(up, joined + used, total - used))
        fail(up, VF_UPSTREAM_CUT, NULL);
    else if (up->ex == NULL && !up->is_dead)
        keep_input(up, NULL, 0);
    free(joined);
}

static void feed_new(struct vf_upstream *up, const char *data, size_t len)
{
    size_t used = feed(up, data, len);
    if (used < len && up->ex != NULL && !up->is_dead && !keep_input(up, data + used, len - used))
        fail(up, VF_UPSTREAM_CUT, NULL);
}

static void on_end(struct vf_upstream *up)
{
    struct vf_exchange *ex = up->ex;
    if (ex->is_tunnel) {
        up->saw_eof = true;
        vf_exchange_on_response_end(ex);
    } else if (ex->response_state == VF_FLOW_BODY && vf_h1_finish(&ex->response_parser)) {
        complete(up, 0);
    } else if (ex->response_state == VF_FLOW_BODY) {
        fail(up, VF_UPSTREAM_CUT, NULL);
    } else {
        fail(up, ex->first_byte_ns != 0 ? VF_UPSTREAM_CUT : VF_UPSTREAM_CLOSED, NULL);
    }
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_upstream *up)
{
    char *buffer = up->owner->proxy->net.read_buffer;
    ssize_t n = vf_stream_read(&up->stream, buffer, VF_NET_READ_BYTES);
    if (up->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (up->ex == NULL) {
        if (n > 0)
            vf_count_add(&counters(up)->malformed, 1);
        close_now(up); /* end of file, or an answer that nobody asked for */
        return false;
    }
    if (n <= 0 && (n == 0 || up->ex->response_state != VF_FLOW_BODY)) {
        on_end(up);
        return false;
    }
    if (n < 0) { /* a reset is no end of an answer, not even of one without a length */
        fail(up, VF_UPSTREAM_CUT, NULL);
        return false;
    }
    vf_count_add(&counters(up)->bytes_in, (uint64_t)n);
    if (up->ex->is_tunnel)
        set_timer(up, up->ex->policy->value[VF_POLICY_TUNNEL_MS]);
    else if (up->ex->response_state == VF_FLOW_BODY)
        set_timer(up, up->ex->policy->value[VF_POLICY_RESPONSE_BODY_MS]);
    if (up->input_len > 0)
        feed_joined(up, buffer, (size_t)n);
    else
        feed_new(up, buffer, (size_t)n);
    return !up->is_dead && up->ex != NULL;
}

static void on_readable(struct vf_stream *stream)
{
    struct vf_upstream *up = (struct vf_upstream *)stream;
    if (up->is_dead || up->saw_eof)
        return;
    for (int i = 0; i < READS_PER_EVENT; i++) {
        if (!stream->readable || (up->ex != NULL && vf_client_is_blocked(up->ex)))
            return;
        if (vf_net_is_full(stream->net)) {
            vf_stream_starve(stream);
            return;
        }
        if (!read_once(up))
            return;
    }
    if (stream->readable)
        vf_stream_yield(stream);
}

static void on_drained(struct vf_stream *stream)
{
    struct vf_upstream *up = (struct vf_upstream *)stream;
    if (up->ex != NULL)
        vf_exchange_on_upstream_drained(up->ex);
}

/* A kept connection had closed and took no byte of the request: what is queued goes out on a fresh
 * one. Returns false when that is not possible. */
static bool send_elsewhere(struct vf_upstream *up)
{
    struct vf_exchange *ex = up->ex;
    if (!ex->on_reused || ex->retried || up->stream.bytes_out != up->sent_mark ||
        ex->is_tunnel)
        return false;
    ex->retried = true;
    if (vf_upstream_open(ex, true) < 0) {
        ex->upstream = up;
        return false;
    }
    vf_stream_move_output(&up->stream, &ex->upstream->stream);
    up->ex = NULL;
    up->n_exchanges = 0; /* not among the idle ones: see close_now */
    close_now(up);
    return true;
}

static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_upstream *up = (struct vf_upstream *)stream;
    (void)error;
    if (up->ex == NULL) {
        close_now(up);
    } else if (stream->connecting) {
        fail(up, VF_UPSTREAM_CONNECT, NULL);
    } else if (!send_elsewhere(up)) {
        /* it may have answered before it closed: read that first */
        up->write_failed = true;
        stream->readable = true;
        vf_stream_yield(stream);
    }
}

/* All of them */

int vf_upstreams_new(struct vf_proxy *proxy, struct vf_upstreams **out)
{
    struct vf_upstreams *upstreams = calloc(1, sizeof(*upstreams));
    if (upstreams == NULL)
        return UV_ENOMEM;
    upstreams->proxy = proxy;
    *out = upstreams;
    return 0;
}

static void close_idle(struct vf_peer *peer)
{
    while (peer->idle != NULL)
        close_now(peer->idle);
}

static void free_peer(struct vf_peer *peer)
{
    vf_resolver_unwatch(peer->name);
    free(peer);
}

/* Drops peers that the last publication did not name, once their connections are gone. */
static void sweep(struct vf_upstreams *upstreams)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct vf_peer **at = &upstreams->buckets[i];
        while (*at != NULL) {
            struct vf_peer *peer = *at;
            if (peer->seen != upstreams->publication)
                close_idle(peer);
            if (peer->seen == upstreams->publication || peer->n_open > 0) {
                at = &peer->next;
                continue;
            }
            *at = peer->next;
            free_peer(peer);
        }
    }
}

void vf_upstreams_publish(struct vf_upstreams *upstreams, struct vf_snapshot *snapshot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    vf_upstreams_reap(upstreams);
    upstreams->publication++;
    for (uint32_t i = 0; i < n; i++) {
        struct vf_peer *peer = add_peer(upstreams, snapshot, vf_snap_backend(snapshot, i));
        if (peer != NULL)
            peer->seen = upstreams->publication;
    }
    sweep(upstreams);
    vf_upstreams_reap(upstreams);
}

void vf_upstreams_drop_idle(struct vf_upstreams *upstreams)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct vf_peer *peer = upstreams->buckets[i]; peer != NULL; peer = peer->next)
            close_idle(peer);
}

void vf_upstreams_free(struct vf_upstreams *upstreams)
{
    if (upstreams == NULL)
        return;
    vf_upstreams_drop_idle(upstreams);
    vf_upstreams_reap(upstreams);
    for (size_t i = 0; i < BUCKETS; i++)
        while (upstreams->buckets[i] != NULL) {
            struct vf_peer *peer = upstreams->buckets[i];
            upstreams->buckets[i] = peer->next;
            free_peer(peer);
        }
    while (upstreams->spare != NULL) {
        struct vf_upstream *next = upstreams->spare->next;
        free(upstreams->spare);
        upstreams->spare = next;
    }
    free(upstreams);
}

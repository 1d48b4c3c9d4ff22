#define _GNU_SOURCE
/* proxy/upstream_pool.c - which connections to backends there are: peers, connecting, keeping. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "net/outside.h"
#include "net/proxy_protocol.h"
#include "net/resolver.h"
#include "net/splice.h"
#include "net/op.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/upstream_conn.h"
#include "snapshot/address.h"

enum { BUCKETS = 4096, SPARE_CONNECTIONS = 64 };

struct vf_upstreams {
    struct vf_proxy *proxy;
    struct vf_peer *buckets[BUCKETS];
    struct vf_upstream *dead, *spare;
    unsigned n_spare;
    uint32_t publication;
};

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

/* The name of a plugin's target has addresses now, or cannot have any: who waited tries. */
static void on_resolved(void *owner, struct vf_name *name)
{
    struct vf_peer *peer = owner;
    (void)name;
    peer->is_resolving = false;
    while (peer->waiting != NULL) {
        struct vf_exchange *ex = peer->waiting;
        vf_upstream_stop_waiting(ex);
        vf_dispatch_to_chosen(ex);
    }
}

void vf_upstream_stop_waiting(struct vf_exchange *ex)
{
    if (ex->waits_at == NULL)
        return;
    struct vf_exchange **at = &ex->waits_at->waiting;
    while (*at != ex)
        at = &(*at)->next_waiting;
    *at = ex->next_waiting;
    ex->waits_at = NULL;
}

static void wait_for_name(struct vf_exchange *ex, struct vf_peer *peer)
{
    ex->waits_at = peer;
    ex->next_waiting = peer->waiting;
    peer->waiting = ex;
}

/* `host` is the backend's, for the resolver. */
static struct vf_peer *add_peer(struct vf_upstreams *upstreams,
                                const struct vf_snap_backend *backend, struct vf_str host)
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
        vf_resolver_watch(upstreams->proxy->resolver, host, backend->address.port, on_resolved,
                          peer, &peer->name) < 0)
        vf_log_warn(&upstreams->proxy->log, "backend.not_watched", "backend=%.*s", (int)host.len,
                    host.data);
    peer->is_resolving = peer->name != NULL;
    struct vf_peer **bucket = bucket_of(upstreams, backend->id);
    peer->next = *bucket;
    *bucket = peer;
    return peer;
}

static struct vf_peer *peer_of(struct vf_upstreams *upstreams, const struct vf_exchange *ex)
{
    return add_peer(upstreams, ex->backend,
                    ex->has_target ? ex->target_host
                                   : vf_snap_str(ex->snapshot, ex->backend->host));
}

struct vf_state_backend *vf_upstream_counters(struct vf_upstream *up)
{
    return &up->proxy->block->backends[up->peer->slot];
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
    up->is_idle = true;
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
    up->is_idle = false;
}

void vf_upstream_set_timer(struct vf_upstream *up, uint64_t delay_ms)
{
    vf_reactor_timer(up->proxy->reactor, &up->timer, delay_ms);
}

void vf_upstream_close(struct vf_upstream *up)
{
    struct vf_upstreams *upstreams = up->owner;
    if (up->is_dead)
        return;
    up->is_dead = true;
    if (up->is_idle)
        unlink_idle(up);
    up->ex = NULL;
    vf_reactor_timer_stop(upstreams->proxy->reactor, &up->timer);
    vf_stream_close(&up->stream, false);
    vf_splice_give(&up->proxy->net, up->splice);
    up->splice = NULL;
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

void vf_upstream_keep(struct vf_upstream *up, uint64_t idle_ms)
{
    struct vf_peer *peer = up->peer;
    uint64_t most = vf_snap_settings(up->proxy->snapshot)->upstream_keepalive;
    link_idle(up);
    if (peer->n_idle > most)
        vf_upstream_close(peer->idle_tail);
    if (!up->is_dead)
        vf_upstream_set_timer(up, idle_ms);
    show_gauges(up->owner, peer);
}

/* Connecting */

static int start_connection(struct vf_exchange *ex, struct vf_peer *peer, uint32_t *tag)
{
    struct sockaddr_storage address;
    socklen_t len;
    if (ex->backend->address.family != VF_FAMILY_NONE) {
        len = vf_address_to_socket(&ex->backend->address, &address);
        return vf_outside_connect(SOCK_STREAM, &address, len);
    }
    if (peer->name == NULL || vf_name_take(peer->name, &address, &len) < 0)
        return VF_ENOADDRESS;
    *tag = vf_name_tag(&address);
    int fd = vf_outside_connect(SOCK_STREAM, &address, len);
    if (fd < 0)
        vf_name_failed(peer->name, *tag);
    return fd;
}

bool vf_upstream_has_other_address(struct vf_exchange *ex)
{
    struct vf_peer *peer = peer_of(ex->proxy->upstreams, ex);
    return peer != NULL && peer->name != NULL && vf_name_has_other(peer->name);
}

/* Tells a backend that wants it who the client is. */
static void send_proxy_header(struct vf_exchange *ex)
{
    struct vf_proxy_header header;
    socklen_t len = sizeof(header.destination);
    char text[VF_PROXY_HEADER_OUT];
    vf_address_to_socket(&ex->client->conn->peer, &header.source);
    if (getsockname(ex->client->conn->stream.io.fd, (struct sockaddr *)&header.destination, &len) <
        0)
        header.destination.ss_family = AF_UNSPEC;
    size_t n = vf_proxy_header_write(ex->pool->proxy_protocol, &header, text);
    vf_stream_add(&ex->upstream->stream, vf_str_make(text, n));
    vf_stream_flush(&ex->upstream->stream); /* `text` is ours: copied while connecting */
}

static int open_new(struct vf_exchange *ex, struct vf_upstreams *upstreams, struct vf_peer *peer)
{
    struct vf_upstream *up;
    uint32_t tag = 0;
    int fd, rc;
    if (peer->n_open - peer->n_idle >= ex->pool->max_connections)
        return VF_ENOBACKEND;
    if ((fd = start_connection(ex, peer, &tag)) < 0)
        return fd;
    if ((up = take_memory(upstreams)) == NULL) {
        close(fd);
        return UV_ENOMEM;
    }
    if ((rc = vf_stream_open(&up->stream, &upstreams->proxy->net, &vf_upstream_events, fd)) < 0) {
        close(fd);
        free(up);
        return rc;
    }
    up->stream.connecting = true;
    up->owner = upstreams;
    up->proxy = upstreams->proxy;
    up->peer = peer;
    up->address_tag = tag;
    up->timer.on_fire = vf_upstream_on_timer;
    up->ex = ex;
    ex->upstream = up;
    ex->on_reused = false;
    ex->connect_ns = vf_proxy_now_ns(upstreams->proxy);
    peer->n_open++;
    vf_count_add(&vf_upstream_counters(up)->connects, 1);
    vf_count_add(&upstreams->proxy->block->process.upstream_connections, 1);
    show_gauges(upstreams, peer);
    vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_CONNECT_MS]);
    if (ex->pool->proxy_protocol != 0 && ex->client != NULL)
        send_proxy_header(ex);
    return 0;
}

int vf_upstream_open(struct vf_exchange *ex, bool fresh)
{
    struct vf_upstreams *upstreams = ex->proxy->upstreams;
    struct vf_peer *peer = peer_of(upstreams, ex);
    if (peer == NULL)
        return UV_ENOMEM;
    if (peer->is_resolving && ex->has_target) {
        wait_for_name(ex, peer);
        return VF_PENDING;
    }
    struct vf_upstream *up = fresh || ex->pool->proxy_protocol != 0 ? NULL : peer->idle;
    if (up == NULL)
        return open_new(ex, upstreams, peer);
    unlink_idle(up);
    up->ex = ex;
    up->sent_mark = up->stream.bytes_out;
    ex->upstream = up;
    ex->on_reused = true;
    ex->connect_ns = ex->connected_ns = vf_proxy_now_ns(upstreams->proxy);
    vf_count_add(&vf_upstream_counters(up)->reused, 1);
    show_gauges(upstreams, peer);
    return 0;
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
        vf_upstream_close(peer->idle);
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
            if (peer->seen == upstreams->publication || peer->n_open > 0 || peer->waiting != NULL) {
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
        const struct vf_snap_backend *backend = vf_snap_backend(snapshot, i);
        struct vf_peer *peer = add_peer(upstreams, backend, vf_snap_str(snapshot, backend->host));
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
    vf_splice_trim(&upstreams->proxy->net);
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

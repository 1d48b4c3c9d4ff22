#define _GNU_SOURCE
/* proxy/upstream_pool.c - which connections to backends there are: connecting, keeping. */
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
#include "proxy/downstream.h"
#include "proxy/h2/link.h"
#include "proxy/upstream_tls.h"
#include "snapshot/address.h"

enum {
    SPARE_CONNECTIONS = 64,
    KEPT_TARGETS = 1024 /* connections to addresses that plugins have named */
};

static struct vf_peer *peer_of(struct vf_upstreams *upstreams, const struct vf_exchange *ex)
{
    return vf_upstreams_peer(upstreams, ex->backend,
                             ex->has_target ? ex->target_host
                                            : vf_snap_str(ex->snapshot, ex->backend->host));
}

/* Kept connections */

static void link_idle(struct vf_upstream_conn *up)
{
    struct vf_peer *peer = up->peer;
    up->prev = NULL;
    up->next = peer->idle;
    if (peer->idle != NULL)
        peer->idle->prev = up;
    else
        peer->idle_tail = up;
    peer->idle = up;
    vf_peer_kept_one(peer, 1);
    up->is_idle = true;
    up->stream.io.rank = VF_IO_FIRST;
}

static void unlink_idle(struct vf_upstream_conn *up)
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
    vf_peer_kept_one(peer, -1);
    up->is_idle = false;
    up->stream.io.rank = VF_IO_BACKEND;
}

void vf_upstream_set_timer(struct vf_upstream_conn *up, uint64_t delay_ms)
{
    vf_reactor_timer(up->proxy->reactor, &up->timer, delay_ms);
}

void vf_upstream_bury(struct vf_upstream_conn *up)
{
    struct vf_upstreams *upstreams = up->owner;
    up->is_dead = true;
    up->ex = NULL;
    if (up->h2 != NULL)
        vf_h2_link_closed(up->h2);
    vf_reactor_timer_stop(upstreams->proxy->reactor, &up->timer);
    vf_stream_close(&up->stream, false);
    vf_splice_give(&up->proxy->net, up->splice);
    up->splice = NULL;
    free(up->input);
    up->input = NULL;
    up->next = upstreams->dead;
    upstreams->dead = up;
}

void vf_upstream_close(struct vf_upstream_conn *up)
{
    if (up->is_dead)
        return;
    if (up->is_idle)
        unlink_idle(up);
    vf_upstream_bury(up);
    vf_peer_closed(up->peer);
}

void vf_upstreams_flush(struct vf_upstreams *upstreams)
{
    vf_h2_links_flush(upstreams);
}

bool vf_upstreams_are_pending(const struct vf_upstreams *upstreams)
{
    return upstreams->resuming != NULL || upstreams->pending_links != NULL;
}

void vf_upstreams_reap(struct vf_upstreams *upstreams)
{
    struct vf_upstream_conn *in_use = NULL;
    vf_h2_calls_reap(upstreams);
    while (upstreams->dead != NULL) {
        struct vf_upstream_conn *up = upstreams->dead;
        upstreams->dead = up->next;
        if (up->h2 != NULL && !vf_h2_link_free(up->h2)) {
            up->next = in_use;
            in_use = up;
            continue;
        }
        up->h2 = NULL;
        if (upstreams->n_spare >= SPARE_CONNECTIONS) {
            free(up);
            continue;
        }
        up->next = upstreams->spare;
        upstreams->spare = up;
        upstreams->n_spare++;
    }
    upstreams->dead = in_use;
}

static struct vf_upstream_conn *take_memory(struct vf_upstreams *upstreams)
{
    struct vf_upstream_conn *up = upstreams->spare;
    if (up == NULL)
        return calloc(1, sizeof(*up));
    upstreams->spare = up->next;
    upstreams->n_spare--;
    memset(up, 0, sizeof(*up));
    return up;
}

static bool drop_oldest(struct vf_peer *peer)
{
    if (peer->loans_tail != NULL)
        vf_loan_close(peer->loans_tail);
    else if (peer->idle_tail != NULL)
        vf_upstream_close(peer->idle_tail);
    else
        return vf_h2_links_drop_one(peer);
    return true;
}

/* Closes a kept connection of some target; each in turn. */
static void drop_kept_target(struct vf_upstreams *upstreams)
{
    for (unsigned n = 0; n < VF_PEER_BUCKETS; n++) {
        unsigned bucket = upstreams->oldest_bucket++ % VF_PEER_BUCKETS;
        for (struct vf_peer *peer = upstreams->buckets[bucket]; peer != NULL; peer = peer->next)
            if (vf_peer_is_target(peer) && drop_oldest(peer))
                return;
    }
}

void vf_peer_bound_kept(struct vf_peer *peer)
{
    struct vf_upstreams *upstreams = peer->owner;
    uint64_t most = vf_snap_settings(upstreams->proxy->snapshot)->upstream_keepalive;
    if (vf_peer_is_target(peer) && upstreams->n_kept_targets > KEPT_TARGETS)
        drop_kept_target(upstreams);
    if (peer->n_idle > most)
        drop_oldest(peer);
}

bool vf_peer_may_keep(const struct vf_peer *peer)
{
    const struct vf_proxy *proxy = peer->owner->proxy;
    return !vf_peer_is_gone(peer) && !proxy->draining && proxy->snapshot != NULL;
}

void vf_upstream_keep(struct vf_upstream_conn *up, uint64_t idle_ms)
{
    struct vf_peer *peer = up->peer;
    if (!vf_peer_may_keep(peer) || vf_upstream_is_stale(up)) {
        vf_upstream_close(up);
        return;
    }
    link_idle(up);
    vf_upstream_set_timer(up, idle_ms);
    vf_peer_bound_kept(peer);
    vf_peer_show(peer);
}

struct vf_upstream_conn *vf_peer_find_idle(struct vf_peer *peer, uint64_t tls_id, bool is_own)
{
    struct vf_upstream_conn *up = peer->idle, *next;
    for (; up != NULL; up = next) {
        next = up->next;
        if (up->tls_id == tls_id && up->has_own_tls == is_own)
            return up;
        if (!is_own && !up->has_own_tls)
            vf_upstream_close(up);
    }
    return NULL;
}

void vf_peer_take_idle(struct vf_upstream_conn *up)
{
    unlink_idle(up);
}

/* Takes a connection that is kept, the one that was used last; NULL: there is none. One whose TLS
 * is not what the pool wants by now goes. What others have kept has the pool's. */
static struct vf_upstream_conn *take_kept(struct vf_peer *peer, const struct vf_tls_choice *tls)
{
    struct vf_upstream_conn *up = vf_peer_find_idle(peer, tls->id, tls->is_own);
    if (up != NULL)
        vf_peer_take_idle(up);
    else if (!tls->is_own)
        up = vf_loan_take(peer, tls->id);
    if (up == NULL)
        return NULL;
    vf_count_add(&vf_upstream_counters(up)->reused, 1);
    vf_peer_show(peer);
    return up;
}

struct vf_upstream_conn *vf_upstream_new(struct vf_peer *peer)
{
    struct vf_upstream_conn *up = take_memory(peer->owner);
    if (up == NULL)
        return NULL;
    up->owner = peer->owner;
    up->proxy = peer->owner->proxy;
    up->peer = peer;
    up->upstream.codec = &vf_upstream_h1;
    up->timer.on_fire = vf_upstream_on_timer;
    up->stream.io.fd = -1;
    return up;
}

/* Connecting */

static int start_connection(struct vf_exchange *ex, struct vf_peer *peer, uint32_t *tag)
{
    struct sockaddr_storage address;
    socklen_t len;
    int rc = vf_peer_address(peer, ex->backend, &address, &len, tag);
    if (rc < 0)
        return rc;
    int fd = vf_outside_connect(SOCK_STREAM, &address, len);
    if (fd < 0 && *tag != 0)
        vf_name_failed(peer->name, *tag);
    return fd;
}

bool vf_upstream_has_other_address(struct vf_exchange *ex)
{
    struct vf_peer *peer = peer_of(ex->proxy->upstreams, ex);
    return peer != NULL && peer->name != NULL && vf_name_has_other(peer->name);
}

/* Tells a backend that wants it who the client is. */
static void send_proxy_header(struct vf_exchange *ex, struct vf_upstream_conn *up)
{
    struct vf_proxy_header header;
    socklen_t len = sizeof(header.destination);
    char text[VF_PROXY_HEADER_OUT];
    vf_address_to_socket(&ex->client->conn->peer, &header.source);
    if (getsockname(ex->client->conn->stream.io.fd, (struct sockaddr *)&header.destination, &len) <
        0)
        header.destination.ss_family = AF_UNSPEC;
    size_t n = vf_proxy_header_write(ex->pool->proxy_protocol, &header, text);
    if (!vf_stream_is_plain(&up->stream)) {
        vf_tls_send_ahead(&up->stream, text, n); /* without memory the backend refuses */
        return;
    }
    vf_stream_add(&up->stream, vf_str_make(text, n));
    vf_stream_flush(&up->stream); /* `text` is ours: copied while connecting */
}

void vf_upstream_log_tls(const struct vf_upstream_conn *up, const struct vf_exchange *ex)
{
    char reason[64];
    if (!ex->has_target && ex->snapshot == NULL) /* a tunnel stands */
        return;
    struct vf_str address =
        ex->has_target ? ex->target_text : vf_snap_str(ex->snapshot, ex->backend->address_text);
    vf_log_warn(&up->proxy->log, "backend.tls_failed", "backend=%.*s reason=%s", (int)address.len,
                address.data, vf_tls_reason(&up->stream, reason, sizeof(reason)));
}

/* Begins a connection to the exchange's backend. Returns as vf_upstream_open. */
static int connect_new(struct vf_exchange *ex, struct vf_peer *peer,
                       const struct vf_tls_choice *tls, enum vf_tls_ask ask,
                       struct vf_upstream_conn **out)
{
    struct vf_proxy *proxy = ex->proxy;
    struct vf_upstream_conn *up;
    uint32_t tag = 0;
    int fd, rc;
    if (peer->n_open - peer->n_idle >= ex->pool->max_connections)
        return VF_ENOBACKEND;
    if ((fd = start_connection(ex, peer, &tag)) < 0)
        return fd;
    if ((up = vf_upstream_new(peer)) == NULL) {
        close(fd);
        return UV_ENOMEM;
    }
    if ((rc = vf_stream_open(&up->stream, &proxy->net, &vf_upstream_events, fd)) < 0) {
        close(fd);
        free(up);
        return rc;
    }
    up->stream.connecting = true;
    up->address_tag = tag;
    up->moves = peer->moves;
    up->tls_id = tls->id;
    up->has_own_tls = tls->is_own;
    if ((rc = vf_upstream_tls_put(ex, tls, ask, &up->stream)) < 0) {
        vf_stream_close(&up->stream, true);
        free(up);
        return rc;
    }
    ex->on_reused = false;
    ex->connect_ns = vf_proxy_now_ns(proxy);
    vf_count_add(&vf_upstream_counters(up)->connects, 1);
    vf_peer_opened(peer);
    vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_CONNECT_MS]);
    if (ex->pool->proxy_protocol != 0 && ex->client != NULL)
        send_proxy_header(ex, up); /* in front of the handshake */
    *out = up;
    return 0;
}

static int open_h1(struct vf_exchange *ex, struct vf_peer *peer, const struct vf_tls_choice *tls,
                   bool fresh)
{
    struct vf_upstream_conn *up =
        fresh || ex->pool->proxy_protocol != 0 ? NULL : take_kept(peer, tls);
    if (up != NULL) {
        up->sent_mark = up->stream.bytes_out;
        ex->on_reused = true;
        ex->connect_ns = ex->connected_ns = vf_proxy_now_ns(ex->proxy);
    } else {
        int rc = connect_new(ex, peer, tls, VF_TLS_ASK_NOTHING, &up);
        if (rc < 0)
            return rc;
    }
    up->ex = ex;
    ex->upstream = &up->upstream;
    return 0;
}

/* `is_sure`: else what the TLS of the connection comes to. */
static int open_h2(struct vf_exchange *ex, struct vf_peer *peer, const struct vf_tls_choice *tls,
                   bool is_sure)
{
    bool is_private = ex->pool->proxy_protocol != 0;
    struct vf_h2_link *link = is_private ? NULL : vf_h2_link_find(peer, tls->id, tls->is_own);
    if (link == NULL) {
        struct vf_upstream_conn *up;
        int rc = connect_new(ex, peer, tls, is_sure ? VF_TLS_ASK_H2 : VF_TLS_ASK_ANY, &up);
        if (rc < 0)
            return rc;
        if ((link = vf_h2_link_new(up, ex, !is_sure, is_private)) == NULL) {
            vf_upstream_close(up);
            return UV_ENOMEM;
        }
    }
    return vf_h2_link_call(link, ex);
}

int vf_upstream_open(struct vf_exchange *ex, bool fresh)
{
    struct vf_peer *peer = peer_of(ex->proxy->upstreams, ex);
    uint32_t protocol = ex->is_raw ? VF_PROTOCOL_H1 : ex->pool->protocol; /* or none at all */
    if (peer == NULL)
        return UV_ENOMEM;
    if (peer->is_resolving && ex->has_target) {
        vf_peer_wait_for_name(peer, ex);
        return VF_PENDING;
    }
    struct vf_tls_choice tls;
    int rc = vf_upstream_tls_choose(ex, &tls);
    ex->own_tls_failed = rc < 0;
    if (rc < 0)
        return rc;
    bool may_be_h2 = tls.tls != NULL && !peer->speaks_h1 && !ex->request.wants_upgrade;
    if (protocol == VF_PROTOCOL_H2 || (protocol == VF_PROTOCOL_AUTO && may_be_h2))
        return open_h2(ex, peer, &tls, protocol == VF_PROTOCOL_H2);
    return open_h1(ex, peer, &tls, fresh || ex->is_raw);
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

void vf_upstreams_drop_idle(struct vf_upstreams *upstreams)
{
    for (size_t i = 0; i < VF_PEER_BUCKETS; i++)
        for (struct vf_peer *peer = upstreams->buckets[i]; peer != NULL; peer = peer->next)
            vf_peer_close_kept(peer);
}

void vf_upstreams_free(struct vf_upstreams *upstreams)
{
    if (upstreams == NULL)
        return;
    vf_upstreams_drop_idle(upstreams);
    for (size_t i = 0; i < VF_PEER_BUCKETS; i++)
        for (struct vf_peer *peer = upstreams->buckets[i]; peer != NULL; peer = peer->next)
            vf_h2_links_close(peer, true); /* requests whose rest was on its way */
    vf_upstreams_reap(upstreams);
    vf_splice_trim(&upstreams->proxy->net);
    vf_upstreams_free_peers(upstreams);
    while (upstreams->spare != NULL) {
        struct vf_upstream_conn *next = upstreams->spare->next;
        free(upstreams->spare);
        upstreams->spare = next;
    }
    free(upstreams);
}

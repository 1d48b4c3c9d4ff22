/* proxy/upstream_pool.c - which connections to backends there are, and which are kept. */
#include <stdlib.h>
#include <uv.h>

#include "net/splice.h"
#include "proxy/core.h"
#include "proxy/h2/link.h"

enum {
    SPARE_CONNECTIONS = 64,
    KEPT_TARGETS = 1024 /* connections to addresses that plugins have named */
};

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

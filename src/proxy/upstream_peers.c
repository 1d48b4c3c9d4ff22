/* proxy/upstream_peers.c - the backends that this process knows, and the addresses that plugins
 * have named: whose connections there are, what their names come to, what the counters show. */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"
#include "net/addresses.h"
#include "net/resolver.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/h2/link.h"
#include "snapshot/address.h"

enum { TARGETS = 4096 /* beyond that many, those without connections are forgotten */ };

static struct vf_peer **bucket_of(struct vf_upstreams *upstreams, uint64_t id)
{
    return &upstreams->buckets[(id ^ id >> 32) & (VF_PEER_BUCKETS - 1)];
}

static struct vf_peer *find_peer(struct vf_upstreams *upstreams, uint64_t id)
{
    struct vf_peer *peer = *bucket_of(upstreams, id);
    while (peer != NULL && peer->id != id)
        peer = peer->next;
    return peer;
}

bool vf_upstream_is_stale(struct vf_upstream_conn *up)
{
    const struct vf_peer *peer = up->peer;
    if (up->moves == peer->moves || up->address_tag == 0 || peer->name == NULL)
        return false;
    if (!vf_name_has(peer->name, up->address_tag))
        return true;
    up->moves = peer->moves;
    return false;
}

static void close_stale(struct vf_peer *peer)
{
    struct vf_upstream_conn *up = peer->idle, *next;
    for (; up != NULL; up = next) {
        next = up->next;
        if (vf_upstream_is_stale(up))
            vf_upstream_close(up);
    }
    vf_h2_links_leave_stale(peer);
}

/* The name has other addresses now, or cannot have any: who waited for a plugin's target tries. */
static void on_resolved(void *owner, struct vf_name *name)
{
    struct vf_peer *peer = owner;
    peer->is_resolving = false;
    if (peer->name != NULL && vf_name_count(name) > 0) {
        peer->moves++;
        close_stale(peer);
    }
    peer->is_waking = true; /* what they do may forget peers that nobody needs */
    while (peer->waiting != NULL) {
        struct vf_exchange *ex = peer->waiting;
        vf_upstream_stop_waiting(ex);
        vf_dispatch_to_chosen(ex);
    }
    peer->is_waking = false;
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

void vf_peer_wait_for_name(struct vf_peer *peer, struct vf_exchange *ex)
{
    ex->waits_at = peer;
    ex->next_waiting = peer->waiting;
    peer->waiting = ex;
}

/* A backend with a name; what a plugin has named may be known by its connections alone so far. */
static void watch_name(struct vf_peer *peer, const struct vf_snap_backend *backend,
                       struct vf_str host)
{
    struct vf_proxy *proxy = peer->owner->proxy;
    if (host.len == 0 || peer->name != NULL || backend->address.family != VF_FAMILY_NONE)
        return;
    if (vf_resolver_watch(proxy->resolver, host, backend->address.port, on_resolved, peer,
                          &peer->name) < 0)
        vf_log_warn(&proxy->log, "backend.not_watched", "backend=%.*s", (int)host.len, host.data);
    peer->is_resolving = peer->name != NULL;
}

static void free_peer(struct vf_peer *peer)
{
    peer->owner->n_targets -= vf_peer_is_target(peer);
    vf_resolver_unwatch(peer->name);
    free(peer);
}

/* Drops peers for which `is_due` holds, once their connections are gone. */
static void sweep(struct vf_upstreams *upstreams, bool (*is_due)(const struct vf_peer *peer))
{
    for (size_t i = 0; i < VF_PEER_BUCKETS; i++) {
        struct vf_peer **at = &upstreams->buckets[i];
        while (*at != NULL) {
            struct vf_peer *peer = *at;
            if (!is_due(peer) || peer->n_open > 0 || peer->waiting != NULL || peer->is_waking) {
                at = &peer->next;
                continue;
            }
            *at = peer->next;
            free_peer(peer);
        }
    }
}

struct vf_peer *vf_upstreams_peer(struct vf_upstreams *upstreams,
                                  const struct vf_snap_backend *backend, struct vf_str host)
{
    struct vf_peer *peer = find_peer(upstreams, backend->id);
    if (peer == NULL) {
        if (upstreams->n_targets >= TARGETS)
            sweep(upstreams, vf_peer_is_target);
        if ((peer = calloc(1, sizeof(*peer))) == NULL)
            return NULL;
        peer->owner = upstreams;
        peer->id = backend->id;
        struct vf_peer **bucket = bucket_of(upstreams, backend->id);
        peer->next = *bucket;
        *bucket = peer;
        upstreams->n_targets += backend->slot == VF_STATE_TARGET_SLOT;
    }
    peer->slot = backend->slot;
    watch_name(peer, backend, host);
    return peer;
}

int vf_peer_address(const struct vf_peer *peer, const struct vf_snap_backend *backend,
                    struct sockaddr_storage *address, socklen_t *len, uint32_t *tag)
{
    *tag = 0;
    if (backend->address.family != VF_FAMILY_NONE) {
        *len = vf_address_to_socket(&backend->address, address);
        return 0;
    }
    if (peer->name == NULL || vf_name_take(peer->name, address, len) < 0)
        return VF_ENOADDRESS;
    *tag = vf_addresses_tag(address);
    return 0;
}

/* Counters */

struct vf_state_backend *vf_peer_counters(const struct vf_peer *peer)
{
    return &peer->owner->proxy->block->backends[peer->slot];
}

struct vf_state_backend *vf_upstream_counters(struct vf_upstream_conn *up)
{
    return vf_peer_counters(up->peer);
}

/* All targets share a slot: what it shows is their sum. */
void vf_peer_show(struct vf_peer *peer)
{
    struct vf_state_backend *counters = vf_peer_counters(peer);
    if (vf_peer_is_target(peer)) {
        vf_count_add(&counters->idle, (uint64_t)peer->n_idle - peer->shown_idle);
        vf_count_add(&counters->open, (uint64_t)peer->n_open - peer->shown_open);
        peer->shown_idle = peer->n_idle;
        peer->shown_open = peer->n_open;
        return;
    }
    atomic_store_explicit(&counters->idle, peer->n_idle, memory_order_relaxed);
    atomic_store_explicit(&counters->open, peer->n_open, memory_order_relaxed);
}

void vf_peer_kept_one(struct vf_peer *peer, int change)
{
    peer->n_idle += (uint32_t)change;
    if (vf_peer_is_target(peer))
        peer->owner->n_kept_targets += (uint32_t)change;
}

void vf_peer_opened(struct vf_peer *peer)
{
    peer->n_open++;
    vf_count_add(&peer->owner->proxy->block->process.upstream_connections, 1);
    vf_peer_show(peer);
}

void vf_peer_closed(struct vf_peer *peer)
{
    peer->n_open--;
    vf_count_add(&peer->owner->proxy->block->process.upstream_connections, (uint64_t)-1);
    vf_peer_show(peer);
}

/* Publications */

bool vf_peer_is_gone(const struct vf_peer *peer)
{
    return !vf_peer_is_target(peer) && peer->seen != peer->owner->publication;
}

void vf_peer_close_kept(struct vf_peer *peer)
{
    while (peer->loans != NULL)
        vf_loan_close(peer->loans);
    while (peer->idle != NULL)
        vf_upstream_close(peer->idle);
    vf_h2_links_close(peer, false);
}

/* Neither the publication nor a connection knows it. */
static bool is_unknown(const struct vf_peer *peer)
{
    return peer->seen != peer->owner->publication;
}

static void close_gone(struct vf_upstreams *upstreams)
{
    for (size_t i = 0; i < VF_PEER_BUCKETS; i++)
        for (struct vf_peer *peer = upstreams->buckets[i]; peer != NULL; peer = peer->next)
            if (vf_peer_is_gone(peer))
                vf_peer_close_kept(peer);
}

void vf_upstreams_publish(struct vf_upstreams *upstreams, struct vf_snapshot *snapshot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    vf_upstreams_reap(upstreams);
    upstreams->publication++;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_backend *backend = vf_snap_backend(snapshot, i);
        struct vf_peer *peer =
            vf_upstreams_peer(upstreams, backend, vf_snap_str(snapshot, backend->host));
        if (peer == NULL)
            continue;
        peer->seen = upstreams->publication;
        peer->speaks_h1 = false;
    }
    close_gone(upstreams);
    sweep(upstreams, is_unknown);
    vf_upstreams_reap(upstreams);
}

void vf_upstreams_free_peers(struct vf_upstreams *upstreams)
{
    for (size_t i = 0; i < VF_PEER_BUCKETS; i++)
        while (upstreams->buckets[i] != NULL) {
            struct vf_peer *peer = upstreams->buckets[i];
            upstreams->buckets[i] = peer->next;
            free_peer(peer);
        }
}

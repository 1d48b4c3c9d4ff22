#define _GNU_SOURCE
#include "proxy/proxy.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/random.h"
#include "net/resolver.h"
#include "proxy/access/log.h"
#include "proxy/balance/balance.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/h2/conn.h"
#include "proxy/secure.h"
#include "proxy/upstream.h"
#include "snapshot/router.h"

enum { SPARE_DESCRIPTORS = 64 /* of the descriptor limit: logs, links, epoll, ... */ };

/* What is shared by all parts */

struct vf_str vf_proxy_date(struct vf_proxy *proxy)
{
    uint64_t wall_ms = vf_clock_wall_ms();
    if (wall_ms / 1000 != proxy->date_second) {
        proxy->date_second = wall_ms / 1000;
        vf_clock_http_date(wall_ms, proxy->date);
    }
    return vf_str_make(proxy->date, VF_CLOCK_HTTP_DATE_BYTES);
}

const struct vf_snap_listener *vf_proxy_find_listener(const struct vf_snapshot *snapshot,
                                                      struct vf_str name)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_LISTENERS);
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_listener *listener = vf_snap_listener(snapshot, i);
        if (vf_str_eq(vf_snap_str(snapshot, listener->name), name))
            return listener;
    }
    return NULL;
}

struct vf_h1_limits vf_proxy_head_limits(const struct vf_snapshot *snapshot,
                                         const struct vf_snap_listener *listener)
{
    const struct vf_snap_policy *policy = vf_snap_policy(snapshot, listener->policy);
    return (struct vf_h1_limits){.header_bytes = policy->value[VF_POLICY_HEADER_BYTES],
                                 .header_count = policy->value[VF_POLICY_HEADER_COUNT],
                                 .uri_bytes = policy->value[VF_POLICY_URI_BYTES]};
}

/* After each turn of events: what they queued leaves, then what they ended is freed. */
static void after_events(void *owner)
{
    struct vf_proxy *proxy = owner;
    if (proxy->phases.after_event != NULL)
        proxy->phases.after_event(proxy->phases.owner);
    vf_count *shown = &proxy->block->process.buffered_bytes;
    do { /* what leaves, or does not, may let in or end something on the other side */
        vf_upstreams_flush(proxy->upstreams);
        vf_h2_flush(proxy);
        vf_net_flush(&proxy->net);
    } while (vf_upstreams_are_pending(proxy->upstreams) || proxy->pending_h2 != NULL);
    if (vf_count_get(shown) != proxy->net.buffered_bytes)
        atomic_store_explicit(shown, proxy->net.buffered_bytes, memory_order_relaxed);
    if (proxy->dead_connections != NULL)
        vf_downstream_reap(proxy);
    if (proxy->dead_exchanges != NULL)
        vf_exchange_reap(proxy);
    vf_upstreams_reap(proxy->upstreams);
}

void vf_proxy_flush(struct vf_proxy *proxy)
{
    after_events(proxy);
}

/* Configuration */

static uint64_t connection_ceiling(const struct vf_snapshot *snapshot)
{
    uint64_t wanted = vf_snap_settings(snapshot)->connections;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    /* each client connection may need one to a backend */
    uint64_t possible = limit.rlim_cur > 2 * SPARE_DESCRIPTORS
                            ? (limit.rlim_cur - SPARE_DESCRIPTORS) / 2
                            : SPARE_DESCRIPTORS;
    return wanted < possible ? wanted : possible;
}

void vf_proxy_set_phases(struct vf_proxy *proxy, const struct vf_phases *phases)
{
    proxy->phases = *phases;
}

int vf_proxy_prepare(struct vf_proxy *proxy, struct vf_snapshot *snapshot)
{
    (void)proxy;
    /* vf_snapshot_open has proved the rest; without a listener nothing could be answered */
    return vf_snap_count(snapshot, VF_SNAP_LISTENERS) > 0 ? 0 : UV_EINVAL;
}

static bool same_log(const struct vf_snapshot *a, const struct vf_snapshot *b)
{
    const struct vf_snap_settings *old = vf_snap_settings(a), *new = vf_snap_settings(b);
    return vf_str_eq(vf_snap_str(a, old->access_path), vf_snap_str(b, new->access_path)) &&
           old->access_format == new->access_format && old->access_query == new->access_query;
}

static void follow_log(struct vf_proxy *proxy, struct vf_snapshot *old,
                       struct vf_snapshot *snapshot)
{
    if (proxy->has_handler || (old != NULL && same_log(old, snapshot)))
        return;
    vf_access_log_retire(proxy->access_log);
    proxy->access_log = NULL;
    int rc = vf_access_log_new(snapshot, proxy->block, &proxy->access_log);
    if (rc < 0)
        vf_log_error(&proxy->log, "access_log.failed", "err=%s", uv_err_name(rc));
}

void vf_proxy_publish(struct vf_proxy *proxy, struct vf_snapshot *snapshot)
{
    struct vf_snapshot *old = proxy->snapshot;
    proxy->snapshot = vf_snapshot_retain(snapshot);
    proxy->net.max_buffered_bytes = vf_snap_settings(snapshot)->buffer_memory;
    proxy->max_connections = connection_ceiling(snapshot);
    vf_proxy_follow_listeners(proxy);
    follow_log(proxy, old, snapshot);
    if (!proxy->has_handler) {
        vf_upstreams_publish(proxy->upstreams, snapshot);
        vf_router_sweep(proxy->router, snapshot);
    }
    if (proxy->secure != NULL)
        vf_secure_sweep(proxy->secure);
    vf_snapshot_release(&old);
}

void vf_proxy_reopen_logs(struct vf_proxy *proxy)
{
    if (proxy->access_log != NULL)
        vf_access_log_reopen(proxy->access_log);
}

/* Draining: idle connections end after drain_idle, exchanges after drain, tunnels after
 * drain_long. */

static void close_all(struct vf_proxy *proxy, bool tunnels_too)
{
    struct vf_downstream *client = proxy->connections;
    while (client != NULL) {
        struct vf_downstream *next = client->next;
        bool is_tunnel = client->ex != NULL && client->ex->is_tunnel;
        if (!is_tunnel || tunnels_too)
            vf_downstream_close(client, "drained");
        client = next;
    }
}

static void drain_connections(struct vf_proxy *proxy, bool now)
{
    struct vf_downstream *client = proxy->connections;
    while (client != NULL) {
        struct vf_downstream *next = client->next;
        vf_downstream_drain(client, now);
        client = next;
    }
}

static void finish_drain(struct vf_proxy *proxy)
{
    void (*on_drained)(void *owner) = proxy->on_drained;
    vf_upstreams_drop_idle(proxy->upstreams);
    proxy->on_drained = NULL;
    if (on_drained != NULL)
        on_drained(proxy->drained_owner);
}

static void on_drain_timer(struct vf_timer *timer)
{
    struct vf_proxy *proxy =
        (struct vf_proxy *)((char *)timer - offsetof(struct vf_proxy, drain_timer));
    const struct vf_snap_policy *policy =
        vf_snap_policy(proxy->snapshot, vf_snap_listener(proxy->snapshot, 0)->policy);
    uint64_t passed_ms = vf_reactor_now_ms(proxy->reactor) - proxy->drain_start_ms;
    uint64_t steps[] = {policy->value[VF_POLICY_DRAIN_IDLE_MS], policy->value[VF_POLICY_DRAIN_MS],
                        policy->value[VF_POLICY_DRAIN_LONG_MS]};
    if (passed_ms >= steps[0])
        drain_connections(proxy, true);
    if (passed_ms >= steps[1])
        close_all(proxy, false);
    if (passed_ms >= steps[2])
        close_all(proxy, true);
    if (proxy->n_connections == 0) {
        finish_drain(proxy);
        return;
    }
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < 3; i++)
        if (steps[i] > passed_ms && steps[i] - passed_ms < next_ms)
            next_ms = steps[i] - passed_ms;
    vf_reactor_timer(proxy->reactor, &proxy->drain_timer, next_ms);
}

void vf_proxy_drain(struct vf_proxy *proxy, void (*on_drained)(void *owner), void *owner)
{
    if (proxy->draining)
        return;
    vf_reactor_refresh(proxy->reactor);
    proxy->draining = true;
    proxy->on_drained = on_drained;
    proxy->drained_owner = owner;
    proxy->drain_start_ms = vf_reactor_now_ms(proxy->reactor);
    proxy->drain_timer.on_fire = on_drain_timer;
    while (proxy->acceptors != NULL)
        vf_proxy_unlisten(proxy, proxy->acceptors->io.fd, true);
    drain_connections(proxy, false);
    vf_upstreams_drop_idle(proxy->upstreams);
    vf_reactor_timer(proxy->reactor, &proxy->drain_timer, 0);
}

/* Life */

static int make_parts(struct vf_proxy *proxy)
{
    struct vf_resolver_options options = {.failures = &proxy->block->totals.resolve_failures};
    int rc;
    if ((rc = vf_reactor_new(proxy->loop, after_events, proxy, &proxy->reactor)) < 0 ||
        (rc = vf_net_init(&proxy->net, proxy->reactor, UINT64_MAX)) < 0 ||
        (rc = vf_upstreams_new(proxy, &proxy->upstreams)) < 0 ||
        (rc = vf_resolver_new(proxy->loop, &options, &proxy->resolver)) < 0)
        return rc;
    if (proxy->has_handler)
        return 0;
    if ((proxy->router = vf_router_new()) == NULL)
        return UV_ENOMEM;
    return vf_balancers_new(proxy->state, proxy->block_index, proxy->id_seed[0], &proxy->balancers);
}

int vf_proxy_new(uv_loop_t *loop, struct vf_state *state, int block,
                 const struct vf_handler *handler, struct vf_proxy **out)
{
    struct vf_proxy *proxy = calloc(1, sizeof(*proxy));
    if (proxy == NULL)
        return UV_ENOMEM;
    proxy->loop = loop;
    proxy->state = state;
    proxy->block_index = block;
    proxy->block = &state->blocks[block];
    if (handler != NULL) {
        proxy->handler = *handler;
        proxy->has_handler = true;
    }
    proxy->id_seed[0] = vf_random_seed();
    proxy->id_seed[1] = vf_random_seed();
    int rc = make_parts(proxy);
    if (rc < 0) {
        vf_proxy_free(proxy);
        return rc;
    }
    *out = proxy;
    return 0;
}

void vf_proxy_meter(struct vf_proxy *proxy, const struct vf_usage *usage)
{
    proxy->usage = usage;
}

static void free_spares(struct vf_proxy *proxy)
{
    while (proxy->spare_connections != NULL) {
        struct vf_downstream *next = proxy->spare_connections->next;
        free(proxy->spare_connections);
        proxy->spare_connections = next;
    }
    while (proxy->spare_exchanges != NULL) {
        struct vf_exchange *next = proxy->spare_exchanges->next;
        free(proxy->spare_exchanges);
        proxy->spare_exchanges = next;
    }
}

void vf_proxy_free(struct vf_proxy *proxy)
{
    if (proxy == NULL)
        return;
    proxy->on_drained = NULL;
    while (proxy->acceptors != NULL)
        vf_proxy_unlisten(proxy, proxy->acceptors->io.fd, false);
    close_all(proxy, true);
    if (proxy->reactor != NULL) { /* closing the last connection starts them once more */
        vf_reactor_timer_stop(proxy->reactor, &proxy->drain_timer);
        vf_reactor_timer_stop(proxy->reactor, &proxy->accept_timer);
    }
    if (proxy->upstreams != NULL && proxy->reactor != NULL)
        after_events(proxy);
    vf_upstreams_free(proxy->upstreams);
    vf_resolver_free(proxy->resolver);
    vf_balancers_free(proxy->balancers);
    vf_router_free(proxy->router);
    vf_access_log_free(proxy->access_log);
    free_spares(proxy);
    vf_arena_trim();
    vf_secure_free(proxy->secure);
    vf_net_deinit(&proxy->net);
    vf_snapshot_release(&proxy->snapshot);
    vf_reactor_free(proxy->reactor);
    free(proxy);
}

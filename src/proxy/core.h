/* proxy/core.h - what the parts of one proxy share. Private to src/proxy. */
#ifndef VF_PROXY_CORE_H
#define VF_PROXY_CORE_H

#include "base/log.h"
#include "http/h1.h"
#include "net/stream.h"
#include "proxy/phases.h"
#include "proxy/proxy.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"
#include "snapshot/usage.h"
#include "tls/server.h"

struct vf_access_log;
struct vf_balancers;
struct vf_downstream;
struct vf_exchange;
struct vf_h2;
struct vf_resolver;
struct vf_router;
struct vf_secure;
struct vf_upstreams;

/* A listening socket that is accepted from. */
struct vf_acceptor {
    struct vf_io io; /* first member */
    struct vf_acceptor *next;
    struct vf_proxy *proxy;
    const struct vf_snap_listener *listener; /* in proxy->snapshot; another's when it is gone */
    uint32_t refs;                           /* its place in the list, and each connection */
    char name[65];                           /* of the listener: its identity across snapshots */
    bool is_gone;   /* not in the configuration any more: connections end after their exchange */
    bool is_paused; /* the connection ceiling was reached */
    uint32_t mode;  /* enum vf_snap_listener_mode */
    bool has_proxy_header;                    /* its connections begin with one */
    struct vf_tls_server *tls;                /* counted reference; NULL: plain */
    uint64_t tls_hash;                        /* of what it was made of; 0: nothing */
    uint64_t handshake_ms;                    /* for a whole handshake */
    uint32_t handshake_rate, handshake_burst; /* a second and address, and at once; 0: off */
};

struct vf_proxy {
    uv_loop_t *loop;
    struct vf_reactor *reactor;
    struct vf_net net;
    struct vf_state *state;
    struct vf_state_block *block; /* ours to count into */
    int block_index;
    const struct vf_usage *usage; /* with a row of ours, or NULL: nothing is metered */
    struct vf_snapshot *snapshot; /* for new exchanges; NULL before the first */
    struct vf_handler handler;
    bool has_handler;
    struct vf_phases phases;
    uint32_t n_detached; /* exchanges in their log phase */

    struct vf_router *router;
    struct vf_balancers *balancers;
    struct vf_resolver *resolver;
    struct vf_upstreams *upstreams;
    struct vf_secure *secure;         /* NULL: no listener has had TLS yet */
    struct vf_access_log *access_log; /* NULL: off */

    struct vf_acceptor *acceptors;
    struct vf_downstream *connections;      /* all open ones */
    struct vf_downstream *dead_connections; /* closed in this event, to be freed after it */
    struct vf_downstream *spare_connections;
    struct vf_exchange *dead_exchanges; /* likewise */
    struct vf_exchange *spare_exchanges;
    unsigned n_spare_connections, n_spare_exchanges;
    uint64_t n_connections, max_connections;
    uint64_t full_logged_ms;      /* when listener.full was logged last; 0: never */
    struct vf_timer accept_timer; /* for another try, where descriptors or memory were wanting */
    uint64_t flood_due_ns; /* of lines about floods of records; and how many have been left out */
    uint64_t floods_unlogged;

    struct vf_h2 *pending_h2; /* connections of HTTP/2 that have frames to send */

    bool draining;
    struct vf_timer drain_timer; /* next step of the drain */
    uint64_t drain_start_ms;
    void (*on_drained)(void *owner);
    void *drained_owner;

    uint64_t id_seed[2], id_counter; /* of request ids */
    uint64_t date_second;            /* what `date` was made for */
    char date[32];
    struct vf_log log;
};

/* The current time as an IMF-fixdate of 29 bytes, valid until the next call. */
struct vf_str vf_proxy_date(struct vf_proxy *proxy);

/* The listener record called `name` in `snapshot`, or NULL. */
const struct vf_snap_listener *vf_proxy_find_listener(const struct vf_snapshot *snapshot,
                                                      struct vf_str name);

/* A client connection of `acceptor` went away: gives the reference back, accepts again where the
 * ceiling had stopped it, ends a drain. */
void vf_proxy_connection_closed(struct vf_proxy *proxy, struct vf_acceptor *acceptor);

/* A new snapshot is there: the acceptors, also those of sockets that are gone, follow it. */
void vf_proxy_follow_listeners(struct vf_proxy *proxy);

/* Returns the limits for heads on connections of `listener`. */
struct vf_h1_limits vf_proxy_head_limits(const struct vf_snapshot *snapshot,
                                         const struct vf_snap_listener *listener);

static inline uint64_t vf_proxy_now_ns(const struct vf_proxy *proxy)
{
    return vf_reactor_now_ns(proxy->reactor);
}

#endif

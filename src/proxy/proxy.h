/* proxy/proxy.h - the data plane of one process: client connections, exchanges, upstream pools.
 * One proxy per process, driven by one libuv loop; not thread-safe. A worker serves routes with it;
 * control serves the admin address with it (a handler instead of routes).
 *
 *   listener -> downstream (h1 codec) -> exchange -> router -> balancer -> upstream (h1 codec)
 */
#ifndef VF_PROXY_PROXY_H
#define VF_PROXY_PROXY_H

#include <stdbool.h>
#include <uv.h>

#include "base/str.h"

struct vf_exchange;
struct vf_proxy;
struct vf_snapshot;
struct vf_spool;
struct vf_state;
struct vf_usage;

/* What a handler takes of the content of a request. */
struct vf_body_rule {
    uint64_t max_bytes;     /* 413 beyond, whatever the limits of the conf file say */
    struct vf_spool *spool; /* where it goes, the exchange's from here on; NULL: to memory */
};

/* Answers exchanges itself instead of the routes of the snapshot. */
struct vf_handler {
    void *owner; /* passed back as the first argument */
    /* The head of a request with content has arrived. Sets *rule, or answers (vf_exchange_problem)
     * and returns false. */
    bool (*on_content)(void *owner, struct vf_exchange *ex, struct vf_body_rule *rule);
    /* The whole request, body included (ex->request_body or ex->spool), has arrived. The handler
     * answers with vf_exchange_answer, now or later; until then `ex` is valid unless on_gone is
     * called. */
    void (*on_request)(void *owner, struct vf_exchange *ex);
    /* The client went away before the answer, or from its tunnel: forget `ex`. */
    void (*on_gone)(void *owner, struct vf_exchange *ex);
    /* Of an answer that was a tunnel (proxy/tunnel.h): bytes of the client, valid until the return;
     * its end of file; and it takes bytes again after vf_tunnel_is_blocked was true. */
    void (*on_tunnel_data)(void *owner, struct vf_exchange *ex, struct vf_str slice);
    void (*on_tunnel_end)(void *owner, struct vf_exchange *ex);
    void (*on_tunnel_drained)(void *owner, struct vf_exchange *ex);
};

/* Makes a proxy on `loop` that counts into block `block` of `state`. `handler` may be NULL (a
 * worker); it is copied. Owned by the caller, see vf_proxy_free. Returns 0 or UV_E*. */
int vf_proxy_new(uv_loop_t *loop, struct vf_state *state, int block,
                 const struct vf_handler *handler, struct vf_proxy **out);

/* From here on plugins join exchanges; `phases` is copied. */
struct vf_phases;
void vf_proxy_set_phases(struct vf_proxy *proxy, const struct vf_phases *phases);

/* Counts from here on what tenants use in our row of `usage`, which outlives the proxy. Without it
 * nothing is metered. */
void vf_proxy_meter(struct vf_proxy *proxy, const struct vf_usage *usage);

/* Checks that `snapshot` can be served (maps what it needs, opens the access log). Returns 0, or
 * UV_E* and nothing has changed. */
int vf_proxy_prepare(struct vf_proxy *proxy, struct vf_snapshot *snapshot);

/* New exchanges use `snapshot` from here on; retains it. Running ones keep theirs. */
void vf_proxy_publish(struct vf_proxy *proxy, struct vf_snapshot *snapshot);

/* Starts accepting on the listening socket `fd`, which the proxy owns from here on, as the listener
 * called `listener` of the published snapshot. With a handler any name does: a unix socket, whose
 * peers have the address family NONE, goes by the limits of the admin listener. Returns 0 or UV_E*
 * (fd is closed then). */
int vf_proxy_listen(struct vf_proxy *proxy, struct vf_str listener, int fd);

/* Stops accepting on `fd` and closes it; takes what waits in its queue first when `drain_queue`. */
void vf_proxy_unlisten(struct vf_proxy *proxy, int fd, bool drain_queue);

/* Stops accepting, ends keep-alive connections after their next answer, closes idle ones after
 * drain_idle; exchanges get `drain`, tunnels `drain_long`. Calls on_drained once when no connection
 * is left, possibly at once. */
void vf_proxy_drain(struct vf_proxy *proxy, void (*on_drained)(void *owner), void *owner);

/* Sends what vf_exchange_answer queued. Called by a handler that answers later, outside of a
 * callback of the proxy. */
void vf_proxy_flush(struct vf_proxy *proxy);

/* Opens the access log file anew (after it was renamed). */
void vf_proxy_reopen_logs(struct vf_proxy *proxy);

/* Closes everything at once and frees the proxy; its handles close when the loop runs on. */
void vf_proxy_free(struct vf_proxy *proxy);

#endif

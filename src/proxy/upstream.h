/* proxy/upstream.h - what an exchange asks a backend through: a codec (struct vf_upstream), and the
 * connections below it, kept between exchanges. A connection of HTTP/1:
 *
 *   connecting -> head -> body -> idle -> head ...        one exchange at a time
 *                            \-> tunnel -> closed
 *
 * Connections are kept per backend (its stable id), last in first out, so that few stay warm and
 * the oldest age out. A kept one that becomes readable was closed by the backend, or says something
 * nobody asked for: it is dropped (RFC 9112 section 9.5). */
#ifndef VF_PROXY_UPSTREAM_H
#define VF_PROXY_UPSTREAM_H

#include "proxy/exchange.h"

struct vf_upstreams;

/* What a codec does: the functions of the same names below, for an exchange that has it. */
struct vf_upstream_codec {
    void (*send_head)(struct vf_exchange *ex);
    void (*send_data)(struct vf_exchange *ex, struct vf_str slice);
    void (*send_end)(struct vf_exchange *ex, const struct vf_fields *trailers);
    void (*finish)(struct vf_exchange *ex);
    void (*tunnel_end)(struct vf_exchange *ex);
    bool (*is_blocked)(const struct vf_exchange *ex);
    void (*resume)(struct vf_exchange *ex);
    void (*abandon)(struct vf_exchange *ex);
    bool may_refuse; /* a backend can say that it has done nothing about a request */
};

/* Part of what stands for a backend to one exchange. Owned by it. */
struct vf_upstream {
    const struct vf_upstream_codec *codec;
};

int vf_upstreams_new(struct vf_proxy *proxy, struct vf_upstreams **out);

/* Follows a new snapshot: watches the names of its backends, drops connections to backends that
 * are gone. */
void vf_upstreams_publish(struct vf_upstreams *upstreams, struct vf_snapshot *snapshot);

/* Closes kept connections to all backends (the proxy drains). */
void vf_upstreams_drop_idle(struct vf_upstreams *upstreams);

void vf_upstreams_free(struct vf_upstreams *upstreams);

/* At the end of a turn of events: what exchanges have said to backends is queued, what they take
 * again is handed to them. */
void vf_upstreams_flush(struct vf_upstreams *upstreams);

/* Returns true when there is something to do for vf_upstreams_flush. */
bool vf_upstreams_are_pending(const struct vf_upstreams *upstreams);

/* Frees what was closed in this event. */
void vf_upstreams_reap(struct vf_upstreams *upstreams);

/* Gives the exchange a connection to ex->backend: a kept one unless `fresh`, else a new one (its
 * output waits until it stands). Returns 0; VF_PENDING when a plugin's target has a name that is
 * being resolved: the exchange is dispatched again then; VF_ENOBACKEND when the pool's
 * max_connections is reached; VF_ENOADDRESS; or UV_E* when connecting fails at once. */
int vf_upstream_open(struct vf_exchange *ex, bool fresh);

/* The exchange waits no longer for a name (VF_PENDING of vf_upstream_open), if it did. */
void vf_upstream_stop_waiting(struct vf_exchange *ex);

/* After connecting to ex->backend failed: returns true when it has a name, and an address that has
 * not failed of late. */
bool vf_upstream_has_other_address(struct vf_exchange *ex);

/* Sends the head of ex->request for ex->forward_target. */
void vf_upstream_send_head(struct vf_exchange *ex);
/* Sends content, or bytes of a tunnel; the slice is borrowed until the next flush. */
void vf_upstream_send_data(struct vf_exchange *ex, struct vf_str slice);
/* The request is complete. */
void vf_upstream_send_end(struct vf_exchange *ex, const struct vf_fields *trailers);
/* The answer had come before the request was complete (ex->answer_ended); now both are: keeps the
 * connection, or closes it. */
void vf_upstream_finish(struct vf_exchange *ex);
/* The client sent end of file in a tunnel. */
void vf_upstream_tunnel_end(struct vf_exchange *ex);

/* Returns true while sent bytes wait for the backend, or the connection is not made yet. */
bool vf_upstream_is_blocked(const struct vf_exchange *ex);
/* The client takes bytes again: read on. */
void vf_upstream_resume(struct vf_exchange *ex);
/* The exchange wants nothing more of it, if it has one: closes the connection; no callback
 * follows. */
void vf_upstream_abandon(struct vf_exchange *ex);

#endif

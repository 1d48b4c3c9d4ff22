/* proxy/upstream_conn.h - a connection to a backend, and the backend as this process knows it: what
 * upstream_pool.c (who keeps connections) and upstream.c (who speaks on them) share. */
#ifndef VF_PROXY_UPSTREAM_CONN_H
#define VF_PROXY_UPSTREAM_CONN_H

#include "net/stream.h"
#include "proxy/upstream.h"

struct vf_name;
struct vf_upstreams;

/* A backend, whatever the snapshot. */
struct vf_peer {
    uint64_t id;
    uint32_t slot;
    uint32_t seen; /* publication in which it was there last */
    uint32_t n_open, n_idle;
    struct vf_upstream *idle, *idle_tail; /* newest first */
    struct vf_name *name;                 /* NULL: a literal address */
    struct vf_exchange *waiting;          /* for the first answer to a plugin's target's name */
    bool is_resolving;                    /* that has not come yet */
    struct vf_peer *next;                 /* in its bucket */
};

struct vf_upstream {
    struct vf_stream stream; /* first member */
    struct vf_upstreams *owner;
    struct vf_proxy *proxy;
    struct vf_peer *peer;
    struct vf_exchange *ex;          /* served now, or NULL */
    struct vf_upstream *next, *prev; /* among the peer's idle ones, when is_idle */
    struct vf_timer timer;
    char *input; /* incomplete head; NULL: none */
    size_t input_len, input_room;
    struct vf_splice *splice; /* a large answer passes through it; or NULL */
    uint32_t address_tag;     /* of a backend with a name: which of its addresses */
    uint32_t n_interim;       /* 1xx answers to this request */
    uint64_t sent_mark;       /* stream.bytes_out when the exchange began */
    bool is_idle;
    bool write_failed; /* what the backend answered before is still read */
    bool saw_eof;      /* of a tunnel */
    bool is_held;      /* what was read waits in `input` until a phase lets the answer go on */
    bool is_dead;      /* closed; freed after the event */
};

/* Events of a connection, by upstream.c. */
extern const struct vf_stream_events vf_upstream_events;
void vf_upstream_on_timer(struct vf_timer *timer);

/* The counters of its backend. */
struct vf_state_backend *vf_upstream_counters(struct vf_upstream *up);

/* Starts the connection's one timer. */
void vf_upstream_set_timer(struct vf_upstream *up, uint64_t delay_ms);

/* Closes the socket; the memory goes after the event. The exchange is the caller's business. */
void vf_upstream_close(struct vf_upstream *up);

/* Keeps the connection, whose exchange was taken off, for the next one, for `idle_ms`, within the
 * bound per backend. */
void vf_upstream_keep(struct vf_upstream *up, uint64_t idle_ms);

#endif

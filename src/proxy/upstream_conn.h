/* proxy/upstream_conn.h - a connection to a backend, and the backend as this process knows it: what
 * upstream_peers.c (who knows backends), upstream_pool.c (who keeps connections), upstream_open.c
 * (who makes them), upstream_h1.c and h2/link.c (who speak on them) and lending.c (who lends them
 * to others) share. */
#ifndef VF_PROXY_UPSTREAM_CONN_H
#define VF_PROXY_UPSTREAM_CONN_H

#include <sys/socket.h>

#include "net/stream.h"
#include "proxy/upstream.h"
#include "snapshot/state.h"

struct vf_h2_call;
struct vf_h2_flow;
struct vf_h2_link;
struct vf_name;
struct vf_socket;
struct vf_upstreams;

/* A backend, whatever the snapshot; or an address that a plugin has named, of no pool. */
struct vf_peer {
    struct vf_upstreams *owner;
    uint64_t id;
    uint32_t slot;
    uint32_t seen; /* publication in which it was there last */
    uint32_t n_open, n_idle;
    uint32_t shown_open, shown_idle;           /* of a target: what of that the counters show */
    struct vf_upstream_conn *idle, *idle_tail; /* kept by exchanges, newest first */
    struct vf_loan *loans, *loans_tail;        /* kept by others (proxy/lending.h), newest first */
    struct vf_h2_link *links;                  /* that speak HTTP/2, the oldest first */
    uint32_t most_calls;         /* that it takes at once on one of them, as far as known; else 0 */
    bool speaks_h1;              /* so its TLS has said since the last publication */
    struct vf_name *name;        /* NULL: a literal address */
    uint32_t moves;              /* how often its addresses have changed */
    struct vf_exchange *waiting; /* for the first answer to a plugin's target's name */
    bool is_resolving;           /* that has not come yet */
    bool is_waking;              /* who waited is being told: it is in use */
    struct vf_peer *next;        /* in its bucket */
};

/* A connection of a peer's that others speak on, or keep. Ends with its socket. */
struct vf_loan {
    struct vf_loan *next, *prev; /* among the kept ones of its peer */
    struct vf_peer *peer;
    struct vf_socket *socket;
    uint64_t tls_id; /* as of struct vf_upstream */
    bool is_kept;    /* then the socket is ours */
};

struct vf_upstream_conn {
    struct vf_stream stream; /* first member */
    struct vf_upstream upstream;
    struct vf_h2_link *h2; /* NULL: it speaks HTTP/1.1 */
    struct vf_upstreams *owner;
    struct vf_proxy *proxy;
    struct vf_peer *peer;
    struct vf_exchange *ex;               /* served now, or NULL */
    struct vf_upstream_conn *next, *prev; /* among the peer's idle ones, when is_idle */
    struct vf_timer timer;
    char *input; /* incomplete head; NULL: none */
    size_t input_len, input_room;
    struct vf_splice *splice; /* a large answer passes through it; or NULL */
    uint64_t tls_id;          /* of what its TLS was made of; 0: plain */
    bool has_own_tls;         /* another than the pool's: see struct vf_tls_choice */
    uint32_t address_tag;     /* of a backend with a name: which of its addresses */
    uint32_t moves;           /* of the peer, when that address was one of the name's */
    uint32_t n_interim;       /* 1xx answers to this request */
    uint64_t sent_mark;       /* stream.bytes_out when the exchange began */
    uint64_t taken_mark;      /* what the backend had taken when the timer last looked */
    bool is_idle;
    bool write_failed; /* what the backend answered before is still read */
    bool saw_eof;      /* of a tunnel */
    bool is_held;      /* what was read waits in `input` until a phase lets the answer go on */
    bool is_dead;      /* closed; freed after the event */
};

enum { VF_PEER_BUCKETS = 4096 };

struct vf_upstreams {
    struct vf_proxy *proxy; /* first member */
    struct vf_peer *buckets[VF_PEER_BUCKETS];
    struct vf_upstream_conn *dead, *spare;
    struct vf_h2_link *pending_links; /* have frames to send, or rest */
    struct vf_h2_call *resuming;      /* whose exchange takes content again */
    struct vf_h2_flow *dead_calls;    /* freed after the event */
    unsigned n_spare;
    unsigned n_targets, n_kept_targets;
    unsigned oldest_bucket; /* where the next kept one that has to go is looked for */
    uint32_t publication;
};

/* HTTP/1.1, and events of its connections, by upstream_h1.c. */
extern const struct vf_upstream_codec vf_upstream_h1;
extern const struct vf_stream_events vf_upstream_events;
void vf_upstream_on_timer(struct vf_timer *timer);

/* The counters of its backend. */
struct vf_state_backend *vf_upstream_counters(struct vf_upstream_conn *up);
struct vf_state_backend *vf_peer_counters(const struct vf_peer *peer);

static inline bool vf_peer_is_target(const struct vf_peer *peer)
{
    return peer->slot == VF_STATE_TARGET_SLOT;
}

/* Finds what this process knows of a backend, or begins to know it; `host` is the backend's, for
 * the resolver. NULL when out of memory. */
struct vf_peer *vf_upstreams_peer(struct vf_upstreams *upstreams,
                                  const struct vf_snap_backend *backend, struct vf_str host);

/* The exchange is dispatched again when the name of the peer has come to addresses, or to none. */
void vf_peer_wait_for_name(struct vf_peer *peer, struct vf_exchange *ex);

/* True when the last publication does not name the backend any more. What plugins have named is in
 * no publication: connections to it age. */
bool vf_peer_is_gone(const struct vf_peer *peer);

/* Closes the kept connections. */
void vf_peer_close_kept(struct vf_peer *peer);

/* True when the connection is to an address that its backend's name has no more: it is not used
 * again, or traffic would never follow the name. */
bool vf_upstream_is_stale(struct vf_upstream_conn *up);

/* Frees all peers, whose connections are closed. */
void vf_upstreams_free_peers(struct vf_upstreams *upstreams);

/* Finds an address to connect to: the backend's, or one of its name's, then with *tag. Returns 0 or
 * VF_ENOADDRESS. */
int vf_peer_address(const struct vf_peer *peer, const struct vf_snap_backend *backend,
                    struct sockaddr_storage *address, socklen_t *len, uint32_t *tag);

/* Shows how many connections are open and kept. */
void vf_peer_show(struct vf_peer *peer);

/* One connection more, or less, is open; shows that. */
void vf_peer_opened(struct vf_peer *peer);
void vf_peer_closed(struct vf_peer *peer);

/* One connection more (1) or less (-1) is kept. */
void vf_peer_kept_one(struct vf_peer *peer, int change);

/* True when connections to it may be kept: its backend is there, and the process goes on. */
bool vf_peer_may_keep(const struct vf_peer *peer);

/* Another one was kept: closes the oldest, where there are more than are allowed. */
void vf_peer_bound_kept(struct vf_peer *peer);

/* Finds the connection with this TLS that an exchange kept last; NULL: there is none. When the
 * pool's is looked for, those with what was the pool's go. */
struct vf_upstream_conn *vf_peer_find_idle(struct vf_peer *peer, uint64_t tls_id, bool is_own);

/* Takes it off the peer. */
void vf_peer_take_idle(struct vf_upstream_conn *up);

/* Takes one with this TLS that others have kept, for an exchange. NULL: there is none. */
struct vf_upstream_conn *vf_loan_take(struct vf_peer *peer, uint64_t tls_id);

/* Closes one that is kept. */
void vf_loan_close(struct vf_loan *loan);

/* Makes an unconnected connection of the peer's. NULL when out of memory. */
struct vf_upstream_conn *vf_upstream_new(struct vf_peer *peer);

/* Frees one that is closed, or was never connected, after the event. */
void vf_upstream_bury(struct vf_upstream_conn *up);

/* Starts the connection's one timer. */
void vf_upstream_set_timer(struct vf_upstream_conn *up, uint64_t delay_ms);

/* Closes the socket; the memory goes after the event. The exchange is the caller's business. */
void vf_upstream_close(struct vf_upstream_conn *up);

/* Logs why the TLS of a connection for `ex` failed. */
void vf_upstream_log_tls(const struct vf_upstream_conn *up, const struct vf_exchange *ex);

/* Keeps the connection, whose exchange was taken off, for the next one, for `idle_ms`, within the
 * bound per backend; or closes it, when its backend is gone. */
void vf_upstream_keep(struct vf_upstream_conn *up, uint64_t idle_ms);

#endif

/* proxy/exchange.h - one request and its answer, whatever the protocol on either side.
 *
 *   downstream codec --on_request*--> exchange --vf_upstream_*--> upstream codec
 *   downstream codec <--vf_client_*--  exchange <--on_response*--  upstream codec
 *
 * The request and the answer are two small machines of their own:
 *   IDLE -> HEAD -> BODY -> DONE;  HEAD -> DONE without a body;  any live state -> FAILED
 * An exchange pins its snapshot and owns an arena, where heads and all derived texts live. Owned by
 * its downstream connection; freed when both machines have come to an end. */
#ifndef VF_PROXY_EXCHANGE_H
#define VF_PROXY_EXCHANGE_H

#include "base/arena.h"
#include "base/timer.h"
#include "http/h1.h"
#include "http/message.h"
#include "http/target.h"
#include "snapshot/layout.h"

struct vf_client;
struct vf_held_body;
struct vf_labels;
struct vf_peer;
struct vf_plugin_run;
struct vf_proxy;
struct vf_route_match;
struct vf_snapshot;
struct vf_tls_wish;
struct vf_upstream;

enum vf_flow_state { VF_FLOW_IDLE = 0, VF_FLOW_HEAD, VF_FLOW_BODY, VF_FLOW_DONE, VF_FLOW_FAILED };

/* How a connection to a backend failed an exchange. */
enum vf_upstream_failure {
    VF_UPSTREAM_CONNECT = 0, /* no connection was made: nothing was sent */
    VF_UPSTREAM_CONNECT_TIMEOUT,
    VF_UPSTREAM_CLOSED,  /* before the first byte of an answer */
    VF_UPSTREAM_TIMEOUT, /* no first byte, or the next one, in time */
    VF_UPSTREAM_CUT,     /* within the answer */
    VF_UPSTREAM_MALFORMED,
    VF_UPSTREAM_RESET,  /* the backend gave this request up, before an answer */
    VF_UPSTREAM_REFUSED /* likewise, and says that it has done nothing about it */
};

enum { VF_TRIES = 4 /* backends that one exchange may try */ };

struct vf_exchange {
    struct vf_exchange *next; /* in the free list */
    struct vf_proxy *proxy;
    struct vf_client *client;     /* NULL once it has gone */
    struct vf_upstream *upstream; /* the backend that is asked, or NULL */
    struct vf_snapshot *snapshot; /* pinned; NULL: a tunnel stands, see proxy/labels.h */
    struct vf_labels *labels;     /* then; in the arena */
    struct vf_arena arena;
    const struct vf_snap_listener *listener;
    const struct vf_snap_route *route; /* NULL: none, or not chosen yet */
    const struct vf_snap_pool *pool;
    const struct vf_snap_backend *backend;
    uint32_t pool_index, backend_index;
    const struct vf_snap_policy *policy;
    struct vf_timer total_timer; /* timeouts.total */

    struct vf_head request;
    struct vf_target target;
    struct vf_path path;
    struct vf_str host;           /* what is routed on: lower or upper case, with port */
    struct vf_str forward_target; /* request-target for the backend */
    struct vf_str forward_host;   /* Host for the backend */
    struct vf_str request_id;
    struct vf_str allow;                   /* of a 405; else empty */
    struct vf_str client_ip;               /* text; behind trusted proxies: the real client's */
    struct vf_snap_address client_address; /* the same; port 0: not known */
    struct vf_str request_body;            /* whole, when a handler answers; NULL data otherwise */
    size_t request_body_room;
    uint64_t handler_body_bytes;   /* the handler's limit for the content */
    struct vf_spool *spool;        /* the content goes here instead, for a handler; or NULL */
    struct vf_spool *answer_spool; /* content of an answer of our own that is in a file; or NULL */
    char *answer_piece;            /* what is being sent of it; arena */
    uint64_t answer_sent;          /* bytes of it */
    void *tunnel; /* the handler's, once its answer was 101 (proxy/tunnel.h); else NULL */

    struct vf_head response;

    enum vf_flow_state request_state, response_state;
    bool head_sent;       /* a final answer's head has left: no other answer is possible */
    bool answer_ended;    /* the answer is complete, the rest of the request is awaited */
    bool is_local;        /* the answer is our own */
    bool sends_spool;     /* vf_exchange_send_spool is on the stack */
    bool is_tunnel;       /* 101: both sides are bytes now */
    bool is_raw;          /* they were from the beginning, see proxy/tcp.h */
    bool tunnel_held;     /* the handler takes no bytes for now */
    bool close_client;    /* Connection: close in the answer, and close behind it */
    bool chunk_answer;    /* the answer goes to an HTTP/1 client in chunks */
    bool chunk_request;   /* the request goes to an HTTP/1 backend in chunks */
    bool on_reused;       /* the upstream connection served an exchange before */
    bool retried;         /* the one second try on a fresh connection was used */
    bool moved_on;        /* instead, a backend took the request and closed: another got it */
    bool replayable;      /* all content sent so far is in `replay` */
    bool in_flight;       /* counted in the backend's gauge */
    bool trusted;         /* the peer is a trusted proxy: believe its forwarding fields */
    bool set_cookie;      /* send the sticky cookie */
    bool was_full;        /* a backend was at its connection limit */
    bool handled;         /* handed to the handler, which has not answered */
    bool collects;        /* request content goes to request_body, for a phase that waits */
    bool collect_failed;  /* it is larger than the phase may have */
    bool invited;         /* 100 Continue was sent */
    bool filters_body;    /* content goes through the body filter */
    bool header_filtered; /* the header filter has run */
    bool chunk_is_last;   /* `chunk` is the end of the content */
    bool buffers_answer;  /* a plugin wants the backend's answer as a whole */
    bool is_buffering;    /* it is being collected: neither head nor content has left */
    bool is_whole;        /* it was collected: local_body has the content */
    bool has_backlog;     /* it was too large: what was collected leaves behind the head */
    bool wants_timings;   /* a trusted client asks what its plugins took */
    bool is_logged;       /* the log phase has run */
    bool has_new_body;    /* a plugin has set request_body */
    bool own_tls_failed;  /* the last try: by TLS that a plugin wanted, no sign of the backend */
    struct vf_str replay; /* request content so far, to be sent once more; arena */
    size_t replay_room;
    uint32_t tried[VF_TRIES]; /* backend indexes */
    uint32_t n_tried;
    uint32_t n_addresses; /* that failed, of backends that have others */
    uint32_t upstream_status;
    enum vf_upstream_failure last_failure; /* to connect, of the backends tried */
    const char *reason; /* stable reason code of an answer of our own, or why it failed; or NULL */

    /* Plugins, see proxy/phases.h */
    struct vf_plugin_run *plugins; /* the phases' owner's; NULL: none */
    uint32_t phases;               /* bits 1 << enum vf_phase that the chain has */
    enum vf_phase waits;           /* which phase runs or waits; VF_PHASES: none */
    struct vf_route_match *match;  /* in the arena, once a route with plugins was found */
    struct vf_str chunk;           /* what the body filter works on, and its result */
    struct vf_str local_body;      /* of an answer of our own */
    struct vf_held_body *held;     /* answer content that waits for the filter; NULL: none */
    struct vf_str timings;         /* Server-Timing, as far as known; in the arena */
    size_t timings_room;
    struct vf_str consumer;   /* who asks, for the access log; may be empty */
    uint32_t max_tries;       /* backends; VF_TRIES unless a plugin has set less */
    bool has_target;          /* `backend` is a plugin's, of no pool */
    bool target_is_new;       /* it was not tried yet */
    struct vf_peer *waits_at; /* whose name is being resolved for this exchange, or NULL */
    struct vf_exchange *next_waiting;
    struct vf_str target_host; /* its host, and "host:port" */
    struct vf_str target_text;
    struct vf_fields early_fields; /* for the answer, set by phases before there is one */
    uint32_t n_upstream_fields;    /* of response.fields that came from the backend */
    uint64_t collect_max;          /* bytes that request_body may have */
    uint64_t collect_answer_max;   /* bytes of an answer that is collected */
    struct vf_str new_path;   /* a plugin's, for the backend; data NULL: as chosen by the route */
    struct vf_str new_query;  /* likewise */
    struct vf_str new_method; /* likewise */
    uint32_t sent_method;     /* http/method.h; what the backend is asked for */
    struct vf_tls_wish *tls_wish; /* TLS to the backend as plugins want it, or NULL; arena */

    bool is_secure;                                     /* the client's connection has TLS */
    struct vf_str tls_version, tls_cipher, server_name; /* of it; the latter in the arena */
    bool is_handshake;     /* TLS has yet to begin, there is no request: see proxy/hello.h */
    bool asks_certificate; /* then: a plugin wants the client's certificate */
    bool forbids_tickets;  /* then: a plugin wants no session to be resumed */

    uint64_t start_ns, connect_ns, connected_ns, sent_ns, first_byte_ns;
    uint64_t discarded_bytes;     /* content that came after a complete answer */
    uint64_t bytes_in, bytes_out; /* content, both heads excluded */
    struct vf_usage_cell *usage;  /* of the route's tenant, or NULL: not metered */
    bool is_metered;              /* the request is counted in `usage` */

    /* Only what stands above is zero to begin with: these are begun with their messages. */
    struct vf_h1 request_parser;  /* of an HTTP/1 client */
    struct vf_h1 response_parser; /* of an HTTP/1 backend */
};

/* Makes an exchange on the newest snapshot for a client connection. Returns NULL when out of
 * memory. */
struct vf_exchange *vf_exchange_new(struct vf_proxy *proxy, struct vf_client *client,
                                    const struct vf_snap_listener *listener);

/* A head that came in pieces is whole: the exchange begins now, on the newest snapshot. `listener`
 * is that of the connection. */
void vf_exchange_renew(struct vf_exchange *ex, const struct vf_snap_listener *listener);

/* From the downstream codec. ex->request is filled; *target and host not yet judged. */
void vf_exchange_on_request(struct vf_exchange *ex);
void vf_exchange_on_request_data(struct vf_exchange *ex, struct vf_str slice);
void vf_exchange_on_request_end(struct vf_exchange *ex);
/* The codec refused the request (head or body): answer and close. */
void vf_exchange_on_fault(struct vf_exchange *ex, const struct vf_fault *fault);
/* The client did not send in time: 408. */
void vf_exchange_on_client_timeout(struct vf_exchange *ex);
/* The client is gone; the codec forgets `ex` after this call. */
void vf_exchange_on_client_gone(struct vf_exchange *ex, const char *reason);
/* Everything sent to the client has left: read on. */
void vf_exchange_on_client_drained(struct vf_exchange *ex);
/* Returns true while the exchange takes request body bytes. */
bool vf_exchange_wants_body(const struct vf_exchange *ex);

/* From the upstream codec. */
void vf_exchange_on_connected(struct vf_exchange *ex); /* a new connection stands */
void vf_exchange_on_interim(struct vf_exchange *ex);   /* 1xx in ex->response, not 101 */
void vf_exchange_on_response(struct vf_exchange *ex);  /* final head (or 101) in ex->response */
void vf_exchange_on_response_data(struct vf_exchange *ex, struct vf_str slice);
void vf_exchange_on_response_end(struct vf_exchange *ex);
/* Everything sent to the backend has left. */
void vf_exchange_on_upstream_drained(struct vf_exchange *ex);
/* The connection ended: refused, reset, timed out, malformed. It was given back already. `fault` is
 * NULL unless the answer was malformed. */
void vf_exchange_on_upstream_failed(struct vf_exchange *ex, enum vf_upstream_failure failure,
                                    const struct vf_fault *fault);

/* Answers with a problem document (RFC 9457) or a small HTML page, by Accept. `reason` is a stable
 * code; `detail` one sentence for people. */
void vf_exchange_problem(struct vf_exchange *ex, uint32_t status, const char *reason,
                         const char *detail);

/* Answers with `body`, which is copied. `fields` holds further fields as name, value pairs in text
 * that lives as long as the exchange; may be NULL. */
void vf_exchange_answer(struct vf_exchange *ex, uint32_t status, struct vf_str content_type,
                        struct vf_str body, const struct vf_fields *fields);

/* Answers with what is in `spool`, which is the exchange's from here on: piece by piece, as the
 * client takes it. For handlers. */
void vf_exchange_answer_spool(struct vf_exchange *ex, uint32_t status, struct vf_str content_type,
                              struct vf_spool *spool, const struct vf_fields *fields);

/* Goes on with that. For proxy/exchange.c, when the client takes more. */
void vf_exchange_send_spool(struct vf_exchange *ex);

/* The answer, whose head has left, cannot be completed: the client notices. Frees the exchange. */
void vf_exchange_fail(struct vf_exchange *ex, const char *reason);

/* The header filter is through: sends the head, and what there is of the content. */
void vf_exchange_head_is_ready(struct vf_exchange *ex);

/* The content and the end of an answer of our own whose head has left. For proxy/exchange.c. */
void vf_exchange_send_local(struct vf_exchange *ex);

/* Sends 100 Continue, because whole content is wanted before the request goes on. */
void vf_exchange_invite_content(struct vf_exchange *ex);

/* Ends the bookkeeping (counters, log) and frees the exchange. The caller has forgotten it. */
void vf_exchange_free(struct vf_exchange *ex);

/* The log phase is through: frees the exchange. For proxy/phases.c. */
void vf_exchange_finish(struct vf_exchange *ex);

/* Ends the exchange `total_ms` from now, whatever it is doing (timeouts.total). */
void vf_exchange_limit_total(struct vf_exchange *ex, uint64_t total_ms);

/* Frees the memory of exchanges that ended in this event. */
void vf_exchange_reap(struct vf_proxy *proxy);

/* Applies header edits to a list of fields (remove, set, add), in the exchange's arena. */
void vf_exchange_edit(struct vf_exchange *ex, struct vf_fields *fields, struct vf_snap_list edits);

#endif

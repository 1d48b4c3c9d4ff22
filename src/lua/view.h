/* lua/view.h - an exchange as the plugin API sees it, through FFI: readers fill views, editors
 * copy what they are given into the exchange's arena. Views are borrowed: valid until the
 * exchange changes what they show, at the latest until the phase returns. None of these functions
 * enters Lua, closes a connection or frees an exchange. Mirrored by
 * lua/veloflux/runtime/view.lua. */
#ifndef VF_LUA_VIEW_H
#define VF_LUA_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct vf_exchange;

/* Results of editors. */
enum vf_view_result {
    VF_VIEW_OK = 0,
    VF_VIEW_BAD_NAME = -1,  /* not a token (RFC 9110 section 5.6.2) */
    VF_VIEW_BAD_VALUE = -2, /* has characters that a field value may not have (section 5.5) */
    VF_VIEW_OURS = -3,      /* framing and connection fields are written by the proxy */
    VF_VIEW_TOO_LATE = -4,  /* it has left already */
    VF_VIEW_NO_MEMORY = -5,
    VF_VIEW_UNKNOWN = -6 /* there is no such thing (pool, body) */
};

enum vf_view_side {
    VF_VIEW_REQUEST = 0,
    VF_VIEW_RESPONSE, /* as it goes to the client */
    VF_VIEW_UPSTREAM  /* the backend's answer as it came */
};

struct vf_request_view {
    uint32_t size;                /* sizeof(struct vf_request_view), checked by Lua when it loads */
    uint32_t http_version;        /* 10, 11 or 20 */
    struct vf_str method, target; /* as received */
    struct vf_str path;           /* normalised */
    struct vf_str raw_path;       /* as received, without query */
    struct vf_str query;          /* without the question mark; data NULL: there is none */
    struct vf_str host;           /* as received, with port where there is one */
    struct vf_str request_id;
    struct vf_str client_ip; /* the real client's, behind trusted proxies */
    struct vf_str peer_ip;   /* of the connection, or what its PROXY header says */
    uint32_t peer_port, client_port, listener_port; /* client_port 0: a proxy has not told it */
    uint32_t is_trusted;                            /* the peer is a trusted proxy */
    uint32_t is_tls;                                /* of the client's connection */
    uint64_t start_wall_ms;                         /* when the request began */
    uint64_t content_length;                        /* UINT64_MAX: not known */
};

void vf_view_request(struct vf_exchange *ex, struct vf_request_view *out);

/* The TLS of the client's connection. */
struct vf_tls_view {
    uint32_t size; /* sizeof(struct vf_tls_view) */
    uint32_t is_tls, is_resumed;
    uint32_t has_certificate; /* the client has sent one */
    struct vf_str version, cipher, server_name;
    struct vf_str fault; /* of the certificate: "expired", ...; empty: it is good */
};

void vf_view_tls(struct vf_exchange *ex, struct vf_tls_view *out);

/* The client's certificates, DER, one behind the other, its own first. Returns their bytes, at most
 * `room` of which were written; 0: it has sent none. */
size_t vf_view_client_chain(struct vf_exchange *ex, char *out, size_t room);

/* In the certificate phase: the client is asked for a certificate; its session is not resumed.
 * Return enum vf_view_result. */
int vf_view_ask_certificate(struct vf_exchange *ex);
int vf_view_forbid_tickets(struct vf_exchange *ex);

/* One text of an exchange: what most handlers ask for does not need the whole view. */
enum vf_view_text {
    VF_VIEW_METHOD = 0,
    VF_VIEW_PATH,
    VF_VIEW_RAW_PATH,
    VF_VIEW_QUERY,
    VF_VIEW_HOST,
    VF_VIEW_REQUEST_ID,
    VF_VIEW_CLIENT_IP,
    VF_VIEW_PEER_IP,
    VF_VIEW_TENANT,      /* of the route; empty: none */
    VF_VIEW_UPSTREAM_URI /* request-target as a backend gets it; NULL: none was asked yet */
};

/* Data is NULL when there is no such text. */
void vf_view_text(struct vf_exchange *ex, int what, struct vf_str *out);

/* The nth field (from 0) called `name` (any case, `_` is taken for `-`). Returns 1, or 0: no such
 * field. */
int vf_view_field(struct vf_exchange *ex, int side, const char *name, size_t len, uint32_t nth,
                  struct vf_str *value);

/* The first field at or behind `index`. Returns the index behind it, or 0: there is none. */
uint32_t vf_view_field_at(struct vf_exchange *ex, int side, uint32_t index, struct vf_str *name,
                          struct vf_str *value);

enum vf_view_edit { VF_VIEW_CLEAR = 0, VF_VIEW_SET, VF_VIEW_ADD };

/* Edits the fields of the request or the answer. Returns enum vf_view_result. */
int vf_view_edit_field(struct vf_exchange *ex, int side, int edit, const char *name,
                       size_t name_len, const char *value, size_t value_len);

/* The capture `nth` of the route's pattern, 0 being all that matched. Returns 0 when there is
 * none. */
int vf_view_capture(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);

/* What the backend gets instead. Paths and queries are checked: VF_VIEW_BAD_VALUE. */
int vf_view_set_path(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_query(struct vf_exchange *ex, const char *data, size_t len);
/* HEAD cannot become another method, nor another method HEAD. */
int vf_view_set_method(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_request_body(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_pool(struct vf_exchange *ex, const char *name, size_t len);
/* Milliseconds; 0: as configured. */
int vf_view_set_timeouts(struct vf_exchange *ex, uint64_t connect_ms, uint64_t send_ms,
                         uint64_t response_ms);

/* TLS to the backend, of this exchange alone (proxy/upstream_tls.h). What is set for a backend that
 * is spoken to without TLS does nothing. Certificates and keys are DER, which was judged. */
int vf_view_set_scheme(struct vf_exchange *ex, int is_tls);
int vf_view_set_tls_verify(struct vf_exchange *ex, int is_on);
int vf_view_set_tls_depth(struct vf_exchange *ex, uint32_t depth);
int vf_view_set_tls_store(struct vf_exchange *ex, const char *authorities, size_t len);
int vf_view_set_tls_identity(struct vf_exchange *ex, const char *chain, size_t chain_len,
                             const char *key, size_t key_len);

/* Asks for the request content. Returns 1 when it is there (or nothing comes), 0: wait for it. */
int vf_view_collect_body(struct vf_exchange *ex);
/* Nobody waits for it after all. */
void vf_view_leave_body(struct vf_exchange *ex);
/* Returns 1 with the content, 0 when it was larger than `body` of plugin_limits. */
int vf_view_request_body(struct vf_exchange *ex, struct vf_str *out);

/* Asks that the backend's answer be collected before the header filter runs. */
void vf_view_want_answer(struct vf_exchange *ex);
/* The content of an answer that was collected. Returns 0 when there is none. */
int vf_view_answer_body(struct vf_exchange *ex, struct vf_str *out);
/* Sets the content of such an answer, in the header filter. */
int vf_view_set_answer_body(struct vf_exchange *ex, const char *data, size_t len);

struct vf_response_view {
    uint32_t size; /* of this struct, checked by Lua when it loads */
    uint32_t status;
    uint32_t upstream_status; /* 0: no backend has answered */
    uint32_t is_local;        /* 1: our own answer */
    uint32_t is_plugins;      /* 1: a plugin's */
    uint32_t head_sent;
    uint64_t bytes_in, bytes_out;
    uint64_t start_ns, connect_ns, connected_ns, sent_ns, first_byte_ns, now_ns;
    struct vf_str reason; /* reason code of an answer of our own; may be empty */
    struct vf_str route, route_tenant, pool, backend, listener; /* empty: none */
    uint32_t tries;
};

void vf_view_response(struct vf_exchange *ex, struct vf_response_view *out);

/* The address of the nth backend (from 0) that was tried, "192.0.2.1:80". Returns 0: there is
 * none. */
int vf_view_try(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);

int vf_view_set_status(struct vf_exchange *ex, uint32_t status);

/* The piece that the body filter works on. */
void vf_view_chunk(struct vf_exchange *ex, struct vf_str *out, uint32_t *is_last);
/* Replaces it by memory that the caller keeps until the phase is over and the piece has left. */
void vf_view_set_chunk(struct vf_exchange *ex, const char *data, size_t len);

/* The answer that a plugin gives; it leaves when the task exits. A second begin starts anew. */
int vf_view_answer(struct vf_exchange *ex, uint32_t status, const char *body, size_t len);
int vf_view_answer_field(struct vf_exchange *ex, const char *name, size_t name_len,
                         const char *value, size_t value_len);
/* One that was begun does not leave. */
void vf_view_forget_answer(struct vf_exchange *ex);

/* The exchange goes on with a chain that Lua has resolved; `phases` are bits 1 << enum vf_phase. */
void vf_view_switch_chain(struct vf_exchange *ex, uint32_t phases);

/* The consumer, for the access log. */
void vf_view_set_consumer(struct vf_exchange *ex, const char *name, size_t len);

/* How many bytes of content plugins may keep of one exchange. */
uint64_t vf_view_body_limit(const struct vf_exchange *ex);

/* Returns 1 when the address is one of trusted_proxies. */
int vf_view_is_trusted(const struct vf_exchange *ex, const char *ip, size_t len);

/* Sends the request to `host` (an IP address or a name) instead of a backend of the pool. */
int vf_view_set_target(struct vf_exchange *ex, const char *host, size_t len, uint32_t port);

/* The balancer phase runs for this exchange, even if no plugin has it: for a retry callback. */
void vf_view_want_balancer(struct vf_exchange *ex);

/* How many backends may be tried at most, 1 to VF_TRIES. */
void vf_view_set_tries(struct vf_exchange *ex, uint32_t tries);

struct vf_route_view {
    uint32_t size;
    uint32_t path_kind;                     /* enum vf_snap_path_kind */
    struct vf_str name, tenant, path, pool; /* pool: that the route names */
    uint64_t id;
    uint32_t strip_prefix, action; /* enum vf_snap_action */
    uint64_t methods;              /* bit 1 << method; 0: any */
    struct vf_str more_methods;    /* extension methods among them: "BREW, X-COPY" */
    uint64_t version;              /* of the snapshot; 0: the route has outlived it */
    int32_t priority;
};

/* The route of the exchange. Returns 0 when it has none. */
int vf_view_route(struct vf_exchange *ex, struct vf_route_view *out);
/* Its nth host, from 0. Returns 0 when there are no more. */
int vf_view_route_host(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);

struct vf_condition_view {
    uint32_t kind, test; /* enum vf_snap_condition_kind, vf_snap_condition_test */
    struct vf_str name, value;
};

/* The nth condition of its route, from 0. Returns 0 when there are no more. */
int vf_view_route_condition(struct vf_exchange *ex, uint32_t nth, struct vf_condition_view *out);

struct vf_service_view { /* a pool */
    uint32_t size;
    uint32_t is_tls, verify, depth; /* of its TLS */
    uint32_t protocol;              /* enum vf_snap_protocol */
    uint32_t port;                  /* of its first backend; 0: there is none */
    uint32_t max_tries;
    uint64_t connect_ms, write_ms, read_ms; /* UINT64_MAX: no limit */
    struct vf_str tenant, name;
    uint64_t version; /* of the snapshot */
};

/* The pool that its route names, whatever plugins have chosen instead. Returns 0 when it names
 * none, or when the exchange has outlived its snapshot. */
int vf_view_service(struct vf_exchange *ex, struct vf_service_view *out);

/* The reason code of the access log and of problem documents; `code` lives as long as the
 * exchange. */
int vf_view_set_reason(struct vf_exchange *ex, const char *code, size_t len);

#endif

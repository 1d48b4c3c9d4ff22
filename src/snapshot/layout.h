/* snapshot/layout.h - what a snapshot looks like: the compiled configuration, immutable and
 * position-independent. A snapshot is one block of memory in a sealed memfd: a header, sections of
 * fixed-size records, and texts. Texts are byte ranges from the start of the snapshot; references
 * to records are indexes into their section. Nothing is a pointer, so any process maps it anywhere.
 *
 * What is about TLS and about plugins is in files of its own, layout_tls.h and layout_plugins.h.
 * They are read twice: by the C compiler, and by LuaJIT (ffi.cdef, with the lines that begin
 * with # left out), so that the compiler in lua/veloflux writes just these records. Hence enums
 * instead of macros, and no inline functions: those are in snapshot/snapshot.h. */
#ifndef VF_SNAPSHOT_LAYOUT_H
#define VF_SNAPSHOT_LAYOUT_H

#include <stdint.h>

#include "snapshot/layout_base.h"
#include "snapshot/layout_plugins.h"
#include "snapshot/layout_tls.h"

enum vf_snap_section {
    VF_SNAP_LISTENERS = 0,   /* struct vf_snap_listener */
    VF_SNAP_POOLS,           /* struct vf_snap_pool */
    VF_SNAP_BACKENDS,        /* struct vf_snap_backend; those of one pool follow each other */
    VF_SNAP_ROUTES,          /* struct vf_snap_route */
    VF_SNAP_BINDINGS,        /* struct vf_snap_binding */
    VF_SNAP_CONDITIONS,      /* struct vf_snap_condition */
    VF_SNAP_POLICIES,        /* struct vf_snap_policy */
    VF_SNAP_FIELD_OPS,       /* struct vf_snap_field_op */
    VF_SNAP_HEALTH,          /* struct vf_snap_health */
    VF_SNAP_NETWORKS,        /* struct vf_snap_network: trusted proxies */
    VF_SNAP_TENANTS,         /* struct vf_snap_tenant */
    VF_SNAP_PLUGINS,         /* struct vf_snap_plugin: those that an instance uses */
    VF_SNAP_PLUGIN_FILES,    /* struct vf_snap_plugin_file; those of one plugin follow each other */
    VF_SNAP_INSTANCES,       /* struct vf_snap_instance */
    VF_SNAP_MEMBERS,         /* uint32_t indexes of instances */
    VF_SNAP_CHAINS,          /* struct vf_snap_chain; equal ones stand here once */
    VF_SNAP_DESTINATIONS,    /* struct vf_snap_destination; those of one listener in byte order */
    VF_SNAP_TLS,             /* struct vf_snap_tls */
    VF_SNAP_IDENTITIES,      /* struct vf_snap_identity */
    VF_SNAP_SERVER_NAMES,    /* struct vf_snap_server_name; those of one listener in byte order */
    VF_SNAP_NAME_IDENTITIES, /* uint32_t indexes of identities */
    VF_SNAP_UPSTREAM_TLS,    /* struct vf_snap_upstream_tls */
    VF_SNAP_TRUSTS,          /* struct vf_snap_trust */
    VF_SNAP_CLIENT_CERTS,    /* struct vf_snap_client_cert; equal ones stand here once */
    VF_SNAP_HOSTS,           /* struct vf_snap_host: hash table, made by the builder */
    VF_SNAP_NODES,      /* struct vf_snap_node: path segments, hash table, made by the builder */
    VF_SNAP_CANDIDATES, /* uint32_t route indexes, made by the builder */
    VF_SNAP_SECTIONS
};

/* Numeric limits and time-outs. Times are milliseconds, sizes bytes; `off` is UINT64_MAX. */
enum vf_snap_policy_field {
    VF_POLICY_CLIENT_HEADER_MS = 0, /* whole request head, from its first byte */
    VF_POLICY_CLIENT_BODY_MS,       /* between two bytes of a request body */
    VF_POLICY_CLIENT_IDLE_MS,       /* keep-alive connection without a request */
    VF_POLICY_CONNECT_MS,           /* to reach a backend */
    VF_POLICY_RESPONSE_MS,          /* from the last request byte sent to the first answer byte */
    VF_POLICY_RESPONSE_BODY_MS,     /* between two bytes of an answer's body */
    VF_POLICY_TUNNEL_MS,            /* between two bytes of a tunnel, either way */
    VF_POLICY_UPSTREAM_IDLE_MS,     /* unused upstream connection */
    VF_POLICY_TOTAL_MS,             /* the whole exchange */
    VF_POLICY_DRAIN_MS,
    VF_POLICY_DRAIN_IDLE_MS,
    VF_POLICY_DRAIN_LONG_MS,
    VF_POLICY_HEADER_BYTES,
    VF_POLICY_HEADER_COUNT,
    VF_POLICY_URI_BYTES,
    VF_POLICY_BODY_BYTES,
    VF_POLICY_FIELDS
};

/* One level of timeouts and limits. A listener's is complete (global and its own); a route's holds
 * what route and pool set, and only the fields whose bit is set count. */
struct vf_snap_policy {
    uint64_t set; /* bit 1 << enum vf_snap_policy_field */
    uint64_t value[VF_POLICY_FIELDS];
};

enum vf_snap_field_op_kind { VF_FIELD_REMOVE = 0, VF_FIELD_SET, VF_FIELD_ADD };

/* One header field edit; lists are applied in order: global, listener, pool, route. */
struct vf_snap_field_op {
    uint32_t kind; /* enum vf_snap_field_op_kind */
    uint32_t reserved;
    struct vf_snap_text name;  /* valid token */
    struct vf_snap_text value; /* valid field value */
};

struct vf_snap_edits {
    struct vf_snap_list request;  /* VF_SNAP_FIELD_OPS */
    struct vf_snap_list response; /* VF_SNAP_FIELD_OPS */
};

enum vf_snap_family { VF_FAMILY_NONE = 0, VF_FAMILY_IPV4, VF_FAMILY_IPV6 };

struct vf_snap_address {
    uint32_t family; /* enum vf_snap_family; NONE: the host is a name to be resolved */
    uint16_t port;   /* host order; a listener's may be 0: any */
    uint16_t reserved;
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

struct vf_snap_network {
    struct vf_snap_address address; /* port unused */
    uint32_t prefix_bits;
    uint32_t reserved;
};

enum vf_snap_listener_kind { VF_LISTENER_PROXY = 0, VF_LISTENER_ADMIN };

/* What its connections speak. */
enum vf_snap_listener_mode {
    VF_LISTENER_HTTP = 0,
    VF_LISTENER_TCP,            /* bytes, which are passed on as they are */
    VF_LISTENER_TLS_PASSTHROUGH /* the same; the name in the ClientHello says where to */
};

struct vf_snap_listener {
    struct vf_snap_text name;
    struct vf_snap_text address_text; /* as in the conf file, for messages */
    struct vf_snap_address address;
    uint32_t kind;           /* enum vf_snap_listener_kind */
    uint32_t slot;           /* state area: listener counters */
    uint32_t proxy_protocol; /* 1: every connection begins with a PROXY header, v1 or v2 */
    uint32_t policy;         /* VF_SNAP_POLICIES, complete */
    uint32_t tls;            /* VF_SNAP_TLS, or VF_SNAP_NONE: plain */
    uint32_t https_port;     /* plain requests are sent there; 0: they are served */
    uint32_t mode;           /* enum vf_snap_listener_mode */
    uint32_t reserved;
    struct vf_snap_list destinations; /* VF_SNAP_DESTINATIONS, of other modes than HTTP */
    struct vf_snap_edits edits;
};

/* Where connections go that are passed on as bytes. */
struct vf_snap_destination {
    struct vf_snap_text name; /* in lower case, or "*." before one; empty: all others, and none */
    uint32_t pool;            /* VF_SNAP_POOLS */
    uint32_t policy;          /* VF_SNAP_POLICIES, complete */
};

enum vf_snap_algorithm {
    VF_BALANCE_ROUND_ROBIN = 0, /* smooth weighted */
    VF_BALANCE_LEAST_CONN,
    VF_BALANCE_RANDOM, /* power of two choices */
    VF_BALANCE_IP_HASH,
    VF_BALANCE_CONSISTENT_HASH,
    VF_BALANCE_PEAK_EWMA
};

enum vf_snap_hash_on {
    VF_HASH_ON_IP = 0,
    VF_HASH_ON_HEADER,
    VF_HASH_ON_COOKIE,
    VF_HASH_ON_QUERY,
    VF_HASH_ON_PATH
};

enum vf_snap_pool_flags {
    VF_POOL_VIA_REQUEST = 1,     /* add Via to requests */
    VF_POOL_VIA_RESPONSE = 2,    /* add Via to answers */
    VF_POOL_X_FORWARDED = 4,     /* X-Forwarded-For, -Proto, -Host */
    VF_POOL_FORWARDED = 8,       /* Forwarded (RFC 7239) */
    VF_POOL_STICKY = 16,         /* sticky_cookie is set */
    VF_POOL_PASSIVE_HEALTH = 32, /* eject after consecutive failures */
    VF_POOL_SHARED = 64          /* of the default tenant, and every tenant's */
};

/* What is spoken with backends; AUTO: what their TLS comes to, HTTP/1.1 without. */
enum vf_snap_protocol { VF_PROTOCOL_H1 = 0, VF_PROTOCOL_H2, VF_PROTOCOL_AUTO };

struct vf_snap_pool {
    uint64_t id; /* stable: hash of tenant and name */
    struct vf_snap_text name;
    uint32_t tenant; /* VF_SNAP_TENANTS */
    uint32_t slot;   /* state area */
    uint32_t algorithm;
    uint32_t hash_on;              /* enum vf_snap_hash_on */
    struct vf_snap_text hash_name; /* header, cookie or query parameter */
    uint32_t flags;                /* enum vf_snap_pool_flags */
    uint32_t proxy_protocol;       /* to backends: 0 none, 1 or 2 */
    struct vf_snap_text sticky_cookie;
    uint64_t sticky_ttl_ms;       /* 0: a session cookie */
    uint64_t max_connections;     /* per backend and worker; UINT64_MAX: off */
    struct vf_snap_list backends; /* VF_SNAP_BACKENDS */
    uint32_t policy;              /* of requests of our own, complete; VF_SNAP_POLICIES */
    uint32_t tls;                 /* VF_SNAP_UPSTREAM_TLS, or VF_SNAP_NONE: plain */
    uint32_t protocol;            /* enum vf_snap_protocol */
    uint32_t reserved;
};

struct vf_snap_backend {
    uint64_t id;                      /* stable: hash of tenant, pool name and address text */
    struct vf_snap_text address_text; /* "host:port" as in the conf file */
    struct vf_snap_text host;         /* without port and brackets */
    struct vf_snap_address address;   /* family NONE: resolve `host` */
    uint32_t pool;                    /* VF_SNAP_POOLS */
    uint32_t slot;                    /* state area */
    uint32_t weight;                  /* configured, 0..1000000; 0: gets no new requests */
    uint32_t health;                  /* VF_SNAP_HEALTH or VF_SNAP_NONE */
};

enum vf_snap_health_type { VF_HEALTH_HTTP = 0, VF_HEALTH_TCP };
enum { VF_HEALTH_RANGES = 8 };

struct vf_snap_health {
    uint32_t type;
    uint32_t rise; /* successes in a row that make a down backend up */
    uint32_t fall; /* failures in a row that make an up backend down */
    uint32_t n_ranges;
    uint64_t interval_ms;
    uint64_t timeout_ms;
    struct vf_snap_text path;
    struct vf_snap_text host; /* Host field; empty: the backend's address */
    struct {
        uint16_t low, high;
    } ranges[VF_HEALTH_RANGES]; /* expected status, inclusive */
};

enum vf_snap_path_kind { VF_PATH_EXACT = 0, VF_PATH_REGEX, VF_PATH_PREFIX };
enum vf_snap_action { VF_ACTION_POOL = 0, VF_ACTION_REDIRECT, VF_ACTION_RESPOND };

/* What every request reads comes first: a route that is not in the caches costs a miss per line. */
struct vf_snap_route {
    uint64_t id;                    /* stable: hash of tenant and name */
    uint32_t rank;                  /* made by the builder: total order of preference, 0 is best */
    uint32_t action;                /* enum vf_snap_action */
    struct vf_snap_list conditions; /* VF_SNAP_CONDITIONS: all must hold */
    uint64_t methods;               /* bit 1 << number of http/method.h; 0: any */
    uint32_t tenant;
    uint32_t slot;
    uint32_t pool;         /* VF_SNAP_POOLS, for VF_ACTION_POOL */
    uint32_t policy;       /* VF_SNAP_POLICIES (overrides) or VF_SNAP_NONE */
    uint32_t chain;        /* VF_SNAP_CHAINS, of the kind ROUTE; VF_SNAP_NONE: no plugins */
    uint32_t client_cert;  /* VF_SNAP_CLIENT_CERTS, or VF_SNAP_NONE: it asks for none */
    uint32_t inactive;     /* 1: its tenant is switched off, answer 503 */
    uint32_t strip_prefix; /* 1: forward without the matched prefix */
    uint32_t has_rewrite;
    uint32_t path_kind;         /* enum vf_snap_path_kind */
    struct vf_snap_edits edits; /* pool's, then route's */

    struct vf_snap_text name;
    struct vf_snap_text source; /* "FILE:LINE", for messages; may be empty */
    struct vf_snap_text path;   /* exact: as written; prefix: without trailing slash ("" for "/");
                                   regex: the PCRE2 pattern */
    struct vf_snap_text more_methods; /* those of VF_METHOD_OTHER: "BREW, X-COPY" */
    int32_t priority;
    uint32_t status;            /* of a redirect or fixed answer */
    struct vf_snap_text target; /* redirect: Location, with $1..$9, $host, $path, $query */
    struct vf_snap_text body;   /* fixed answer */
    struct vf_snap_text content_type;
    struct vf_snap_text rewrite; /* prefix: replaces it; exact: the path; regex: template, $1..$9 */
    struct vf_snap_list bindings; /* VF_SNAP_BINDINGS; made by the builder */
};

/* A route answers for a host. The builder sorts them by route. */
struct vf_snap_binding {
    uint32_t route;
    uint32_t reserved;
    struct vf_snap_text host; /* lower case: "a.example.com", "*.example.com" or "*" */
};

enum vf_snap_condition_kind { VF_CONDITION_HEADER = 0, VF_CONDITION_QUERY };
enum vf_snap_condition_test {
    VF_TEST_EQUAL = 0, /* the value is `value` */
    VF_TEST_REGEX,     /* the value matches the pattern `value` (unanchored) */
    VF_TEST_PRESENT,   /* there is one */
    VF_TEST_ABSENT
};

struct vf_snap_condition {
    uint32_t kind;
    uint32_t test;
    struct vf_snap_text name;
    struct vf_snap_text value;
};

struct vf_snap_tenant {
    uint64_t id;
    struct vf_snap_text name;
    uint32_t slot;
    uint32_t active;
};

/* An entry of the host table (open addressing by the hash of the name, linear probing, a power of
 * two entries of which one at least is empty). All lists refer to VF_SNAP_CANDIDATES: routes in
 * order of preference. */
struct vf_snap_host {
    struct vf_snap_text name;        /* as in the bindings */
    uint32_t used;                   /* 0: empty entry */
    uint32_t root;                   /* parent of the first path segments in VF_SNAP_NODES */
    struct vf_snap_list prefix_root; /* routes for the prefix "/" */
    struct vf_snap_list regexes;
    uint32_t asks_clients; /* 1: one of its routes has authorities for certificates of clients */
    uint32_t reserved;
};

/* A path segment below its parent (table as above, by parent and segment). The path "/a/b" is the
 * node "b" whose parent is the node "a" whose parent is the host's root. */
struct vf_snap_node {
    uint32_t parent;             /* VF_SNAP_NONE: empty entry */
    uint32_t id;                 /* what its children name as parent; VF_SNAP_NONE: it has none */
    struct vf_snap_text segment; /* between two slashes, may be empty */
    struct vf_snap_list prefix;  /* routes whose prefix ends here */
    struct vf_snap_list exact;   /* routes whose exact path ends here */
};

enum vf_snap_log_format { VF_ACCESS_AUTO = 0, VF_ACCESS_TEXT, VF_ACCESS_JSON, VF_ACCESS_COMBINED };

/* Settings of this node that the processes other than control need. */
struct vf_snap_settings {
    uint32_t workers; /* resolved: at least 1 */
    uint32_t uid, gid;
    uint32_t change_user;            /* 1: run children as uid and gid */
    uint32_t log_level, log_format;  /* enum vf_log_level, vf_log_format */
    uint32_t access_format;          /* enum vf_snap_log_format */
    uint32_t access_query;           /* 1: query values are logged as they are */
    struct vf_snap_text access_path; /* "stdout", "off" or an absolute path */
    struct vf_snap_text data_dir;    /* absolute */
    struct vf_snap_text pid_file;    /* absolute or empty */
    uint64_t connections;            /* per worker; UINT64_MAX: from the descriptor limit */
    uint64_t buffer_memory;          /* bytes of pending data per worker */
    uint64_t upstream_keepalive;     /* idle upstream connections per backend and worker */
    uint8_t sticky_key[32];          /* HMAC-SHA-256 key of sticky cookies */
    struct vf_snap_plugin_limits plugin_limits;
    uint32_t chain; /* VF_SNAP_CHAINS or VF_SNAP_NONE: for requests that no route takes */
    uint32_t
        plugin_tls[2]; /* VF_SNAP_UPSTREAM_TLS or VF_SNAP_NONE: of connections that plugins make,
                               [1] with peers that are verified */
    uint32_t client_certs; /* 1: backends are told of certificates of clients, somewhere */
    uint32_t asks_clients; /* 1: some host does (struct vf_snap_host) */
};

struct vf_snap_header {
    uint64_t magic;       /* VF_SNAP_MAGIC of snapshot.h */
    uint64_t layout_hash; /* of the record sizes: another build's snapshot is refused */
    uint64_t size;        /* bytes, all in all */
    uint64_t version;
    uint64_t created_ms; /* wall clock */
    struct vf_snap_extent sections[VF_SNAP_SECTIONS];
    struct vf_snap_settings settings;
};

#endif

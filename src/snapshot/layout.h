/* snapshot/layout.h - what a snapshot looks like: the compiled configuration, immutable and
 * position-independent. A snapshot is one block of memory in a sealed memfd: a header, sections of
 * fixed-size records, and texts. Texts are byte ranges from the start of the snapshot; references
 * to records are indexes into their section. Nothing is a pointer, so any process maps it anywhere.
 *
 * This file is read twice: by the C compiler, and by LuaJIT (ffi.cdef, with the lines that begin
 * with # left out), so that the compiler in lua/veloflux writes just these records. Hence enums
 * instead of macros, and no inline functions: those are in snapshot/snapshot.h. */
#ifndef VF_SNAPSHOT_LAYOUT_H
#define VF_SNAPSHOT_LAYOUT_H

#include <stdint.h>

enum { VF_SNAP_NONE = 0xffffffff }; /* an index that refers to nothing (use as uint32_t) */

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

struct vf_snap_text {
    uint32_t offset; /* bytes from the start of the snapshot */
    uint32_t len;    /* bytes; not NUL-terminated */
};

struct vf_snap_list {
    uint32_t first; /* index into the section that the field's comment names */
    uint32_t count;
};

struct vf_snap_extent {
    uint64_t offset; /* bytes from the start of the snapshot, 8-aligned */
    uint32_t count;  /* records */
    uint32_t record_bytes;
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

enum vf_snap_client_auth {
    VF_CLIENT_AUTH_NONE = 0,
    VF_CLIENT_AUTH_OPTIONAL,
    VF_CLIENT_AUTH_REQUIRED
};
enum vf_snap_tls_flags {
    VF_TLS_TICKETS = 1,          /* sessions may be resumed */
    VF_TLS_SENDS_CERTIFICATE = 2 /* backends are told of good certificates of clients */
};

/* How a listener shakes hands. */
struct vf_snap_tls {
    uint64_t id;          /* stable: hash of the listener's name */
    uint32_t min_version; /* 12 or 13 */
    uint32_t flags;       /* enum vf_snap_tls_flags */
    uint64_t handshake_ms;
    uint32_t handshake_rate;  /* a second, from one address; 0: off */
    uint32_t handshake_burst; /* of them at once */
    struct vf_snap_text alpn; /* protocols, the best first, a newline between two */
    uint32_t client_auth;     /* enum vf_snap_client_auth */
    uint32_t depth;           /* certificates between a client's and its authority's, at most */
    uint32_t trust;           /* VF_SNAP_TRUSTS, or VF_SNAP_NONE without client_auth */
    uint32_t reserved;
    struct vf_snap_list names;    /* VF_SNAP_SERVER_NAMES */
    struct vf_snap_list defaults; /* VF_SNAP_NAME_IDENTITIES: for all other names, and for none */
};

/* A certificate chain and its key. */
struct vf_snap_identity {
    uint64_t id;               /* of its content */
    uint64_t not_after_s;      /* wall clock: when the first of the chain ends */
    struct vf_snap_text name;  /* for messages */
    struct vf_snap_text chain; /* DER certificates, one behind the other */
    struct vf_snap_text key;   /* DER */
};

struct vf_snap_server_name {
    struct vf_snap_text name;       /* lower case: "a.example.com" or "*.example.com" */
    struct vf_snap_list identities; /* VF_SNAP_NAME_IDENTITIES, the best first; at most four */
};

/* Whose certificates are believed. */
struct vf_snap_trust {
    uint64_t id;                     /* of its content */
    struct vf_snap_text authorities; /* DER certificates, one behind the other */
    struct vf_snap_text revocations; /* DER revocation lists; may be empty */
};

/* What a route wants of the certificates of clients. */
struct vf_snap_client_cert {
    uint32_t mode;  /* enum vf_snap_client_auth, not NONE */
    uint32_t trust; /* VF_SNAP_TRUSTS; VF_SNAP_NONE: what its listener believes, and `depth` is 0 */
    uint32_t depth; /* certificates between a client's and its authority's, at most */
    uint32_t flags; /* VF_TLS_SENDS_CERTIFICATE */
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

/* How we shake hands with backends. */
struct vf_snap_upstream_tls {
    uint64_t id;              /* of its content */
    struct vf_snap_text name; /* that must be in the certificate; empty: the backend's host */
    struct vf_snap_text pins; /* SHA-256 of public keys, 32 bytes each, one of which it must be */
    uint32_t verify;          /* 0: any certificate will do */
    uint32_t depth;           /* certificates between a backend's and its authority's, at most */
    uint32_t trust;           /* VF_SNAP_TRUSTS or VF_SNAP_NONE */
    uint32_t identity;        /* VF_SNAP_IDENTITIES: ours; or VF_SNAP_NONE */
    uint32_t min_version;     /* 12 or 13 */
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

/* The phases of a plugin's handler, in the order in which an exchange comes through them. */
enum vf_phase {
    VF_PHASE_INIT_WORKER = 0, /* once in the life of a process */
    VF_PHASE_CONFIGURE,       /* once for each snapshot, with all configurations */
    VF_PHASE_CERTIFICATE,
    VF_PHASE_REWRITE,
    VF_PHASE_ACCESS,
    VF_PHASE_BALANCER,
    VF_PHASE_HEADER_FILTER,
    VF_PHASE_BODY_FILTER,
    VF_PHASE_LOG,
    VF_PHASE_TIMER,   /* no function of the handler's: what it started in the background */
    VF_PHASE_CONTROL, /* what a plugin does in control: endpoints, jobs, channels */
    VF_PHASES
};

struct vf_snap_plugin {
    uint64_t hash; /* of the names and texts of its files */
    struct vf_snap_text name;
    uint32_t slot;             /* state area */
    uint32_t phases;           /* bit 1 << enum vf_phase: those that handler.lua has */
    struct vf_snap_list files; /* VF_SNAP_PLUGIN_FILES, the handler first; none: control's */
};

struct vf_snap_plugin_file {
    struct vf_snap_text name;  /* as the plugin requires it: "handler", "util.parse" */
    struct vf_snap_text chunk; /* what messages call it: "plugins/cors/handler.lua" */
    struct vf_snap_text source;
};

enum vf_snap_scope {
    VF_SCOPE_GLOBAL = 0, /* widest */
    VF_SCOPE_TENANT,
    VF_SCOPE_POOL,
    VF_SCOPE_ROUTE,
    VF_SCOPE_CONSUMER /* narrowest */
};

enum vf_snap_on_error { VF_ON_ERROR_FAIL = 0, VF_ON_ERROR_CONTINUE };

/* A plugin with a configuration. */
struct vf_snap_instance {
    uint64_t hash; /* of its plugin's, `as`, on_error, config and meta: equal ones are alike */
    struct vf_snap_text as;     /* its name among the instances of one plugin */
    uint32_t plugin;            /* VF_SNAP_PLUGINS */
    uint32_t scope;             /* enum vf_snap_scope: the narrowest that had a part in it */
    uint32_t tenant;            /* VF_SNAP_TENANTS, or VF_SNAP_NONE: of no single tenant */
    int32_t priority;           /* the higher runs first */
    uint32_t on_error;          /* enum vf_snap_on_error */
    uint32_t phases;            /* bit 1 << enum vf_phase: of its plugin's, those it needs */
    struct vf_snap_text config; /* JSON, complete: defaults filled in */
    struct vf_snap_text meta;   /* JSON: what resolving at run time needs, see plugin/chain.lua */
    struct vf_snap_text source; /* "FILE:LINE", for messages; may be empty */
};

enum vf_snap_chain_kind {
    VF_CHAIN_ROUTE = 0, /* resolved: what runs, in that order */
    VF_CHAIN_CONSUMER   /* a consumer's own instances, to be resolved with those of a route */
};

struct vf_snap_chain {
    uint64_t hash;               /* of the members' hashes in their order, and the kind */
    uint32_t phases;             /* bit 1 << enum vf_phase: the union of its members' */
    uint32_t kind;               /* enum vf_snap_chain_kind */
    struct vf_snap_list members; /* VF_SNAP_MEMBERS */
};

/* What plugins may use. `off` is UINT64_MAX. */
struct vf_snap_plugin_limits {
    uint64_t cpu_us;         /* a handler while it runs, without the times when it waits */
    uint64_t memory_bytes;   /* of the Lua state of a process */
    uint64_t body_bytes;     /* of bodies that one exchange buffers for plugins */
    uint64_t trip_errors;    /* so many errors of an instance ... */
    uint64_t trip_window_ms; /* ... in this time ... */
    uint64_t trip_pause_ms;  /* ... and it is left out for this one */
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

/* snapshot/state.h - the state area: what the processes share and change.
 * The supervisor creates it once; every child maps it. It holds
 *  - blocks, each leased by one process incarnation: durable counters, never reset or folded (a
 *    total is the sum over all blocks, so a crash loses nothing), and gauges, which the supervisor
 *    zeroes after waitpid;
 *  - backend state: health, drain, weight, latency, shared by all;
 *  - the slot directory: which entity a slot of the arrays belongs to.
 * What tenants use is counted elsewhere, where it outlives the supervisor: usage.h.
 * One writer per counter: plain relaxed stores suffice. Readers sum and may be a moment behind.
 * Layout is fixed by compile-time capacities; untouched pages cost no memory. Reading touches, too:
 * readers skip blocks that were never leased and slots from n_slots on. */
#ifndef VF_SNAPSHOT_STATE_H
#define VF_SNAPSHOT_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/series.h"
#include "tls/ticket_keys.h"

enum {
    VF_STATE_BLOCKS = 136, /* 64 workers, control and checker, of up to two generations, and room */
    VF_STATE_LISTENERS = 64,
    VF_STATE_POOLS = 4096,
    VF_STATE_BACKENDS = 16384,
    VF_STATE_TARGET_SLOT = 16383, /* of backends that plugins name: no entity has it */
    VF_STATE_ROUTES = 131072,
    VF_STATE_TENANTS = 4096,
    VF_STATE_PLUGINS = 256,
    VF_STATE_PHASES = 11,       /* VF_PHASES of snapshot/layout_plugins.h */
    VF_STATE_BUCKETS = 14,      /* of a latency histogram */
    VF_STATE_FINE_BUCKETS = 14, /* of the time that a plugin's handler takes */
    VF_STATE_METHODS = 8,       /* whose latencies are kept apart in a pool; the last: all others */
    VF_STATE_STATUS_CELLS = 64, /* (method, status) pairs counted per pool; the last: all others */
    VF_STATE_STAMPS = 65536,    /* of pdk.cache, a power of two */
    VF_STATE_ERRORS = 32        /* recent errors kept per block */
};

/* Behind the blocks: a table of cells, and the space that dictionaries take their memory from, of
 * which one called VF_STATE_DICT is there from the start. */
#define VF_STATE_CELLS (1u << 20)
#define VF_STATE_DICT_SPACE (1ull << 30)
#define VF_STATE_DICT "default"
#define VF_STATE_DICT_BYTES (16ull << 20)

enum vf_entity_kind {
    VF_ENTITY_POOL = 0,
    VF_ENTITY_BACKEND,
    VF_ENTITY_ROUTE,
    VF_ENTITY_TENANT,
    VF_ENTITY_LISTENER,
    VF_ENTITY_PLUGIN,
    VF_ENTITY_KINDS
};

/* Upper bounds of the latency buckets in seconds, Prometheus' defaults; the last is +Inf. */
extern const double vf_state_bucket_bounds[VF_STATE_BUCKETS - 1];

/* The same for the handlers of plugins: from a microsecond to a second. */
extern const double vf_state_fine_bounds[VF_STATE_FINE_BUCKETS - 1];

struct vf_cells;
struct vf_dicts;

typedef _Atomic uint64_t vf_count; /* one writer, many readers */

static inline void vf_count_add(vf_count *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void vf_count_set(vf_count *count, uint64_t value)
{
    atomic_store_explicit(count, value, memory_order_relaxed);
}

static inline uint64_t vf_count_get(const vf_count *count)
{
    return atomic_load_explicit((vf_count *)count, memory_order_relaxed);
}

struct vf_state_histogram {
    vf_count buckets[VF_STATE_BUCKETS]; /* not cumulative */
    vf_count sum_us;
};

struct vf_state_listener {
    vf_count accepted, requests, refused /* answered before routing: 400, 408, 431, ... */;
    vf_count bytes_in, bytes_out;
    vf_count handshakes, handshakes_resumed /* of them */, handshakes_failed, handshakes_limited;
    vf_count record_floods[3]; /* connections that were ended for one: enum vf_tls_flood_kind - 1 */
    vf_count h2_connections, h2_streams, h2_floods /* likewise */;
    vf_count connections; /* gauge: open client connections */
};

struct vf_state_route {
    vf_count requests, class_4xx, class_5xx, bytes_in, bytes_out, sum_us;
};

struct vf_state_status_cell {
    _Atomic uint32_t key; /* method << 16 | status; 0: free; UINT32_MAX: all others */
    uint32_t reserved;
    vf_count count;
};

struct vf_state_pool {
    vf_count requests, retries, failovers, unavailable /* 503: no usable backend */;
    vf_count bytes_in, bytes_out;
    struct vf_state_histogram latency[VF_STATE_METHODS]; /* by vf_state_method */
    struct vf_state_status_cell statuses[VF_STATE_STATUS_CELLS];
};

struct vf_state_backend {
    vf_count requests, class_1xx, class_2xx, class_3xx, class_4xx, class_5xx;
    vf_count connects, connect_failures, timeouts, reused, malformed, aborted;
    vf_count h2_floods; /* connections that were ended for one */
    vf_count bytes_in, bytes_out, sum_us;
    vf_count in_flight; /* gauge: exchanges */
    vf_count idle;      /* gauge: kept connections */
    vf_count open;      /* gauge: all connections */
    vf_count used_ns;   /* when it last answered, monotonic; 0: never */
};

struct vf_state_plugin_phase {
    vf_count calls, errors;
    vf_count yields;                         /* times that a handler waited */
    vf_count skipped;                        /* calls left out while an instance was tripped */
    vf_count buckets[VF_STATE_FINE_BUCKETS]; /* not cumulative */
    vf_count sum_ns;
};

struct vf_state_plugin {
    struct vf_state_plugin_phase phases[VF_STATE_PHASES]; /* by enum vf_phase */
    vf_count trips; /* times that an instance of it was tripped */
};

struct vf_state_error {   /* a recent error, for the status page; torn reads are skipped by `seq` */
    _Atomic uint64_t seq; /* odd while it is written */
    uint64_t wall_ms;
    uint32_t status;
    uint32_t pool_slot, backend_slot; /* UINT32_MAX: none */
    char reason[44];                  /* NUL-terminated reason code */
    char path[96];                    /* NUL-terminated, cut */
};

enum vf_block_lease { VF_BLOCK_NEVER = 0, VF_BLOCK_LEASED, VF_BLOCK_ENDED };
enum vf_process_kind { VF_PROCESS_WORKER = 0, VF_PROCESS_CONTROL, VF_PROCESS_CHECKER };

struct vf_state_process {            /* gauges and marks of one incarnation; zeroed when it ended */
    _Atomic uint64_t heartbeat_ns;   /* monotonic, written at least once a second */
    _Atomic uint64_t pinned_version; /* oldest snapshot version still mapped; 0: none */
    _Atomic uint64_t running_version; /* what new exchanges get */
    _Atomic uint64_t n_snapshots;     /* mapped now */
    _Atomic uint32_t draining;
    _Atomic uint32_t phase_owner; /* plugin instance that runs now; 0: none */
    vf_count connections;         /* open client connections */
    vf_count exchanges;           /* in flight */
    vf_count tunnels;
    vf_count upstream_connections;
    vf_count buffered_bytes;
    vf_count loop_lag_us; /* of the last turn of the loop */
};

struct vf_state_totals { /* durable, of one block */
    vf_count requests, responses_1xx, responses_2xx, responses_3xx, responses_4xx, responses_5xx;
    vf_count accepted, bytes_in, bytes_out;
    vf_count malformed_requests, malformed_responses, client_timeouts, client_aborts;
    vf_count log_lines, log_dropped, resolve_failures, accept_failures, out_of_memory;
    vf_count checks, check_failures;
    vf_count log_phases_skipped; /* exchanges whose log phase did not run: too many at a time */
};

struct vf_state_block {
    _Atomic uint32_t lease; /* enum vf_block_lease; written by the supervisor */
    uint32_t kind;          /* enum vf_process_kind */
    uint32_t worker;        /* worker slot, for workers */
    uint32_t generation;    /* binary generation: grows by one with every upgrade */
    uint64_t incarnation;   /* unique over the supervisor's life */
    int64_t pid;
    struct vf_state_process process;
    struct vf_state_totals totals;
    _Atomic uint64_t n_errors; /* written so far; the newest is errors[(n - 1) % VF_STATE_ERRORS] */
    struct vf_state_error errors[VF_STATE_ERRORS];
    struct vf_state_listener listeners[VF_STATE_LISTENERS];
    struct vf_state_plugin plugins[VF_STATE_PLUGINS];
    struct vf_state_backend backends[VF_STATE_BACKENDS];
    struct vf_state_pool pools[VF_STATE_POOLS];
    struct vf_state_route routes[VF_STATE_ROUTES];
    struct vf_series series; /* metrics of plugins */
};

enum vf_health_status { VF_HEALTH_UNKNOWN = 0, VF_HEALTH_UP, VF_HEALTH_DOWN };

/* Shared by all processes; each field has the writer that its comment names. */
struct vf_backend_state {
    /* active health: checker */
    _Atomic uint32_t health;     /* enum vf_health_status */
    _Atomic uint32_t streak;     /* successes or failures in a row */
    _Atomic uint64_t checked_ns; /* monotonic; 0: never */
    _Atomic uint64_t changed_ns;
    _Atomic uint64_t interval_ms; /* of the running check: older than three of them is ignored */
    _Atomic uint64_t check_us;    /* how long the last check took */
    _Atomic uint32_t reason_seq;  /* odd while `reason` is written */
    _Atomic uint32_t last_status; /* HTTP status of the last check, 0: none */
    char reason[80];              /* of the last result, NUL-terminated */
    /* passive health: any worker */
    _Atomic uint32_t failures;         /* in a row, see proxy/passive.h */
    _Atomic uint32_t ejections;        /* in a row; each doubles the time */
    _Atomic uint64_t ejected_until_ns; /* monotonic; 0: not ejected */
    _Atomic uint64_t latency_us;       /* EWMA of the first byte, any worker */
    /* run-time operations: control */
    _Atomic uint32_t drain;  /* 1: no new exchanges but sticky ones; 2: disabled */
    _Atomic uint32_t weight; /* run-time weight + 1; 0: as configured */
};

/* One slot of an entity array: whose it is. Written by control. */
struct vf_state_slot {
    _Atomic uint64_t id;                           /* entity id; 0: free */
    _Atomic uint64_t birth_version, death_version; /* death 0: alive */
    _Atomic uint64_t generation;                   /* grows when the slot gets another entity */
};

struct vf_state_tickets { /* snapshot/tickets.h; by control */
    _Atomic uint32_t seq; /* odd while the rest is written */
    uint32_t reserved;
    uint64_t turned_wall_ms; /* when the first key was made */
    struct vf_tls_ticket_keys keys;
};

struct vf_state {
    uint64_t magic, layout_hash, size;
    _Atomic uint64_t published_version;
    _Atomic uint64_t started_wall_ms, started_ns;
    _Atomic uint32_t generation; /* of the binary that the supervisor runs */
    _Atomic uint32_t stopping;   /* 1 from SIGTERM on: /ready says 503 */
    _Atomic uint32_t config_seq; /* odd while the next three are written, by control */
    uint32_t config_ok;          /* 0: the last reload was refused */
    uint64_t config_wall_ms;
    char config_message[512];
    struct vf_state_tickets tickets;
    _Atomic uint64_t restarts[3]; /* unexpected ends by enum vf_process_kind, by the supervisor */
    _Atomic uint32_t n_slots[VF_ENTITY_KINDS]; /* ever used, of each kind; by control */
    struct vf_backend_state backends[VF_STATE_BACKENDS];
    struct vf_state_slot listener_slots[VF_STATE_LISTENERS];
    struct vf_state_slot tenant_slots[VF_STATE_TENANTS];
    struct vf_state_slot plugin_slots[VF_STATE_PLUGINS];
    /* Monotonic time until which a plugin is left out, because a process hung in it; by the
     * supervisor. */
    _Atomic uint64_t plugin_tripped_ns[VF_STATE_PLUGINS];
    struct vf_state_slot backend_slots[VF_STATE_BACKENDS];
    struct vf_state_slot pool_slots[VF_STATE_POOLS];
    struct vf_state_slot route_slots[VF_STATE_ROUTES];
    /* By the hash of a key of pdk.cache: grows with every invalidation, by any process. What was
     * cached under another stamp is not valid. */
    _Atomic uint32_t cache_stamps[VF_STATE_STAMPS];
    struct vf_state_block blocks[VF_STATE_BLOCKS];
};

/* Creates the area in a memfd. Returns the descriptor, owned by the caller, or -errno. */
int vf_state_create(struct vf_state **out);

/* Unmaps an area that nobody uses any more; for the plugin kit, which makes many. */
void vf_state_unmap(struct vf_state *state);

/* Maps the area behind `fd` read-write. Returns NULL and sets errno when it is not of this layout
 * (EPROTO) or cannot be mapped. The mapping lives as long as the process. */
struct vf_state *vf_state_map(int fd);

/* Returns the rate-limit cells (snapshot/cells.h) and the shared dictionaries
 * (snapshot/dict/dict.h), which live behind the blocks. They survive every child, reloads, and
 * upgrades that keep the layout. */
struct vf_cells *vf_state_cells(struct vf_state *state);
struct vf_dicts *vf_state_dicts(struct vf_state *state);

/* Returns where the stamp of a key stands (struct vf_state, cache_stamps): Lua reads it by a plain
 * load. */
const uint32_t *vf_state_stamp(struct vf_state *state, const char *key, size_t key_len);

/* What was cached under the key is not valid any more, in any process. */
void vf_state_invalidate(struct vf_state *state, const char *key, size_t key_len);

/* The same for all keys: of what was cached before nothing is valid any more. */
void vf_state_invalidate_all(struct vf_state *state);

/* Returns the metrics of a block; *is_live (may be NULL) is 1 when its process lives and has begun
 * to use them. NULL: there is no such block, or it was never leased. */
struct vf_series *vf_state_series(struct vf_state *state, uint32_t block, uint32_t *is_live);

/* Returns the number of a block of this area. */
uint32_t vf_state_block_index(const struct vf_state *state, const struct vf_state_block *block);

/* Returns 1 while the incarnation has the block: from its lease until its end was seen. */
int vf_state_is_alive(const struct vf_state *state, uint32_t block, uint64_t incarnation);

/* Returns the incarnation that has a block, or had it last. */
uint64_t vf_state_incarnation(const struct vf_state *state, uint32_t block);

/* Returns a hash of all sizes and offsets here: equal in builds that may share an area. */
uint64_t vf_state_layout_hash(void);

/* Leases a block to a new incarnation: one that ended, of the same kind first (its counters go on),
 * else one never used, else any that ended. Called by the supervisor only. Returns its index, or -1
 * when all are leased. */
int vf_state_lease(struct vf_state *state, enum vf_process_kind kind, uint32_t worker,
                   uint64_t incarnation);

/* Ends a lease: zeroes the gauges of the block, keeps the counters. Called after waitpid. */
void vf_state_end_lease(struct vf_state *state, int block);

/* Finds or allocates the slot of entity `id` (not 0) for `version`. Slots of the dead are reused
 * only when `oldest_pinned` is past their death and their gauges are 0 (tunnels and connections
 * outlive a snapshot), and their counters are zeroed then. Called by control only. Returns the
 * slot, or UINT32_MAX when the table is full. */
uint32_t vf_state_slot_take(struct vf_state *state, enum vf_entity_kind kind, uint64_t id,
                            uint64_t version, uint64_t oldest_pinned);

/* Returns the id of the entity that has the slot now, or had it last; 0: none yet. */
uint64_t vf_state_slot_id(struct vf_state *state, enum vf_entity_kind kind, uint32_t slot);

/* Marks every living slot of `kind` that is not among those in use as dead since `version`. In use
 * are the numbers at `slots` and, `count` in all, at every `stride` bytes from there: a field of
 * the records of a snapshot. Called by control after a publication. */
void vf_state_slot_sweep(struct vf_state *state, enum vf_entity_kind kind, const uint32_t *slots,
                         uint32_t count, size_t stride, uint64_t version);

#define VF_STATE_CONFIGURED INT64_MAX /* for vf_state_override */

/* Sets what run-time operations say of the backend with this id: `drain` (0 to 2, see struct
 * vf_backend_state; negative: as it is) and `weight` (the weight in force, negative: as it is,
 * VF_STATE_CONFIGURED: the configured one). It holds until the backend's slot is given to another,
 * so it survives reloads. Called by control only. Returns 0, or -ENOENT when there is no such
 * backend. */
int vf_state_override(struct vf_state *state, uint64_t id, int drain, int64_t weight);

/* Returns the oldest snapshot version that any live process has mapped; `now` when none has. */
uint64_t vf_state_oldest_pinned(const struct vf_state *state, uint64_t now);

/* Adds one observation of `us` microseconds. */
void vf_state_observe(struct vf_state_histogram *histogram, uint64_t us);

/* Returns the place of a method's latencies, below VF_STATE_METHODS. */
uint32_t vf_state_method(uint32_t method);

/* Returns the method whose latencies are at a place, or -1: all others. */
int vf_state_method_at(uint32_t place);

/* Adds one call of a handler that took `ns` nanoseconds, waiting included, to its histogram (not to
 * `calls`, which counts them when they begin). */
void vf_state_observe_handler(struct vf_state_plugin_phase *phase, uint64_t ns);

/* Counts an answer by method and status in a pool's cells (see VF_STATE_STATUS_CELLS). */
void vf_state_count_status(struct vf_state_pool *pool, uint32_t method, uint32_t status);

/* Keeps an error for the status page. `path` is cut to fit; control characters become '?'. */
void vf_state_add_error(struct vf_state_block *block, uint32_t status, const char *reason,
                        const char *path, size_t path_len, uint32_t pool_slot,
                        uint32_t backend_slot);

/* Returns true when new exchanges may go to a backend: not disabled or drained, not DOWN by a check
 * that is fresh (three intervals), not ejected. Unchecked is usable. `now_ns` is monotonic. */
bool vf_backend_is_usable(const struct vf_backend_state *backend, uint64_t now_ns);

/* Returns the weight in force: the run-time one, else `configured`. */
uint32_t vf_backend_weight(const struct vf_backend_state *backend, uint32_t configured);

#endif

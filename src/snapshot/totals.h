/* snapshot/totals.h - reading the state area for people: one plain struct per thing, already
 * summed. Counters are sums over all blocks that were ever leased, ended ones too; gauges are sums
 * over the leased ones. Which entities there are, and their names, comes from a snapshot. Read
 * while others write: each number is whole, but two numbers may be a moment apart.
 *
 * The node, pools, backends and errors are in totals_*.c, the rest in totals.c.
 *
 * lua/veloflux/totals.lua mirrors the structs and checks their sizes when it is loaded. Texts
 * point into the snapshot or the state area and are valid as long as it. */
#ifndef VF_SNAPSHOT_TOTALS_H
#define VF_SNAPSHOT_TOTALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/state.h"
#include "snapshot/usage.h"

struct vf_snapshot;

struct vf_totals_counts { /* struct vf_state_totals, summed */
    uint64_t requests, responses[5] /* 1xx to 5xx */;
    uint64_t accepted, bytes_in, bytes_out;
    uint64_t malformed_requests, malformed_responses, client_timeouts, client_aborts;
    uint64_t log_lines, log_dropped, resolve_failures, accept_failures, out_of_memory;
    uint64_t checks, check_failures;
    uint64_t log_phases_skipped;
};

struct vf_totals_node {
    struct vf_totals_counts counts; /* without those of control: the admin address is not traffic */
    uint64_t version;               /* published */
    uint64_t started_wall_ms, uptime_ms, wall_ms;
    uint64_t config_wall_ms; /* of the last reload, 0: never */
    uint64_t restarts[3];    /* by enum vf_process_kind */
    uint64_t connections, exchanges, tunnels, upstream_connections, buffered_bytes; /* of workers */
    uint32_t generation;
    uint32_t is_stopping, config_ok;
    uint32_t n_workers;       /* leased, not draining */
    uint32_t n_ready;         /* of these: run a version */
    uint32_t n_blocks;        /* ever leased */
    char config_message[512]; /* NUL-terminated */
};

struct vf_totals_process {          /* one leased block */
    struct vf_totals_counts counts; /* of the block: those of earlier processes included */
    int64_t pid;
    uint64_t heartbeat_age_ms; /* UINT64_MAX: never */
    uint64_t running_version, n_snapshots;
    uint64_t connections, exchanges, tunnels, upstream_connections, buffered_bytes, loop_lag_us;
    uint32_t kind;   /* enum vf_process_kind */
    uint32_t worker; /* slot, from 0 */
    uint32_t generation, is_draining;
};

struct vf_totals_listener {
    struct vf_str name, address;
    uint64_t accepted, requests, refused, bytes_in, bytes_out;
    uint64_t handshakes, handshakes_resumed, handshakes_failed, handshakes_limited;
    uint64_t record_floods[3];
    uint64_t h2_connections, h2_streams, h2_floods;
    uint64_t connections;
    uint32_t is_admin, is_tls;
};

struct vf_totals_pool {
    struct vf_str name, tenant;
    uint64_t requests, retries, failovers, unavailable, bytes_in, bytes_out;
    uint64_t buckets[VF_STATE_BUCKETS]; /* not cumulative */
    uint64_t sum_us;
    uint32_t algorithm;                 /* enum vf_snap_algorithm */
    uint32_t first_backend, n_backends; /* indexes of backends in the snapshot */
    uint32_t is_sticky;
};

struct vf_totals_duration {             /* how long exchanges of a pool took, of one method */
    struct vf_str method;               /* empty: all others */
    uint64_t buckets[VF_STATE_BUCKETS]; /* not cumulative */
    uint64_t sum_us;
};

struct vf_totals_status { /* answers of a pool by method and status */
    struct vf_str method; /* empty: the cell of all others */
    uint64_t status, count;
};

struct vf_totals_backend {
    struct vf_str address, pool, tenant;
    uint64_t requests, responses[5];
    uint64_t connects, connect_failures, timeouts, reused, malformed, aborted, h2_floods;
    uint64_t bytes_in, bytes_out, sum_us;
    uint64_t in_flight, idle, open;
    uint64_t latency_us;                     /* EWMA of the first byte */
    uint64_t checked_ago_ms, changed_ago_ms; /* UINT64_MAX: never */
    uint64_t used_ago_ms;                    /* since its last answer; the same */
    uint64_t check_us;
    uint64_t ejected_for_ms; /* 0: not ejected */
    uint32_t health;         /* enum vf_health_status */
    uint32_t has_check, is_usable, drain;
    uint32_t weight, configured_weight;
    uint32_t failures, ejections; /* in a row */
    uint32_t last_status, streak;
    char reason[80]; /* of the last check, NUL-terminated */
};

struct vf_totals_route {
    struct vf_str name, tenant;
    uint64_t requests, class_4xx, class_5xx, bytes_in, bytes_out, sum_us;
};

struct vf_totals_tenant { /* of usage.h: since the file was begun */
    struct vf_str name;
    uint64_t requests, bytes_in, bytes_out;
};

struct vf_totals_error {
    uint64_t wall_ms;
    struct vf_str pool, backend; /* empty: none, or gone */
    uint32_t status, reserved;
    char reason[44], path[96]; /* NUL-terminated */
};

struct vf_totals_plugin_phase { /* struct vf_state_plugin_phase, summed */
    uint64_t calls, errors, yields, skipped;
    uint64_t buckets[VF_STATE_FINE_BUCKETS]; /* not cumulative */
    uint64_t sum_ns;
};

struct vf_totals_plugin {
    struct vf_str name;
    struct vf_totals_plugin_phase phases[VF_STATE_PHASES]; /* by enum vf_phase */
    uint64_t trips;
    uint32_t has_phases; /* bit 1 << enum vf_phase */
    uint32_t reserved;
};

/* The size of a struct, for Lua: by its place in this file without duration, from 0 (counts) to 11
 * (plugin); 12: duration. */
uint32_t vf_totals_size(uint32_t which);

/* Numbers of entities in a snapshot. */
struct vf_totals_numbers {
    uint32_t listeners, pools, backends, routes, tenants, plugins;
};
void vf_totals_numbers(const struct vf_snapshot *snapshot, struct vf_totals_numbers *out);

/* The kinds whose entities are found by their id. */
enum vf_totals_kind { VF_TOTALS_POOLS = 0, VF_TOTALS_BACKENDS, VF_TOTALS_ROUTES };

/* Returns the index of the entity with the stable id `id` (layout.h), UINT32_MAX when there is
 * none. At `hint`, where it was in an earlier snapshot, it is found at once; else by looking at
 * all. */
uint32_t vf_totals_find(const struct vf_snapshot *snapshot, uint32_t kind, uint64_t id,
                        uint32_t hint);

/* Each fills *out. An index is that of the entity in the snapshot, below vf_totals_numbers. */
void vf_totals_node(const struct vf_state *state, struct vf_totals_node *out);
void vf_totals_listener(const struct vf_state *state, const struct vf_snapshot *snapshot,
                        uint32_t index, struct vf_totals_listener *out);
void vf_totals_pool(const struct vf_state *state, const struct vf_snapshot *snapshot,
                    uint32_t index, struct vf_totals_pool *out);
void vf_totals_backend(const struct vf_state *state, const struct vf_snapshot *snapshot,
                       uint32_t index, struct vf_totals_backend *out);
void vf_totals_route(const struct vf_state *state, const struct vf_snapshot *snapshot,
                     uint32_t index, struct vf_totals_route *out);
void vf_totals_tenant(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_tenant *out);

void vf_totals_plugin(const struct vf_state *state, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_plugin *out);

/* As their singulars, summed over all entities from index `first` on; without names. */
void vf_totals_routes_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                           uint32_t first, struct vf_totals_route *out);
void vf_totals_pools_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                          uint32_t first, struct vf_totals_pool *out);
void vf_totals_backends_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t first, struct vf_totals_backend *out);
void vf_totals_tenants_from(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                            uint32_t first, struct vf_totals_tenant *out);

/* Fills `out`, which has room for VF_STATE_METHODS, with the methods that the pool at `index` has
 * seen; of all pools from `first` on. Returns how many. */
uint32_t vf_totals_durations(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t index, struct vf_totals_duration *out);
uint32_t vf_totals_durations_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                                  uint32_t first, struct vf_totals_duration *out);

/* Fills *out for block `index` and returns true when it is leased. */
bool vf_totals_process(const struct vf_state *state, uint32_t index, struct vf_totals_process *out);

/* Fills up to `room` entries for the pool at `index`, sorted by method and status. Returns how
 * many; what does not fit is summed in the last one. `room` is at least 1. */
uint32_t vf_totals_statuses(const struct vf_state *state, const struct vf_snapshot *snapshot,
                            uint32_t index, struct vf_totals_status *out, uint32_t room);

/* Fills up to `room` recent errors of all processes, the newest first. Returns how many. */
uint32_t vf_totals_errors(const struct vf_state *state, const struct vf_snapshot *snapshot,
                          struct vf_totals_error *out, uint32_t room);

#endif

--- What the processes have counted: the structs of src/snapshot/totals.h, filled by C.
-- Each reading function fills and returns one struct that the next call of the same function fills
-- again: copy what you keep. Counters are uint64_t; `number` makes Lua numbers of them.
local ffi = require "ffi"

ffi.cdef [[
struct vf_totals_str { const char *data; size_t len; };
struct vf_totals_counts {
  uint64_t requests, responses[5];
  uint64_t accepted, bytes_in, bytes_out;
  uint64_t malformed_requests, malformed_responses, client_timeouts, client_aborts;
  uint64_t log_lines, log_dropped, resolve_failures, accept_failures, out_of_memory;
  uint64_t checks, check_failures;
  uint64_t log_phases_skipped;
};
struct vf_totals_node {
  struct vf_totals_counts counts;
  uint64_t version;
  uint64_t started_wall_ms, uptime_ms, wall_ms;
  uint64_t config_wall_ms;
  uint64_t restarts[3];
  uint64_t connections, exchanges, tunnels, upstream_connections, buffered_bytes;
  uint32_t generation;
  uint32_t is_stopping, config_ok;
  uint32_t n_workers;
  uint32_t n_ready;
  uint32_t n_blocks;
  char config_message[512];
};
struct vf_totals_process {
  struct vf_totals_counts counts;
  int64_t pid;
  uint64_t heartbeat_age_ms;
  uint64_t running_version, n_snapshots;
  uint64_t connections, exchanges, tunnels, upstream_connections, buffered_bytes, loop_lag_us;
  uint32_t kind;
  uint32_t worker;
  uint32_t generation, is_draining;
};
struct vf_totals_listener {
  struct vf_totals_str name, address;
  uint64_t accepted, requests, refused, bytes_in, bytes_out;
  uint64_t handshakes, handshakes_resumed, handshakes_failed, handshakes_limited;
  uint64_t record_floods[3];
  uint64_t h2_connections, h2_streams, h2_floods;
  uint64_t connections;
  uint32_t is_admin, is_tls;
};
struct vf_totals_pool {
  struct vf_totals_str name, tenant;
  uint64_t requests, retries, failovers, unavailable, bytes_in, bytes_out;
  uint64_t buckets[14];
  uint64_t sum_us;
  uint32_t algorithm;
  uint32_t first_backend, n_backends;
  uint32_t is_sticky;
};
struct vf_totals_status {
  struct vf_totals_str method;
  uint64_t status, count;
};
struct vf_totals_backend {
  struct vf_totals_str address, pool, tenant;
  uint64_t requests, responses[5];
  uint64_t connects, connect_failures, timeouts, reused, malformed, aborted, h2_floods;
  uint64_t bytes_in, bytes_out, sum_us;
  uint64_t in_flight, idle, open;
  uint64_t latency_us;
  uint64_t checked_ago_ms, changed_ago_ms, used_ago_ms;
  uint64_t check_us;
  uint64_t ejected_for_ms;
  uint32_t health;
  uint32_t has_check, is_usable, drain;
  uint32_t weight, configured_weight;
  uint32_t failures, ejections;
  uint32_t last_status, streak;
  char reason[80];
};
struct vf_totals_route {
  struct vf_totals_str name, tenant;
  uint64_t requests, class_4xx, class_5xx, bytes_in, bytes_out, sum_us;
};
struct vf_totals_tenant {
  struct vf_totals_str name;
  uint64_t requests, bytes_in, bytes_out;
};
struct vf_totals_error {
  uint64_t wall_ms;
  struct vf_totals_str pool, backend;
  uint32_t status, reserved;
  char reason[44], path[96];
};
struct vf_totals_plugin_phase {
  uint64_t calls, errors, yields, skipped;
  uint64_t buckets[14];
  uint64_t sum_ns;
};
struct vf_totals_plugin {
  struct vf_totals_str name;
  struct vf_totals_plugin_phase phases[11];
  uint64_t trips;
  uint32_t has_phases;
  uint32_t reserved;
};
struct vf_totals_duration {
  struct vf_totals_str method;
  uint64_t buckets[14];
  uint64_t sum_us;
};
struct vf_totals_numbers { uint32_t listeners, pools, backends, routes, tenants, plugins; };

struct vf_state;
struct vf_usage;
struct vf_snapshot;
extern const double vf_state_bucket_bounds[13];
extern const double vf_state_fine_bounds[13];
uint32_t vf_totals_size(uint32_t which);
void vf_totals_numbers(const struct vf_snapshot *, struct vf_totals_numbers *);
uint32_t vf_totals_find(const struct vf_snapshot *, uint32_t, uint64_t, uint32_t);
void vf_totals_node(const struct vf_state *, struct vf_totals_node *);
bool vf_totals_process(const struct vf_state *, uint32_t, struct vf_totals_process *);
void vf_totals_listener(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_listener *);
void vf_totals_pool(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_pool *);
void vf_totals_backend(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_backend *);
void vf_totals_route(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_route *);
void vf_totals_tenant(const struct vf_usage *, const struct vf_snapshot *, uint32_t, struct vf_totals_tenant *);
void vf_totals_plugin(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_plugin *);
void vf_totals_routes_from(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_route *);
uint32_t vf_totals_durations(const struct vf_state *, const struct vf_snapshot *, uint32_t,
                             struct vf_totals_duration *);
uint32_t vf_totals_durations_from(const struct vf_state *, const struct vf_snapshot *, uint32_t,
                                  struct vf_totals_duration *);
void vf_totals_pools_from(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_pool *);
void vf_totals_backends_from(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_backend *);
void vf_totals_tenants_from(const struct vf_usage *, const struct vf_snapshot *, uint32_t, struct vf_totals_tenant *);
uint32_t vf_totals_statuses(const struct vf_state *, const struct vf_snapshot *, uint32_t, struct vf_totals_status *,
                            uint32_t);
uint32_t vf_totals_errors(const struct vf_state *, const struct vf_snapshot *, struct vf_totals_error *, uint32_t);
]]

local M = {}

M.MAX_PROCESSES = 136 -- VF_STATE_BLOCKS
local MAX_STATUSES, MAX_ERRORS = 128, 50
local METHODS = 8 -- VF_STATE_METHODS
local NEVER = 0xffffffffffffffffULL

local C = ffi.C
local STRUCTS = { "counts", "node", "process", "listener", "pool", "status", "backend", "route", "tenant", "error",
  "plugin_phase", "plugin", "duration" }

for i, name in ipairs(STRUCTS) do
  assert(C.vf_totals_size(i - 1) == ffi.sizeof("struct vf_totals_" .. name),
    "struct vf_totals_" .. name .. " is not that of totals.h")
end

--- The upper bounds of the latency buckets in seconds, without +Inf.
M.BUCKETS = {}
for i = 0, 12 do M.BUCKETS[i + 1] = tonumber(C.vf_state_bucket_bounds[i]) end

--- The same for the handlers of plugins.
M.FINE_BUCKETS = {}
for i = 0, 12 do M.FINE_BUCKETS[i + 1] = tonumber(C.vf_state_fine_bounds[i]) end

--- The phases of a plugin by enum vf_phase of snapshot/layout_plugins.h.
M.PHASES = { [0] = "init_worker", "configure", "certificate", "rewrite", "access", "balancer", "header_filter",
  "body_filter", "log", "timer", "control" }

local state, snapshot, usage

--- Sets what is read: pointers to struct vf_state, struct vf_snapshot (may be nil) and struct vf_usage (nil: what
-- tenants use is not counted).
function M.open(state_pointer, snapshot_pointer, usage_pointer)
  state = ffi.cast("const struct vf_state *", state_pointer)
  usage = ffi.cast("const struct vf_usage *", usage_pointer)
  snapshot = snapshot_pointer and ffi.cast("const struct vf_snapshot *", snapshot_pointer)
end

--- Returns the state area, a pointer to struct vf_state.
function M.state() return state end

--- Returns the snapshot that is read, a pointer to struct vf_snapshot, or nil.
function M.snapshot() return snapshot end

--- Returns true when there is a snapshot: only then may entities be read.
function M.has_snapshot() return snapshot ~= nil end

--- Returns a text view as a string.
function M.text(view) return ffi.string(view.data, view.len) end

--- Returns a fixed-size text as a string.
M.string = ffi.string

--- Returns a counter as a number.
M.number = tonumber

--- Returns an age in milliseconds as a number, or nil for never.
function M.age(ms)
  if ms == NEVER then return nil end
  return tonumber(ms)
end

local numbers = ffi.new "struct vf_totals_numbers"
local node = ffi.new "struct vf_totals_node"
local process = ffi.new "struct vf_totals_process"
local listener = ffi.new "struct vf_totals_listener"
local pool, pool_rest = ffi.new "struct vf_totals_pool", ffi.new "struct vf_totals_pool"
local backend, backend_rest = ffi.new "struct vf_totals_backend", ffi.new "struct vf_totals_backend"
local route, route_rest = ffi.new "struct vf_totals_route", ffi.new "struct vf_totals_route"
local tenant, tenant_rest = ffi.new "struct vf_totals_tenant", ffi.new "struct vf_totals_tenant"
local plugin = ffi.new "struct vf_totals_plugin"
local durations = ffi.new("struct vf_totals_duration[?]", METHODS)
local statuses = ffi.new("struct vf_totals_status[?]", MAX_STATUSES)
local errors = ffi.new("struct vf_totals_error[?]", MAX_ERRORS)

function M.numbers() C.vf_totals_numbers(snapshot, numbers) return numbers end

function M.node() C.vf_totals_node(state, node) return node end

local KINDS = { pools = 0, backends = 1, routes = 2 } -- enum vf_totals_kind
local NONE = 0xffffffff

--- Finds an entity by its stable id (compiler/sink.lua).
-- @param kind "pools", "backends" or "routes"
-- @param hint nil, or where it was the last time
-- @return its index, or nil
function M.find(kind, id, hint)
  local index = C.vf_totals_find(snapshot, KINDS[kind], id, hint or 0)
  return index ~= NONE and index or nil
end

--- Returns nil for a block that nobody has.
function M.process(index) return C.vf_totals_process(state, index, process) and process or nil end

function M.listener(index) C.vf_totals_listener(state, snapshot, index, listener) return listener end

function M.pool(index) C.vf_totals_pool(state, snapshot, index, pool) return pool end

function M.backend(index) C.vf_totals_backend(state, snapshot, index, backend) return backend end

function M.route(index) C.vf_totals_route(state, snapshot, index, route) return route end

function M.tenant(index) C.vf_totals_tenant(usage, snapshot, index, tenant) return tenant end

function M.plugin(index) C.vf_totals_plugin(state, snapshot, index, plugin) return plugin end

--- The sums over all entities from index `first` on.
function M.pools_from(first) C.vf_totals_pools_from(state, snapshot, first, pool_rest) return pool_rest end

--- How long exchanges took by method: an array, and how many methods it has.
function M.durations(index) return durations, C.vf_totals_durations(state, snapshot, index, durations) end

function M.durations_from(first) return durations, C.vf_totals_durations_from(state, snapshot, first, durations) end

function M.backends_from(first)
  C.vf_totals_backends_from(state, snapshot, first, backend_rest)
  return backend_rest
end

function M.routes_from(first) C.vf_totals_routes_from(state, snapshot, first, route_rest) return route_rest end

function M.tenants_from(first) C.vf_totals_tenants_from(usage, snapshot, first, tenant_rest) return tenant_rest end

--- Returns an array (from 0) of the answers of a pool by method and status, and its length.
function M.statuses(index)
  return statuses, C.vf_totals_statuses(state, snapshot, index, statuses, MAX_STATUSES)
end

--- Returns an array (from 0) of recent errors, the newest first, and its length.
function M.errors() return errors, C.vf_totals_errors(state, snapshot, errors, MAX_ERRORS) end

return M

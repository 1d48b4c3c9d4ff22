--- /metrics: what the state area holds, in the text format of Prometheus. docs/metrics.md lists it.
-- Names and labels that existing alert rules use are kept. At most MAX_SERIES routes, pools, backends
-- and tenants have series of their own, in the order of the configuration; the rest is `_other`.
local backup_counts = require "veloflux.control.backup_counts"
local bit = require "bit"
local certificates = require "veloflux.admin.certificates"
local host = require "veloflux.admin.host"
local plugin_metrics = require "veloflux.admin.plugin_metrics"
local probation = require "veloflux.control.probation_counts"
local prometheus = require "veloflux.admin.prometheus"
local shared_metrics = require "veloflux.admin.shared_metrics"
local slices = require "veloflux.slices"
local table_metrics = require "veloflux.admin.table_metrics"
local totals = require "veloflux.totals"
local turn_metrics = require "veloflux.admin.turn_metrics"

local M = {}

--- Functions that add families to an exposition: what is not read from the state area.
M.more = {}

M.MAX_SERIES = 1000
local OTHER = "_other"

local number, text, labels_of, with = totals.number, totals.text, prometheus.labels, prometheus.with
local CLASSES = { [0] = "1xx", "2xx", "3xx", "4xx", "5xx" }
local PROCESSES = { [0] = "worker", "control", "checker" }
local HEALTH = { [0] = -1, 1, 0 } -- enum vf_health_status: unknown, up, down

--- What a name is shown as: those of the default tenant without it.
local function shown(tenant, name)
  tenant, name = text(tenant), text(name)
  return tenant == "default" and name or tenant .. "/" .. name
end

-- Each list: field of the struct of totals.lua, name of the metric behind its prefix, kind, help, scale.
local COUNTS = {
  { "accepted", "connections_accepted_total", "Client connections accepted." },
  { "bytes_in", "received_bytes_total", "Content received from clients." },
  { "bytes_out", "sent_bytes_total", "Content sent to clients." },
  { "malformed_requests", "malformed_requests_total", "Requests refused because of their form." },
  { "malformed_responses", "malformed_responses_total", "Answers of backends refused because of their form." },
  { "client_timeouts", "client_timeouts_total", "Clients that did not send in time." },
  { "client_aborts", "client_aborts_total", "Clients that went away before the end of an exchange." },
  { "log_lines", "access_log_lines_total", "Lines written to the access log." },
  { "log_dropped", "access_log_dropped_total", "Lines of the access log that were dropped." },
  { "resolve_failures", "resolve_failures_total", "Failed look-ups of names of backends." },
  { "accept_failures", "accept_failures_total", "Connections that could not be accepted." },
  { "out_of_memory", "out_of_memory_total", "Connections or exchanges given up for lack of memory." },
  { "checks", "health_checks_total", "Active health checks made." },
  { "check_failures", "health_check_failures_total", "Active health checks that failed." },
  { "log_phases_skipped", "plugin_log_phases_skipped_total", "Exchanges whose plugins' log phase did not run." },
}

local PROCESS = {
  { "connections", "connections", "Open client connections of a process." },
  { "exchanges", "exchanges", "Exchanges under way in a process." },
  { "tunnels", "tunnels", "Tunnels (upgraded connections, and those that are passed on) of a process." },
  { "upstream_connections", "upstream_connections", "Connections to backends of a process." },
  { "buffered_bytes", "buffered_bytes", "Bytes that wait to be sent." },
  { "loop_lag_us", "loop_lag_seconds", "How late the loop of a process was last.", 1e-6 },
  { "heartbeat_age_ms", "heartbeat_age_seconds", "Time since the last heartbeat of a process.", 1e-3 },
  { "running_version", "config_version", "Configuration version that new exchanges get." },
  { "n_snapshots", "snapshots", "Snapshots that a process has mapped." },
  { "is_draining", "draining", "1 while a process finishes and takes nothing new." },
}

local LISTENER = {
  { "accepted", "accepted_total", "counter", "Connections accepted by a listener." },
  { "requests", "requests_total", "counter", "Requests on a listener." },
  { "refused", "refused_total", "counter", "Requests refused before routing." },
  { "bytes_in", "received_bytes_total", "counter", "Bytes received by a listener." },
  { "bytes_out", "sent_bytes_total", "counter", "Content sent by a listener." },
  { "handshakes", "tls_handshakes_total", "counter", "TLS handshakes that a listener finished." },
  { "handshakes_resumed", "tls_resumed_total", "counter", "Those of them that resumed a session." },
  { "handshakes_failed", "tls_failed_total", "counter", "TLS handshakes that failed." },
  { "handshakes_limited", "tls_limited_total", "counter", "TLS handshakes refused: too many from one address." },
  { "h2_connections", "http2_connections_total", "counter", "Connections that spoke HTTP/2." },
  { "h2_streams", "http2_streams_total", "counter", "Streams that clients began on them." },
  { "h2_floods", "http2_floods_total", "counter",
    "Connections that were ended because the client sent a flood of frames that bring nothing." },
  { "connections", "connections", "gauge", "Open client connections of a listener." },
}

local RECORD_FLOODS = { "handshake", "no_content", "tiny" } -- src/tls/flood.h

local ROUTE = {
  { "requests", "requests_total", "counter", "Requests of a route." },
  { "class_4xx", "client_errors_total", "counter", "Answers of a route with a status of 400 to 499." },
  { "class_5xx", "server_errors_total", "counter", "Answers of a route with a status of 500 and above." },
  { "bytes_in", "received_bytes_total", "counter", "Content of requests of a route." },
  { "bytes_out", "sent_bytes_total", "counter", "Content of answers of a route." },
  { "sum_us", "duration_seconds_total", "counter", "Time that the exchanges of a route took, summed.", 1e-6 },
}

local POOL = {
  { "retries", "retries_total", "counter", "Requests sent once more on a fresh connection." },
  { "failovers", "failovers_total", "counter", "Requests given to another backend (redispatches)." },
  { "unavailable", "unavailable_total", "counter", "Requests for which there was no usable backend." },
  { "bytes_in", "received_bytes_total", "counter", "Content of requests to a pool." },
  { "bytes_out", "sent_bytes_total", "counter", "Content of answers of a pool." },
}

local PLUGIN = {
  { "calls", "calls_total", "counter", "Calls of a handler of a plugin." },
  { "errors", "errors_total", "counter", "Calls that ended with an error." },
  { "yields", "yields_total", "counter", "Times that a handler waited for something." },
  { "skipped", "skipped_total", "counter", "Calls left out while an instance of the plugin was tripped." },
}

local BACKEND_COUNTERS = {
  { "requests", "requests_total", "counter", "Requests answered by a backend." },
  { "connects", "connects_total", "counter", "Connections made to a backend." },
  { "connect_failures", "connect_failures_total", "counter", "Connections to a backend that failed." },
  { "reused", "reused_connections_total", "counter", "Requests sent on a kept connection." },
  { "timeouts", "timeouts_total", "counter", "Time-outs while waiting for a backend." },
  { "malformed", "malformed_responses_total", "counter", "Malformed answers of a backend." },
  { "aborted", "aborted_total", "counter", "Answers of a backend that were cut short." },
  { "h2_floods", "http2_floods_total", "counter",
    "Connections that were ended because a backend sent a flood of frames that bring nothing." },
  { "bytes_in", "received_bytes_total", "counter", "Content received from a backend." },
  { "bytes_out", "sent_bytes_total", "counter", "Content sent to a backend." },
  { "sum_us", "duration_seconds_total", "counter", "Time that the exchanges of a backend took, summed.", 1e-6 },
}

local BACKEND_GAUGES = {
  { "is_usable", "health", "gauge", "1 when new requests may go to a backend." },
  { "is_usable", "up", "gauge", "As veloflux_backend_health." },
  { "in_flight", "in_flight", "gauge", "Exchanges under way at a backend." },
  { "open", "connections_open", "gauge", "Connections to a backend." },
  { "idle", "connections_idle", "gauge", "Kept connections to a backend that wait for a request." },
  { "weight", "weight", "gauge", "The weight in force." },
  { "drain", "drain", "gauge", "1 while a backend is drained, 2 while it is disabled." },
  { "failures", "consecutive_failures", "gauge", "Failed connections in a row." },
  { "ejections", "consecutive_ejections", "gauge", "Ejections by passive health in a row." },
  { "ejected_for_ms", "ejected_seconds", "gauge", "Time until an ejected backend is tried again.", 1e-3 },
  { "latency_us", "response_time_seconds", "gauge", "Moving average of the time to the first byte.", 1e-6 },
}

local BACKEND_CHECKS = {
  { "check_us", "check_duration_seconds", "gauge", "How long the last check took.", 1e-6 },
  { "checked_ago_ms", "check_age_seconds", "gauge", "Time since the last check.", 1e-3 },
  { "last_status", "check_http_status", "gauge", "HTTP status of the last check, 0: none." },
}

local function families_of(exposition, prefix, rows)
  local families = {}
  for i, row in ipairs(rows) do families[i] = exposition:family(prefix .. row[2], row[3], row[4]) end
  return families
end

local function add_all(families, rows, labels, struct)
  for i = 1, #rows do
    local row = rows[i]
    families[i]:add(labels, number(struct[row[1]]) * (row[5] or 1))
  end
end

local function add_one(exposition, name, kind, help, value, labels)
  exposition:family(name, kind, help):add(labels or "", value)
end

local function add_node(exposition, version)
  local node = totals.node()
  add_one(exposition, "veloflux_build_info", "gauge", "1, with the version as a label.", 1,
    labels_of { "version", version })
  add_one(exposition, "veloflux_uptime_seconds", "gauge", "Time since the start.", number(node.uptime_ms) / 1000)
  add_one(exposition, "veloflux_start_time_seconds", "gauge", "When it started.", number(node.started_wall_ms) / 1000)
  add_one(exposition, "veloflux_binary_generation", "gauge", "Grows by one with every upgrade in place.",
    node.generation)
  add_one(exposition, "veloflux_stopping", "gauge", "1 from the signal to stop on.", node.is_stopping)
  add_one(exposition, "veloflux_config_version", "gauge", "The published configuration version.", number(node.version))
  add_one(exposition, "veloflux_config_last_reload_successful", "gauge", "1 when the last configuration was accepted.",
    node.config_ok)
  add_one(exposition, "veloflux_config_last_reload_timestamp_seconds", "gauge", "When that was decided; 0: never.",
    number(node.config_wall_ms) / 1000)
  add_one(exposition, "veloflux_workers", "gauge", "Workers that are not draining.", node.n_workers)
  add_one(exposition, "veloflux_workers_ready", "gauge", "Of these, those that run a configuration.", node.n_ready)
  local restarts = exposition:family("veloflux_restarts_total", "counter", "Processes that ended unexpectedly.")
  for kind = 0, 2 do restarts:add(labels_of { "process", PROCESSES[kind] }, number(node.restarts[kind])) end
  local classes = exposition:family("veloflux_http_requests_total", "counter",
    "Requests answered, whatever answered them, by class of status.")
  for i = 0, 4 do classes:add(labels_of { "status", CLASSES[i] }, number(node.counts.responses[i])) end
  for _, row in ipairs(COUNTS) do
    add_one(exposition, "veloflux_" .. row[2], "counter", row[3], number(node.counts[row[1]]))
  end
end

local function add_usage(cpu, memory, labels, pid)
  local seconds, bytes = host.process(pid)
  if not seconds then return end
  cpu:add(labels, seconds)
  memory:add(labels, bytes)
end

local function add_processes(exposition)
  local cpu = exposition:family("veloflux_process_cpu_seconds_total", "counter",
    "Processor time, user and system, of a process.")
  local memory = exposition:family("veloflux_process_resident_memory_bytes", "gauge",
    "Memory of a process, what it shares with others included.")
  local families = {}
  for i, row in ipairs(PROCESS) do
    families[i] = exposition:family("veloflux_process_" .. row[2], "gauge", row[3])
  end
  for index = 0, totals.node().n_blocks - 1 do
    local process = totals.process(index)
    if process then
      local name = PROCESSES[process.kind]
      if process.kind == 0 then name = name .. "-" .. process.worker + 1 end
      local labels = labels_of { "process", name, "pid", number(process.pid), "generation", process.generation }
      for i, row in ipairs(PROCESS) do
        local value = number(process[row[1]])
        if row[1] ~= "heartbeat_age_ms" or totals.age(process.heartbeat_age_ms) then
          families[i]:add(labels, value * (row[4] or 1))
        end
      end
      add_usage(cpu, memory, labels, number(process.pid))
    end
  end
end

--- Walks the first entities of a kind, `max` at most: their indexes. Between two of them the loop may turn, and another
-- snapshot may come that has fewer.
local function each(kind, max)
  local index = -1
  return function()
    slices.pause()
    index = index + 1
    if index < totals.numbers()[kind] and index < (max or math.huge) then return index end
  end
end

local function add_listeners(exposition)
  local families = families_of(exposition, "veloflux_listener_", LISTENER)
  local floods = exposition:family("veloflux_listener_tls_record_floods_total", "counter",
    "TLS connections that were ended because the client sent a flood of records.")
  for index in each("listeners") do
    local listener = totals.listener(index)
    local labels = labels_of { "listener", text(listener.name) }
    add_all(families, LISTENER, labels, listener)
    for i, reason in ipairs(RECORD_FLOODS) do
      floods:add(with(labels, "reason", reason), number(listener.record_floods[i - 1]))
    end
  end
end

local function add_routes(exposition, count, max)
  local families = families_of(exposition, "veloflux_route_", ROUTE)
  for index in each("routes", max) do
    local route = totals.route(index)
    add_all(families, ROUTE, labels_of { "route", shown(route.tenant, route.name) }, route)
  end
  if count > max then add_all(families, ROUTE, labels_of { "route", OTHER }, totals.routes_from(max)) end
end

local function bucket_of(pool)
  return function(i) return number(pool.buckets[i - 1]) end
end

local function add_statuses(requests, index, name)
  local statuses, count = totals.statuses(index)
  for i = 0, count - 1 do
    local status = statuses[i]
    local is_other = status.method.len == 0
    requests:add(labels_of { "method", is_other and OTHER or text(status.method), "status_code",
      is_other and OTHER or ("%03d"):format(number(status.status)), "pool", name }, number(status.count))
  end
end

--- A pool that has seen nothing yet has a series of zeros, so that rates begin with its first request.
local function add_durations(family, name, durations, count)
  for i = 0, math.max(count, 1) - 1 do
    local of = durations[i]
    local method = count == 0 and "GET" or of.method.len == 0 and OTHER or text(of.method)
    family:add_histogram(labels_of { "method", method, "pool", name }, totals.BUCKETS, bucket_of(of),
      number(of.sum_us) / 1e6)
  end
end

local function add_pools(exposition, count, max)
  local requests = exposition:family("veloflux_requests_total", "counter",
    "Requests that were given to a pool, by method and status answered (000: none).")
  local duration = exposition:family("veloflux_request_duration_seconds", "histogram",
    "How long exchanges took, from the head of the request to the end of the answer.")
  local families = families_of(exposition, "veloflux_pool_", POOL)
  for index in each("pools", max) do
    local pool = totals.pool(index)
    local name = shown(pool.tenant, pool.name)
    add_statuses(requests, index, name)
    add_durations(duration, name, totals.durations(index))
    add_all(families, POOL, labels_of { "pool", name }, pool)
  end
  if count > max then
    local rest = totals.pools_from(max)
    requests:add(labels_of { "method", OTHER, "status_code", OTHER, "pool", OTHER }, number(rest.requests))
    add_durations(duration, OTHER, totals.durations_from(max))
    add_all(families, POOL, labels_of { "pool", OTHER }, rest)
  end
  local all = totals.pools_from(0)
  local everything = exposition:family("veloflux_http_request_duration_seconds", "histogram",
    "As veloflux_request_duration_seconds, for all pools.")
  everything:add_histogram("", totals.BUCKETS, bucket_of(all), number(all.sum_us) / 1e6)
end

local function add_responses(family, labels, backend)
  for i = 0, 4 do family:add(with(labels, "class", CLASSES[i]), number(backend.responses[i])) end
end

--- Sums by pool of what only backends know.
local function add_usable(exposition, pools)
  local all = exposition:family("veloflux_pool_backends", "gauge", "Backends of a pool.")
  local usable = exposition:family("veloflux_pool_backends_usable", "gauge", "Backends that new requests may go to.")
  local in_flight = exposition:family("veloflux_pool_in_flight", "gauge", "Exchanges under way in a pool.")
  for _, pool in ipairs(pools) do
    all:add(pool.labels, pool.all)
    usable:add(pool.labels, pool.usable)
    in_flight:add(pool.labels, pool.in_flight)
  end
end

--- Sums by address and by pool what is known of single backends.
local function add_to_sums(sums, backend, name, address)
  local in_flight = number(backend.in_flight)
  if not sums.active[address] then sums.addresses[#sums.addresses + 1] = address end
  sums.active[address] = (sums.active[address] or 0) + in_flight
  local pool = sums.by_name[name]
  if not pool then
    pool = { labels = labels_of { "pool", name }, all = 0, usable = 0, in_flight = 0 }
    sums.by_name[name], sums.pools[#sums.pools + 1] = pool, pool
  end
  pool.all, pool.usable = pool.all + 1, pool.usable + backend.is_usable
  pool.in_flight = pool.in_flight + in_flight
end

local function add_backends(exposition, count, max)
  local active = exposition:family("veloflux_active_connections", "gauge",
    "Connections to a backend that serve an exchange, of all pools together.")
  local gauges = families_of(exposition, "veloflux_backend_", BACKEND_GAUGES)
  local counters = families_of(exposition, "veloflux_backend_", BACKEND_COUNTERS)
  local checks = families_of(exposition, "veloflux_backend_", BACKEND_CHECKS)
  local is_up = exposition:family("veloflux_backend_check_up", "gauge",
    "Result of the active checks: 1 up, 0 down, -1 not known yet.")
  local responses = exposition:family("veloflux_backend_responses_total", "counter",
    "Answers of a backend by class of status.")
  local sums = { pools = {}, by_name = {}, addresses = {}, active = {} }
  for index in each("backends", max) do
    local backend = totals.backend(index)
    local name, address = shown(backend.tenant, backend.pool), text(backend.address)
    local labels = labels_of { "pool", name, "backend", address }
    add_all(gauges, BACKEND_GAUGES, labels, backend)
    add_all(counters, BACKEND_COUNTERS, labels, backend)
    add_responses(responses, labels, backend)
    if backend.has_check ~= 0 then
      is_up:add(labels, HEALTH[backend.health] or -1)
      if totals.age(backend.checked_ago_ms) then add_all(checks, BACKEND_CHECKS, labels, backend) end
    end
    add_to_sums(sums, backend, name, address)
  end
  for _, address in ipairs(sums.addresses) do active:add(labels_of { "backend", address }, sums.active[address]) end
  if count > max then
    local rest, labels = totals.backends_from(max), labels_of { "pool", OTHER, "backend", OTHER }
    add_all(counters, BACKEND_COUNTERS, labels, rest)
    add_responses(responses, labels, rest)
  end
  add_usable(exposition, sums.pools)
end

local function add_tenants(exposition, count, max)
  local requests = exposition:family("veloflux_tenant_requests_total", "counter",
    "Requests of a tenant, since its usage counters were begun.")
  local bytes = exposition:family("veloflux_tenant_bandwidth_bytes", "counter", "Content of a tenant's exchanges.")
  local function add(name, tenant)
    local labels = labels_of { "tenant", name }
    requests:add(labels, number(tenant.requests))
    bytes:add(with(labels, "direction", "in"), number(tenant.bytes_in))
    bytes:add(with(labels, "direction", "out"), number(tenant.bytes_out))
  end
  for index in each("tenants", max) do
    local tenant = totals.tenant(index)
    add(text(tenant.name), tenant)
  end
  if count > max then add(OTHER, totals.tenants_from(max)) end
end

--- Adds what the handlers of one plugin did in one phase. A phase that it has not, or no longer, is told
-- of only when something was counted.
local function add_phase(families, labels, has_phase, phase)
  if not has_phase and phase.calls == 0 and phase.skipped == 0 then return end
  for i, row in ipairs(PLUGIN) do families[i]:add(labels, number(phase[row[1]])) end
  families.duration:add_histogram(labels, totals.FINE_BUCKETS, function(i) return number(phase.buckets[i - 1]) end,
    number(phase.sum_ns) / 1e9)
end

local function add_plugins(exposition)
  local families = families_of(exposition, "veloflux_plugin_", PLUGIN)
  families.duration = exposition:family("veloflux_plugin_duration_seconds", "histogram",
    "How long a handler of a plugin took, waiting included.")
  local trips = exposition:family("veloflux_plugin_trips_total", "counter",
    "Times that an instance of a plugin was left out after too many errors.")
  for index in each("plugins") do
    local plugin = totals.plugin(index)
    local name = text(plugin.name)
    for phase = 0, #totals.PHASES do
      local phase_name = totals.PHASES[phase]
      local labels = labels_of { "plugin", name, "phase", phase_name }
      add_phase(families, labels, bit.band(plugin.has_phases, bit.lshift(1, phase)) ~= 0, plugin.phases[phase])
    end
    trips:add(labels_of { "plugin", name }, number(plugin.trips))
  end
end

local function add_backups(exposition)
  local counts = backup_counts.get()
  exposition:family("veloflux_backups_total", "counter", "Backups of the schedule that were made, since control began.")
    :add("", counts.stored)
  exposition:family("veloflux_backup_failures_total", "counter", "Backups of the schedule that failed, since control "
    .. "began."):add("", counts.failed)
  exposition:family("veloflux_backup_last_timestamp_seconds", "gauge", "When the last one was made; 0: none is known.")
    :add("", counts.last_ms / 1000)
end

local function add_probation(exposition)
  local counts = probation.get()
  exposition:family("veloflux_probation_watching", "gauge", "Versions on probation."):add("", counts.watching)
  local ended = exposition:family("veloflux_probations_total", "counter",
    "Probations that ended, since control began.")
  for _, state in ipairs(probation.ENDS) do ended:add(labels_of { "state", state }, counts[state]) end
end

--- Returns the whole exposition as text.
-- @param version of this build
function M.text(version)
  local exposition = prometheus.new()
  add_node(exposition, version)
  add_processes(exposition)
  add_probation(exposition)
  certificates.add(exposition)
  add_backups(exposition)
  table_metrics.add(exposition)
  turn_metrics.add(exposition)
  shared_metrics.add(exposition, totals.state())
  for _, add in ipairs(M.more) do add(exposition) end
  if totals.has_snapshot() then
    local counts, max = totals.numbers(), M.MAX_SERIES
    local routes, pools, backends, tenants = counts.routes, counts.pools, counts.backends, counts.tenants
    add_listeners(exposition)
    add_pools(exposition, pools, max)
    add_backends(exposition, backends, max)
    add_routes(exposition, routes, max)
    add_tenants(exposition, tenants, max)
    add_plugins(exposition)
  end
  plugin_metrics.add(exposition, totals.state())
  return exposition:text()
end

return M

--- What the status page and GET /api/status show: the node, its processes, listeners, pools with their
-- backends, and recent errors.
local json = require "veloflux.pdk.json"
local ffi = require "ffi"
local totals = require "veloflux.totals"

ffi.cdef "void vf_clock_rfc3339(uint64_t wall_ms, char out[24]);"

local M = {}

M.MAX_POOLS, M.MAX_BACKENDS = 500, 2000 -- listed; beyond, `truncated` is true

local number, text = totals.number, totals.text
local PROCESSES = { [0] = "worker", "control", "checker" }
M.ALGORITHMS = { [0] = "round_robin", "least_conn", "random", "ip_hash", "consistent_hash", "peak_ewma" }
local DRAIN = { [0] = "none", "draining", "disabled" }
M.DRAIN = DRAIN
local rfc3339 = ffi.new "char[24]"

--- Returns a wall clock time in milliseconds as text (RFC 3339).
function M.time(wall_ms)
  ffi.C.vf_clock_rfc3339(wall_ms, rfc3339)
  return ffi.string(rfc3339, 24)
end

--- Returns a number of milliseconds as text: "2d 3h", "4m 5s", "0s".
function M.duration(ms)
  local seconds = math.floor(ms / 1000)
  local days, hours = math.floor(seconds / 86400), math.floor(seconds / 3600) % 24
  local minutes = math.floor(seconds / 60) % 60
  if days > 0 then return ("%dd %dh"):format(days, hours) end
  if hours > 0 then return ("%dh %dm"):format(hours, minutes) end
  if minutes > 0 then return ("%dm %ds"):format(minutes, seconds % 60) end
  return ("%ds"):format(seconds)
end

local function average_ms(sum_us, count)
  return count > 0 and math.floor(sum_us / count / 10 + 0.5) / 100 or 0
end

--- Rounds to two digits behind the point.
local function round(value) return math.floor(value * 100 + 0.5) / 100 end
M.round, M.average_ms = round, average_ms

local function key_of(backend)
  return text(backend.tenant) .. "/" .. text(backend.pool) .. "/" .. text(backend.address)
end

--- The counters whose rates are kept, by name; for rates.lua.
function M.sample()
  local node = totals.node()
  local values = { requests = number(node.counts.requests), errors = number(node.counts.responses[4]),
    bytes_in = number(node.counts.bytes_in), bytes_out = number(node.counts.bytes_out) }
  if not totals.has_snapshot() then return values end
  local counts = totals.numbers()
  for i = 0, math.min(counts.backends, M.MAX_BACKENDS) - 1 do
    local backend = totals.backend(i)
    values[key_of(backend)] = number(backend.requests)
  end
  return values
end

--- Returns the state of a backend (struct vf_totals_backend) in one word.
function M.health_of(backend)
  if backend.drain ~= 0 then return DRAIN[backend.drain] or "disabled" end
  if backend.ejected_for_ms > 0 then return "ejected" end
  if backend.is_usable == 0 then return "unhealthy" end
  return backend.health == 1 and "healthy" or backend.health == 2 and "unhealthy" or "unknown"
end

--- Returns why it is so, or "".
function M.reason_of(backend)
  if backend.ejected_for_ms > 0 then
    return ("passive health: connections failed; tried again in %s"):format(M.duration(number(backend.ejected_for_ms)))
  end
  return totals.string(backend.reason)
end

local function ago(ms) return totals.age(ms) and math.floor(totals.age(ms) / 1000) or json.null end

--- Returns what is known of the backend `index` of the snapshot, from 0.
local function backend_of(index, rates, now)
  local backend = totals.backend(index)
  local address, pool = text(backend.address), text(backend.pool)
  local requests, responses = number(backend.requests), backend.responses
  local health = M.health_of(backend)
  return { address = address, pool = pool, weight = backend.weight, configured_weight = backend.configured_weight,
    status = health, healthy = backend.is_usable ~= 0, reason = M.reason_of(backend), drain = DRAIN[backend.drain],
    requests = requests, requests_per_second = round(rates:get(key_of(backend), requests, now)),
    connections = number(backend.open), idle_connections = number(backend.idle),
    in_flight = number(backend.in_flight), response_time_ms = round(number(backend.latency_us) / 1000),
    average_ms = average_ms(number(backend.sum_us), requests), errors = number(responses[4]),
    connect_failures = number(backend.connect_failures), timeouts = number(backend.timeouts),
    checked = backend.has_check ~= 0, check_ms = round(number(backend.check_us) / 1000),
    last_check_seconds_ago = ago(backend.checked_ago_ms), changed_seconds_ago = ago(backend.changed_ago_ms) }
end

M.backend = backend_of

--- Returns the state of a pool of which `usable` backends out of `all` are usable.
function M.pool_status(usable, all)
  if all == 0 or usable == 0 then return "unhealthy" end
  return usable < all and "degraded" or "healthy"
end

local function pool_of(index, budget, rates, now)
  local pool = totals.pool(index)
  local requests, total_us = number(pool.requests), number(pool.sum_us)
  local result = { name = text(pool.name), tenant = text(pool.tenant), algorithm = M.ALGORITHMS[pool.algorithm],
    sticky_sessions = pool.is_sticky ~= 0, requests = requests, retries = number(pool.retries),
    failovers = number(pool.failovers), unavailable = number(pool.unavailable), bytes_in = number(pool.bytes_in),
    bytes_out = number(pool.bytes_out), average_ms = average_ms(total_us, requests), backends = json.array() }
  local first, count, usable, rate, errors = pool.first_backend, pool.n_backends, 0, 0, 0
  for i = first, first + count - 1 do
    if budget.backends == 0 then
      budget.truncated = true
      break
    end
    budget.backends = budget.backends - 1
    local backend = backend_of(i, rates, now)
    table.insert(result.backends, backend)
    usable, rate = usable + (backend.healthy and 1 or 0), rate + backend.requests_per_second
    errors = errors + backend.errors
  end
  result.total_backends, result.active_backends = count, usable
  result.requests_per_second, result.errors = round(rate), errors
  result.status = M.pool_status(usable, #result.backends)
  return result
end

--- Returns the pools with their backends, and whether some are left out.
function M.pools(count, rates, now)
  local result, budget = json.array(), { backends = M.MAX_BACKENDS, truncated = count > M.MAX_POOLS }
  for i = 0, math.min(count, M.MAX_POOLS) - 1 do table.insert(result, pool_of(i, budget, rates, now)) end
  return result, budget.truncated
end

local function listeners(count)
  local result = json.array()
  for i = 0, count - 1 do
    local listener = totals.listener(i)
    table.insert(result, { name = text(listener.name), address = text(listener.address), admin = listener.is_admin ~= 0,
      connections = number(listener.connections), accepted = number(listener.accepted),
      requests = number(listener.requests), refused = number(listener.refused) })
  end
  return result
end

--- Returns what the processes are doing, one element for each.
function M.processes()
  local result = json.array()
  for i = 0, totals.node().n_blocks - 1 do
    local process = totals.process(i)
    if process then
      local name = PROCESSES[process.kind]
      if process.kind == 0 then name = name .. "-" .. process.worker + 1 end
      table.insert(result, { name = name, kind = PROCESSES[process.kind], pid = number(process.pid),
        generation = process.generation, config_version = number(process.running_version),
        draining = process.is_draining ~= 0, connections = number(process.connections),
        exchanges = number(process.exchanges), tunnels = number(process.tunnels),
        buffered_bytes = number(process.buffered_bytes), loop_lag_ms = round(number(process.loop_lag_us) / 1000),
        heartbeat_age_ms = totals.age(process.heartbeat_age_ms) or json.null, snapshots = number(process.n_snapshots) })
    end
  end
  return result
end

local function errors()
  local result, found, count = json.array(), totals.errors()
  for i = 0, count - 1 do
    local entry = found[i]
    table.insert(result, { time = M.time(entry.wall_ms), status = entry.status, reason = totals.string(entry.reason),
      path = totals.string(entry.path), pool = text(entry.pool), backend = text(entry.backend) })
  end
  return result
end

local function usable_backends()
  local usable = 0
  for i = 0, totals.numbers().backends - 1 do usable = usable + totals.backend(i).is_usable end
  return usable
end

--- Returns what became of the last configuration: {ok, version, message, time}.
function M.config(node)
  return { ok = node.config_ok ~= 0, version = number(node.version), message = totals.string(node.config_message),
    time = node.config_wall_ms > 0 and M.time(node.config_wall_ms) or json.null }
end

local function traffic(node, rates, now)
  local counts = node.counts
  local requests, failed = number(counts.requests), number(counts.responses[4])
  local bytes_in, bytes_out = number(counts.bytes_in), number(counts.bytes_out)
  local result = { requests = requests, requests_per_second = round(rates:get("requests", requests, now)),
    errors = failed, errors_per_second = round(rates:get("errors", failed, now)),
    bytes_in = bytes_in, bytes_in_per_second = round(rates:get("bytes_in", bytes_in, now)),
    bytes_out = bytes_out, bytes_out_per_second = round(rates:get("bytes_out", bytes_out, now)),
    connections = number(node.connections), exchanges = number(node.exchanges), tunnels = number(node.tunnels),
    malformed_requests = number(counts.malformed_requests), client_aborts = number(counts.client_aborts),
    log_dropped = number(counts.log_dropped), responses = {} }
  for i = 0, 4 do result.responses[(i + 1) .. "xx"] = number(counts.responses[i]) end
  return result
end

--- Says in a few words what the node does.
function M.word() return totals.node().is_stopping ~= 0 and "VeloFlux is stopping" or "VeloFlux is running" end

--- Returns everything as a table for JSON.
-- @param version of this build
-- @param rates of rates.lua
-- @param now seconds, monotonic
function M.full(version, rates, now)
  local node = totals.node()
  local uptime_ms = number(node.uptime_ms)
  local restarts = { worker = number(node.restarts[0]), control = number(node.restarts[1]),
    checker = number(node.restarts[2]) }
  local result = { status = M.word(), version = version, timestamp = M.time(node.wall_ms),
    started_at = M.time(node.started_wall_ms), uptime = M.duration(uptime_ms),
    uptime_seconds = math.floor(uptime_ms / 1000), generation = node.generation, workers = node.n_workers,
    ready_workers = node.n_ready, restarts = restarts, config = M.config(node),
    traffic = traffic(node, rates, now), processes = M.processes(),
    listeners = json.array(), pools = json.array(), errors = json.array(), routes = 0, truncated = false }
  if totals.has_snapshot() then
    local counts = totals.numbers()
    result.routes = counts.routes
    result.listeners = listeners(counts.listeners)
    result.pools, result.truncated = M.pools(counts.pools, rates, now)
    result.errors = errors()
    result.pools_count, result.total_backends = counts.pools, counts.backends
    result.healthy_backends = usable_backends()
    local all = result.total_backends
    result.backend_health_percentage = all > 0 and round(100 * result.healthy_backends / all) or json.null
  end
  return result
end

return M

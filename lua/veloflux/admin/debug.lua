--- What runs, in detail: pools, backends, routes and processes, for the plugin `debug`. Figures are those of the state
-- area.
local explain = require "veloflux.explain"
local host = require "veloflux.admin.host"
local json = require "veloflux.pdk.json"
local places = require "veloflux.admin.places"
local quantile = require "veloflux.quantile"
local resolve = require "veloflux.plugin.resolve"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"
local words = require "veloflux.explain_words"

local M = {}

local number, text, round = totals.number, totals.text, status.round

local NONE = { pools = 0, backends = 0, plugins = 0 }

local function numbers() return totals.has_snapshot() and totals.numbers() or NONE end

-- Pools and backends --------------------------------------------------------------------------------

local function buckets_of(buckets, bounds)
  local counts, result = {}, json.array()
  for i = 0, #bounds do
    counts[i + 1] = number(buckets[i])
    result[i + 1] = { le_seconds = bounds[i + 1] or json.null, count = counts[i + 1] }
  end
  return result, counts
end

local function quantiles(bounds, counts)
  local result = {}
  for name, share in pairs { p50_ms = 0.5, p95_ms = 0.95, p99_ms = 0.99 } do
    local seconds = quantile.of(bounds, counts, share)
    result[name] = seconds and round(seconds * 1000) or json.null
  end
  return result
end

local function answers_of(index)
  local statuses, count = totals.statuses(index)
  local result = json.array()
  for i = 0, count - 1 do
    local entry = statuses[i]
    result[i + 1] = { method = entry.method.len > 0 and text(entry.method) or "other",
      status = entry.method.len > 0 and number(entry.status) or json.null, count = number(entry.count) }
  end
  return result
end

local function pool_of(index)
  local pool = totals.pool(index)
  local buckets, counts = buckets_of(pool.buckets, totals.BUCKETS)
  local result = { name = text(pool.name), tenant_id = text(pool.tenant), total_backends = pool.n_backends,
    algorithm = status.ALGORITHMS[pool.algorithm], sticky_sessions = pool.is_sticky ~= 0,
    requests = number(pool.requests), retries = number(pool.retries), failovers = number(pool.failovers),
    unavailable = number(pool.unavailable), bytes_in = number(pool.bytes_in), bytes_out = number(pool.bytes_out),
    average_ms = status.average_ms(number(pool.sum_us), number(pool.requests)),
    latency = quantiles(totals.BUCKETS, counts), latency_buckets = buckets }
  local usable, in_flight = 0, 0
  for i = pool.first_backend, pool.first_backend + pool.n_backends - 1 do
    local backend = totals.backend(i)
    usable, in_flight = usable + backend.is_usable, in_flight + number(backend.in_flight)
  end
  result.active_backends, result.in_flight, result.answers = usable, in_flight, answers_of(index)
  return result
end

local COUNTERS = { "connects", "reused", "malformed", "aborted", "bytes_in", "bytes_out" }

local function backend_of(index, context)
  local result = status.backend(index, context.rates, context.now())
  local backend = totals.backend(index)
  for _, name in ipairs(COUNTERS) do result[name] = number(backend[name]) end
  result.tenant_id, result.responses = text(backend.tenant), {}
  for i = 0, 4 do result.responses[(i + 1) .. "xx"] = number(backend.responses[i]) end
  result.passive = { failures = backend.failures, ejections = backend.ejections,
    ejected_for_ms = number(backend.ejected_for_ms) }
  result.check = backend.has_check ~= 0 and { last_status = backend.last_status, streak = backend.streak,
    took_ms = round(number(backend.check_us) / 1000) } or json.null
  return result
end

-- Routes --------------------------------------------------------------------------------------------

local function hosts_of(route)
  local hosts = rawget(route, "hosts") or rawget(route, "host") and { route.host } or { "*" }
  return json.array { unpack(hosts) }
end

local function plugins_of(route)
  local names = json.array()
  for i, shared in ipairs(route._chain or {}) do
    local item = places.item(shared, route)
    names[i] = { name = item.name, as = item.as, priority = item.priority, scope = resolve.SCOPES[item.scope],
      source = item.source }
  end
  return names
end

local function route_of(model, position, rank)
  local route, live = model.routes[position], totals.route(position - 1)
  return { rank = rank, name = route.name, tenant_id = route.tenant, hosts = hosts_of(route),
    path = words.path_of(route), methods = json.array { unpack(route.methods) }, priority = route.priority,
    action = words.action_of(route), source = places.of(route), plugins = plugins_of(route),
    requests = number(live.requests), client_errors = number(live.class_4xx), server_errors = number(live.class_5xx),
    bytes_in = number(live.bytes_in), bytes_out = number(live.bytes_out),
    average_ms = status.average_ms(number(live.sum_us), number(live.requests)) }
end

-- Lists ---------------------------------------------------------------------------------------------

local LISTS = {}

function LISTS.pools() return numbers().pools, pool_of end

function LISTS.backends(context)
  return numbers().backends, function(i) return backend_of(i, context) end
end

function LISTS.routes(context)
  local current = context.current()
  if not current or not totals.has_snapshot() then return 0 end
  local order = explain.order(totals.snapshot())
  return #order, function(i) return route_of(current.model, order[i + 1], i) end
end

--- Returns a part of a list, and how long the whole is.
-- @param what "pools", "backends" or "routes"
-- @param first from 0
-- @param count at most so many
function M.list(what, first, count, context)
  local total, make = LISTS[what](context)
  local items = json.array()
  for i = first, math.min(first + count, total) - 1 do items[#items + 1] = make(i) end
  return items, total
end

-- Performance ---------------------------------------------------------------------------------------

local function phase_of(phase)
  local calls = number(phase.calls)
  local _, counts = buckets_of(phase.buckets, totals.FINE_BUCKETS)
  local result = quantiles(totals.FINE_BUCKETS, counts)
  result.calls, result.errors, result.yields = calls, number(phase.errors), number(phase.yields)
  result.skipped = number(phase.skipped)
  result.average_ms = calls > 0 and number(phase.sum_ns) / calls / 1e6 or json.null
  return result
end

local function plugins()
  local result = json.array()
  for index = 0, numbers().plugins - 1 do
    local plugin = totals.plugin(index)
    local item = { name = text(plugin.name), trips = number(plugin.trips), phases = {} }
    for phase = 0, #totals.PHASES do
      local found = plugin.phases[phase]
      if found.calls > 0 or found.skipped > 0 then item.phases[totals.PHASES[phase]] = phase_of(found) end
    end
    result[#result + 1] = item
  end
  return result
end

--- Returns what processes and plugins take.
function M.performance()
  local processes = status.processes()
  for _, process in ipairs(processes) do
    local seconds, bytes, threads = host.process(process.pid)
    process.cpu_seconds, process.memory_bytes = seconds or json.null, bytes or json.null
    process.threads = threads or json.null
  end
  return { timestamp = status.time(totals.node().wall_ms), processes = processes, plugins = plugins(),
    control = { lua_memory_bytes = collectgarbage "count" * 1024 } }
end

return M

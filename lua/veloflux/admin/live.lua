--- Live figures of pools, backends, routes and listeners for the objects of the admin API, from the state area.
local json = require "veloflux.pdk.json"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local number, text = totals.number, totals.text
local indexes -- of the snapshot: { pools, backends, routes }, each key -> index

--- Another snapshot is published: what was known of the places in it is forgotten.
function M.reset() indexes = nil end

local function index()
  if indexes then return indexes end
  if not totals.has_snapshot() then return { pools = {}, backends = {}, routes = {} } end
  indexes = { pools = {}, backends = {}, routes = {} }
  local counts = totals.numbers()
  local n_pools, n_routes = counts.pools, counts.routes
  for i = 0, n_pools - 1 do
    local pool = totals.pool(i)
    local key = text(pool.tenant) .. "/" .. text(pool.name)
    indexes.pools[key] = i
    local first, count = pool.first_backend, pool.n_backends
    for k = first, first + count - 1 do indexes.backends[key .. "/" .. text(totals.backend(k).address)] = k end
  end
  for i = 0, n_routes - 1 do
    local route = totals.route(i)
    indexes.routes[text(route.tenant) .. "/" .. text(route.name)] = i
  end
  return indexes
end

local function round(value) return math.floor(value * 100 + 0.5) / 100 end

local function time_ago(ms)
  local age = totals.age(ms)
  return age and status.time(number(totals.node().wall_ms) - age) or json.null
end

--- Adds the figures of a backend to `shown`. They are there once it is in the running configuration.
function M.backend(tenant, pool, address, shown)
  local at = index().backends[tenant .. "/" .. pool .. "/" .. address]
  if not at then
    shown.status, shown.healthy = "unknown", false
    return
  end
  local figures = totals.backend(at)
  local requests, failed = number(figures.requests), number(figures.responses[4])
  local latency = round(number(figures.latency_us) / 1000)
  shown.status, shown.healthy = status.health_of(figures), figures.is_usable ~= 0
  shown.reason = status.reason_of(figures)
  shown.drain, shown.effective_weight = status.DRAIN[figures.drain], figures.weight
  shown.connections, shown.in_flight = number(figures.open), number(figures.in_flight)
  shown.requests, shown.errors = requests, failed
  shown.response_time, shown.responseTime, shown.latency = latency, latency, latency
  shown.error_rate = requests > 0 and round(failed / requests) or 0
  local up_ms = figures.is_usable ~= 0 and totals.age(figures.changed_ago_ms)
  shown.uptime = math.floor((up_ms or number(totals.node().uptime_ms)) / 1000)
  if figures.is_usable == 0 then shown.uptime = 0 end
  shown.last_check = time_ago(figures.checked_ago_ms)
end

--- Adds the figures of a pool to `shown`, whose backends have theirs already.
function M.pool(tenant, name, shown)
  local active = 0
  for _, backend in ipairs(shown.backends) do
    if backend.healthy then active = active + 1 end
  end
  shown.total_backends, shown.active_backends = #shown.backends, active
  shown.status = status.pool_status(active, #shown.backends)
  local at = index().pools[tenant .. "/" .. name]
  local figures = at and totals.pool(at)
  shown.requests, shown.errors = figures and number(figures.requests) or 0, 0
  shown.unavailable = figures and number(figures.unavailable) or 0
  for _, backend in ipairs(shown.backends) do shown.errors = shown.errors + (backend.errors or 0) end
end

--- Adds the figures of a route to `shown`.
function M.route(tenant, name, shown)
  local at = index().routes[tenant .. "/" .. name]
  local figures = at and totals.route(at)
  shown.requests, shown.errors = figures and number(figures.requests) or 0, figures and number(figures.class_5xx) or 0
end

--- Adds the figures of a listener to `shown`.
function M.listener(name, shown)
  if not totals.has_snapshot() then return end
  for i = 0, totals.numbers().listeners - 1 do
    local figures = totals.listener(i)
    if text(figures.name) == name then
      shown.connections, shown.accepted = number(figures.connections), number(figures.accepted)
      shown.requests, shown.refused = number(figures.requests), number(figures.refused)
      return
    end
  end
end

return M

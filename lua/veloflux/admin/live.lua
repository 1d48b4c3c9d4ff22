--- Live figures of pools, backends, routes and listeners for the objects of the admin API, from the state area.
local json = require "veloflux.pdk.json"
local sink = require "veloflux.compiler.sink"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local number, text = totals.number, totals.text
local hints, n_hints = {}, 0 -- where entities were in the snapshot: id as text -> index; nearly always they still are
local MORE = 1000 -- hints than entities, before all are forgotten

--- Returns the place of an entity in the snapshot, nil when it is not in there (yet).
local function find(kind, outer, inner, innermost)
  if not totals.has_snapshot() then return nil end
  local key = table.concat({ kind, outer, inner, innermost }, "\0")
  local hint = hints[key]
  local at = totals.find(kind .. "s", sink.id(kind, outer, inner, innermost), hint)
  if at == hint then return at end
  if not hint then n_hints = n_hints + 1 end
  hints[key] = at
  return at
end

--- Another snapshot is published: places of what is gone are not kept for ever.
function M.published()
  if not totals.has_snapshot() then return end
  local counts = totals.numbers()
  if n_hints > counts.pools + counts.backends + counts.routes + MORE then hints, n_hints = {}, 0 end
end

local function round(value) return math.floor(value * 100 + 0.5) / 100 end

local function time_ago(ms)
  local age = totals.age(ms)
  return age and status.time(number(totals.node().wall_ms) - age) or json.null
end

--- Returns how many of the open connections of a backend are in use, in percent.
local function load_of(figures)
  local open = number(figures.open)
  return open > 0 and round(100 * (open - math.min(open, number(figures.idle))) / open) or 0
end

--- Adds the figures of a backend to `shown`. They are there once it is in the running configuration.
function M.backend(tenant, pool, address, shown)
  local at = find("backend", tenant, pool, address)
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
  shown.load = load_of(figures)
  shown.error_rate = requests > 0 and round(failed / requests) or 0
  local up_ms = figures.is_usable ~= 0 and totals.age(figures.changed_ago_ms)
  shown.uptime = math.floor((up_ms or number(totals.node().uptime_ms)) / 1000)
  if figures.is_usable == 0 then shown.uptime = 0 end
  shown.last_check, shown.last_used = time_ago(figures.checked_ago_ms), time_ago(figures.used_ago_ms)
end

--- Adds the figures of a pool to `shown`, whose backends have theirs already.
function M.pool(tenant, name, shown)
  local active = 0
  for _, backend in ipairs(shown.backends) do
    if backend.healthy then active = active + 1 end
  end
  shown.total_backends, shown.active_backends = #shown.backends, active
  shown.status = status.pool_status(active, #shown.backends)
  local at = find("pool", tenant, name)
  local figures = at and totals.pool(at)
  shown.requests, shown.errors = figures and number(figures.requests) or 0, 0
  shown.unavailable = figures and number(figures.unavailable) or 0
  for _, backend in ipairs(shown.backends) do shown.errors = shown.errors + (backend.errors or 0) end
end

--- Adds the figures of a route to `shown`.
function M.route(tenant, name, shown)
  local at = find("route", tenant, name)
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

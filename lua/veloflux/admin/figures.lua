--- Live figures for channels: what the running configuration's backends are doing, and the node as a whole.
local cluster = require "veloflux.cluster"
local counts = require "veloflux.admin.counts"
local health = require "veloflux.admin.health"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local monitoring = require "veloflux.admin.monitoring"
local overview = require "veloflux.admin.overview"
local sink = require "veloflux.compiler.sink"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

M.MAX_BACKENDS = status.MAX_BACKENDS

local text = totals.text

--- Returns the backends with their figures, fields as in GET /api/backends: at most MAX_BACKENDS, in the order of the
-- configuration.
function M.backends()
  local list = json.array()
  if not totals.has_snapshot() then return list end
  for i = 0, math.min(totals.numbers().backends, M.MAX_BACKENDS) - 1 do
    local found = totals.backend(i)
    local tenant, pool, address = text(found.tenant), text(found.pool), text(found.address)
    local shown = { id = ("%016x"):format(sink.id("backend", tenant, pool, address)), address = address, pool = pool,
      tenant_id = tenant, weight = found.configured_weight }
    live.backend(tenant, pool, address, shown)
    list[#list + 1] = shown
  end
  return list
end

local function name_of(pool) return pool.tenant == "default" and pool.name or pool.tenant .. "/" .. pool.name end

local function add_pools(document, rates, now)
  local metrics, load = {}, {}
  for _, pool in ipairs((status.pools(totals.numbers().pools, rates, now))) do
    local connections, all = 0, pool.total_backends
    for _, backend in ipairs(pool.backends) do connections = connections + backend.connections end
    local name = name_of(pool)
    metrics[name] = { total_backends = all, healthy_backends = pool.active_backends, active_connections = connections,
      health_percentage = all > 0 and status.round(100 * pool.active_backends / all) or json.null }
    load[name] = pool.requests_per_second
  end
  document.pool_metrics, document.load_distribution = metrics, load
end

--- Returns the figures of the node as one document: rates over some ten seconds, and counts.
-- @param rates of rates.lua
-- @param now seconds, monotonic
-- @param n_clients of channels
function M.metrics(rates, now, n_clients)
  local node, found = monitoring.node(rates, now), counts.get()
  local total, usable = found.backends, found.usable
  node.total_backends, node.healthy_backends, node.pools_count = total, usable, found.pools
  node.availability = total > 0 and status.round(100 * usable / total) or json.null
  node.websocket_clients, node.cluster_enabled, node.is_leader = n_clients, cluster.is_enabled(), cluster.is_leader()
  node.adaptive_enabled, node.current_strategy = false, overview.strategy()
  node.pool_metrics, node.load_distribution = {}, {}
  if totals.has_snapshot() then add_pools(node, rates, now) end
  return node
end

--- Returns how the parts of the node are: {healthy, status, checks, backends, timestamp}.
function M.health()
  local components, found = health.components(), counts.get()
  local checks = {}
  for name, component in pairs(components) do checks[name] = component.status end
  local word = health.overall(components)
  return { healthy = word == "healthy", status = word, checks = checks,
    backends = { total = found.backends, healthy = found.usable }, timestamp = status.time(totals.node().wall_ms) }
end

--- Returns a text that is another one when one of the checks is.
function M.health_mark()
  local parts = {}
  for name, component in pairs(health.components()) do parts[#parts + 1] = name .. "=" .. tostring(component.ok) end
  table.sort(parts)
  return table.concat(parts, " ") .. " " .. counts.health_mark()
end

return M

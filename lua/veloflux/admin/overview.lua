--- The node in a few figures: how it is, how many backends it has and how many of them are usable. What
-- GET /api/status begins with and the channel /api/ws/status sends; cheap with any number of backends.
local cluster = require "veloflux.cluster"
local counts = require "veloflux.admin.counts"
local health = require "veloflux.admin.health"
local json = require "veloflux.pdk.json"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local function strategy_of(bits)
  for number, name in pairs(status.ALGORITHMS) do
    if bits == 2 ^ number then return name end
  end
  return bits == 0 and json.null or "mixed"
end

--- Returns the one algorithm of all pools, "mixed", or null: there is no pool.
function M.strategy() return strategy_of(counts.get().algorithms) end

--- Returns the document.
-- @param version of this build
-- @param n_clients of channels
function M.document(version, n_clients)
  local node, found = totals.node(), counts.get()
  local uptime_ms, total, usable = totals.number(node.uptime_ms), found.backends, found.usable
  return { status = health.overall(health.components()), timestamp = status.time(node.wall_ms), version = version,
    uptime = status.duration(uptime_ms), uptime_seconds = math.floor(uptime_ms / 1000),
    node_id = cluster.id() or json.null, config_version = totals.number(found.version),
    websocket_clients = n_clients, pools_count = found.pools,
    total_backends = total, healthy_backends = usable,
    backend_health_percentage = total > 0 and status.round(100 * usable / total) or json.null,
    cluster_enabled = cluster.is_enabled(), is_leader = cluster.is_leader(), cluster_size = #cluster.nodes(),
    adaptive_balancer_enabled = false, current_strategy = strategy_of(found.algorithms) }
end

return M

--- /metrics: what the state area holds, in the text format of Prometheus. docs/metrics.md lists it. Each file of this
-- folder adds the families of one subject to an exposition. Names and labels that existing alert rules use are kept.
local backends = require "veloflux.admin.metrics.backends"
local backup_counts = require "veloflux.control.backup_counts"
local certificates = require "veloflux.admin.certificates"
local handlers = require "veloflux.admin.metrics.handlers"
local node = require "veloflux.admin.metrics.node"
local own = require "veloflux.admin.metrics.own"
local probation = require "veloflux.control.probation_counts"
local prometheus = require "veloflux.admin.prometheus"
local series = require "veloflux.admin.metrics.series"
local shared = require "veloflux.admin.metrics.shared"
local tables = require "veloflux.admin.metrics.tables"
local totals = require "veloflux.totals"
local traffic = require "veloflux.admin.metrics.traffic"
local turns = require "veloflux.admin.metrics.turns"

local M = {}

--- Functions that add families to an exposition: what is not read from the state area.
M.more = {}

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
  for _, state in ipairs(probation.ENDS) do ended:add(prometheus.labels { "state", state }, counts[state]) end
end

--- Returns the whole exposition as text.
-- @param version of this build
function M.text(version)
  local exposition = prometheus.new()
  node.add(exposition, version)
  add_probation(exposition)
  certificates.add(exposition)
  add_backups(exposition)
  tables.add(exposition)
  turns.add(exposition)
  shared.add(exposition, totals.state())
  for _, add in ipairs(M.more) do add(exposition) end
  if totals.has_snapshot() then
    local counts, max = totals.numbers(), series.MAX
    local routes, pools, backend_count, tenants = counts.routes, counts.pools, counts.backends, counts.tenants
    traffic.add_listeners(exposition)
    traffic.add_pools(exposition, pools, max)
    backends.add(exposition, backend_count, max)
    traffic.add_routes(exposition, routes, max)
    traffic.add_tenants(exposition, tenants, max)
    handlers.add(exposition)
  end
  own.add(exposition, totals.state())
  return exposition:text()
end

return M

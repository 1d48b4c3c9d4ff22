--- /health, /ready and their relatives: is this node alive, may it get traffic, and what is wrong.
local certificates = require "veloflux.admin.certificates"
local cluster = require "veloflux.admin.cluster"
local counts = require "veloflux.admin.counts"
local json = require "veloflux.pdk.json"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local STALE_MS = 5000 -- a heartbeat comes at least once a second
local number = totals.number

--- Returns how late the slowest worker is: milliseconds, or null.
local function worker_lag(count)
  local lag_us
  for i = 0, count - 1 do
    local process = totals.process(i)
    if process and process.kind == 0 then lag_us = math.max(lag_us or 0, number(process.loop_lag_us)) end
  end
  return lag_us and status.round(lag_us / 1000) or json.null
end

local function workers_of(node)
  local ready, all = node.n_ready, node.n_workers
  return { ok = ready > 0, ready = ready, total = all, message = ("%d of %d workers are ready"):format(ready, all),
    latency_ms = worker_lag(node.n_blocks) }
end

local function checker_of(count)
  for i = 0, count - 1 do
    local process = totals.process(i)
    if process and process.kind == 2 then
      local age = totals.age(process.heartbeat_age_ms)
      local is_alive = age ~= nil and age < STALE_MS
      return { ok = is_alive, message = is_alive and "running" or "shows no sign of life" }
    end
  end
  return { ok = false, message = "is not running" }
end

local function backends_of()
  if not totals.has_snapshot() then return { ok = true, healthy = 0, total = 0, message = "no configuration yet" } end
  local found = counts.get()
  local count, usable = found.backends, found.usable
  return { ok = usable > 0 or count == 0, healthy = usable, total = count,
    message = ("%d of %d backends are usable"):format(usable, count) }
end

--- Returns the components by name, each {ok, status, message, latency_ms, ...}.
function M.components()
  local node = totals.node()
  local config, workers, count = status.config(node), workers_of(node), node.n_blocks
  if config.message == "" then config.message = config.ok and "the last configuration was accepted" or "refused" end
  local components = { config = config, workers = workers, checker = checker_of(count), backends = backends_of(),
    store = cluster.store_component(), cluster = cluster.cluster_component(),
    certificates = certificates.component() }
  for _, component in pairs(components) do
    component.status = component.ok and "healthy" or "unhealthy"
    if component.latency_ms == nil then component.latency_ms = json.null end -- nothing of it is timed
  end
  return components
end

--- Returns how the node is, in one word.
function M.overall(components)
  if not components.workers.ok then return "unhealthy" end
  for _, component in pairs(components) do
    if not component.ok then return "degraded" end
  end
  return "healthy"
end

--- Returns the document of /health.
function M.document(version)
  local components = M.components()
  local node = totals.node()
  local uptime_ms = number(node.uptime_ms)
  local checks, failed = number(node.counts.checks), number(node.counts.check_failures)
  local good = checks > 0 and status.round(100 * (checks - failed) / checks) or 100
  return { total_checks = checks, successful_checks = checks - failed, failed_checks = failed, uptime_percentage = good,
    status = M.overall(components), timestamp = status.time(node.wall_ms), version = version,
    uptime = status.duration(uptime_ms), uptime_seconds = math.floor(uptime_ms / 1000), components = components }
end

--- Returns true when this node may get traffic; or false and why not.
function M.is_ready()
  local node = totals.node()
  if node.is_stopping ~= 0 then return false, "stopping" end
  if node.n_ready == 0 then return false, "no worker is ready" end
  return true
end

return M

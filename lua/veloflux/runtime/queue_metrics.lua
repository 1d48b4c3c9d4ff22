--- What queues of plugins count in this process, for /metrics: whether something is lost is nobody's to find out
-- from the log alone.
local log = require "veloflux.runtime.metrics_log"
local series = require "veloflux.series"

local M = {}

local ITEMS = { name = "veloflux_plugin_queue_items_total", kind = "counter", labels = { "plugin", "as", "event" },
  help = "Items of queues of plugins: pushed, shipped, dropped because a queue was full, given up after retries." }
local FAILURES = { name = "veloflux_plugin_queue_failures_total", kind = "counter", labels = { "plugin", "as" },
  help = "Attempts to ship a batch that have failed." }

local known = setmetatable({}, { __mode = "k" }) -- instance -> event -> double *, or false: there is no room

local function find(instance, event)
  local is_failure = event == "failures"
  local at = log.family(series.family_text(is_failure and FAILURES or ITEMS))
  if not at then return false end
  local labels = ('{plugin="%s",as="%s"'):format(instance.name, instance.as)
  return log.series(at, labels .. (is_failure and "}" or (',event="%s"}'):format(event)), 1, false) or false
end

--- Counts.
-- @param instance whose queue it is
-- @param event "pushed", "shipped", "dropped", "given_up", "failures"
function M.count(instance, event, n)
  local of = known[instance]
  if not of then
    of = {}
    known[instance] = of
  end
  local values = of[event]
  if values == nil then
    values = find(instance, event)
    of[event] = values
  end
  if values then values[0] = values[0] + n end
end

return M

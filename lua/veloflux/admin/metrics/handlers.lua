--- What /metrics says of the handlers of plugins: calls, errors, time. What plugins count themselves: own.lua.
local bit = require "bit"
local prometheus = require "veloflux.admin.prometheus"
local series = require "veloflux.admin.metrics.series"
local totals = require "veloflux.totals"

local M = {}

local number, text, labels_of = totals.number, totals.text, prometheus.labels

-- Rows of prometheus.lua.
local PHASE = {
  { "calls", "calls_total", "counter", "Calls of a handler of a plugin." },
  { "errors", "errors_total", "counter", "Calls that ended with an error." },
  { "yields", "yields_total", "counter", "Times that a handler waited for something." },
  { "skipped", "skipped_total", "counter", "Calls left out while an instance of the plugin was tripped." },
}

--- Adds what the handlers of one plugin did in one phase. A phase that it has not, or no longer, is told
-- of only when something was counted.
local function add_phase(families, duration, labels, has_phase, phase)
  if not has_phase and phase.calls == 0 and phase.skipped == 0 then return end
  families:add(labels, phase)
  duration:add_histogram(labels, totals.FINE_BUCKETS, function(i) return number(phase.buckets[i - 1]) end,
    number(phase.sum_ns) / 1e9)
end

--- Adds the families to an exposition of admin/prometheus.lua.
function M.add(exposition)
  local families = exposition:rows("veloflux_plugin_", PHASE)
  local duration = exposition:family("veloflux_plugin_duration_seconds", "histogram",
    "How long a handler of a plugin took, waiting included.")
  local trips = exposition:family("veloflux_plugin_trips_total", "counter",
    "Times that an instance of a plugin was left out after too many errors.")
  for index in series.each("plugins") do
    local plugin = totals.plugin(index)
    local name = text(plugin.name)
    for phase = 0, #totals.PHASES do
      local has_phase = bit.band(plugin.has_phases, bit.lshift(1, phase)) ~= 0
      add_phase(families, duration, labels_of { "plugin", name, "phase", totals.PHASES[phase] }, has_phase,
        plugin.phases[phase])
    end
    trips:add(labels_of { "plugin", name }, number(plugin.trips))
  end
end

return M

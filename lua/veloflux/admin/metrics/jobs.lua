--- The part of /metrics that tells of the jobs of plugins on this node.
local prometheus = require "veloflux.admin.prometheus"

local M = {}

-- Rows of prometheus.lua over a job.
local FIGURES = {
  { "runs", "runs_total", "counter", "Runs of a job of a plugin." },
  { "errors", "errors_total", "counter", "Runs that failed or took too long." },
  { "skipped", "skipped_total", "counter", "Times that a job was left to the leader." },
  { "last_ms", "last_run_timestamp_seconds", "gauge", "When a job last ended.", 1e-3 },
  { "next_ms", "next_run_timestamp_seconds", "gauge", "When a job runs next.", 1e-3 },
  { "took_ms", "last_duration_seconds", "gauge", "How long its last run took.", 1e-3 },
}

--- Adds them to an exposition.
-- @param exposition of prometheus.lua
-- @param list of control/plugins/jobs.lua
function M.add(exposition, list)
  if #list == 0 then return end
  local families = exposition:rows("veloflux_job_", FIGURES)
  for _, job in ipairs(list) do families:add(prometheus.labels { "plugin", job.plugin, "job", job.name }, job) end
end

return M

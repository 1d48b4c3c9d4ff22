--- The part of /metrics that tells of the jobs of plugins on this node.
local prometheus = require "veloflux.admin.prometheus"

local M = {}

local FAMILIES = {
  { "runs", "veloflux_job_runs_total", "counter", "Runs of a job of a plugin." },
  { "errors", "veloflux_job_errors_total", "counter", "Runs that failed or took too long." },
  { "skipped", "veloflux_job_skipped_total", "counter", "Times that a job was left to the leader." },
  { "last_ms", "veloflux_job_last_run_timestamp_seconds", "gauge", "When a job last ended.", 1000 },
  { "next_ms", "veloflux_job_next_run_timestamp_seconds", "gauge", "When a job runs next.", 1000 },
  { "took_ms", "veloflux_job_last_duration_seconds", "gauge", "How long its last run took.", 1000 },
}

--- Adds them to an exposition.
-- @param exposition of prometheus.lua
-- @param list of control/plugins/jobs.lua
function M.add(exposition, list)
  if #list == 0 then return end
  for _, of in ipairs(FAMILIES) do
    local family = exposition:family(of[2], of[3], of[4])
    for _, job in ipairs(list) do
      local value = job[of[1]]
      if value then family:add(prometheus.labels { "plugin", job.plugin, "job", job.name }, value / (of[5] or 1)) end
    end
  end
end

return M

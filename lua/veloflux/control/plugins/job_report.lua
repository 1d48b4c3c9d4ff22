--- What is told of the jobs of plugins: by GET /api/jobs, and in /metrics.
local job_metrics = require "veloflux.admin.metrics.jobs"
local jobs = require "veloflux.control.plugins.jobs"
local json = require "veloflux.pdk.json"
local status = require "veloflux.admin.status"

local M = {}

local function time(ms) return ms and status.time(ms) or json.null end

--- Returns the list of jobs as JSON.
function M.document()
  local list = json.array {}
  for i, job in ipairs(jobs.list()) do
    list[i] = { plugin = job.plugin, name = job.name, description = job.description, schedule = job.schedule,
      scope = job.scope, running = job.is_running, runs = job.runs, errors = job.errors, skipped = job.skipped,
      last_run = time(job.last_ms), last_result = job.last_result or json.null,
      last_duration = job.took_ms and job.took_ms / 1000 or json.null, next_run = time(job.next_ms) }
  end
  return list
end

--- Adds them to an exposition.
-- @param exposition of admin/prometheus.lua
function M.add(exposition) job_metrics.add(exposition, jobs.list()) end

return M

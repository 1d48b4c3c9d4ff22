--- What /metrics says of this node and its processes.
local host = require "veloflux.admin.host"
local prometheus = require "veloflux.admin.prometheus"
local series = require "veloflux.admin.metrics.series"
local totals = require "veloflux.totals"

local M = {}

local number, labels_of = totals.number, prometheus.labels
local PROCESSES = { [0] = "worker", "control", "checker" }

-- Each list: rows of prometheus.lua over a struct of totals.lua.
local FACTS = {
  { "uptime_ms", "uptime_seconds", "gauge", "Time since the start.", 1e-3 },
  { "started_wall_ms", "start_time_seconds", "gauge", "When it started.", 1e-3 },
  { "generation", "binary_generation", "gauge", "Grows by one with every upgrade in place." },
  { "is_stopping", "stopping", "gauge", "1 from the signal to stop on." },
  { "version", "config_version", "gauge", "The published configuration version." },
  { "config_ok", "config_last_reload_successful", "gauge", "1 when the last configuration was accepted." },
  { "config_wall_ms", "config_last_reload_timestamp_seconds", "gauge", "When that was decided; 0: never.", 1e-3 },
  { "n_workers", "workers", "gauge", "Workers that are not draining." },
  { "n_ready", "workers_ready", "gauge", "Of these, those that run a configuration." },
}

local COUNTS = {
  { "accepted", "connections_accepted_total", "counter", "Client connections accepted." },
  { "bytes_in", "received_bytes_total", "counter", "Content received from clients." },
  { "bytes_out", "sent_bytes_total", "counter", "Content sent to clients." },
  { "malformed_requests", "malformed_requests_total", "counter", "Requests refused because of their form." },
  { "malformed_responses", "malformed_responses_total", "counter",
    "Answers of backends refused because of their form." },
  { "client_timeouts", "client_timeouts_total", "counter", "Clients that did not send in time." },
  { "client_aborts", "client_aborts_total", "counter", "Clients that went away before the end of an exchange." },
  { "log_lines", "access_log_lines_total", "counter", "Lines written to the access log." },
  { "log_dropped", "access_log_dropped_total", "counter", "Lines of the access log that were dropped." },
  { "resolve_failures", "resolve_failures_total", "counter", "Failed look-ups of names of backends." },
  { "accept_failures", "accept_failures_total", "counter", "Connections that could not be accepted." },
  { "out_of_memory", "out_of_memory_total", "counter", "Connections or exchanges given up for lack of memory." },
  { "checks", "health_checks_total", "counter", "Active health checks made." },
  { "check_failures", "health_check_failures_total", "counter", "Active health checks that failed." },
  { "log_phases_skipped", "plugin_log_phases_skipped_total", "counter",
    "Exchanges whose plugins' log phase did not run." },
}

local function heartbeat(process) return totals.age(process.heartbeat_age_ms) end

local PROCESS = {
  { "connections", "connections", "gauge", "Open client connections of a process." },
  { "exchanges", "exchanges", "gauge", "Exchanges under way in a process." },
  { "tunnels", "tunnels", "gauge", "Tunnels (upgraded connections, and those that are passed on) of a process." },
  { "upstream_connections", "upstream_connections", "gauge", "Connections to backends of a process." },
  { "buffered_bytes", "buffered_bytes", "gauge", "Bytes that wait to be sent." },
  { "loop_lag_us", "loop_lag_seconds", "gauge", "How late the loop of a process was last.", 1e-6 },
  { heartbeat, "heartbeat_age_seconds", "gauge", "Time since the last heartbeat of a process.", 1e-3 },
  { "running_version", "config_version", "gauge", "Configuration version that new exchanges get." },
  { "n_snapshots", "snapshots", "gauge", "Snapshots that a process has mapped." },
  { "is_draining", "draining", "gauge", "1 while a process finishes and takes nothing new." },
}

local function add_node(exposition, version)
  local node = totals.node()
  exposition:family("veloflux_build_info", "gauge", "1, with the version as a label.")
    :add(labels_of { "version", version }, 1)
  exposition:rows("veloflux_", FACTS):add("", node)
  local restarts = exposition:family("veloflux_restarts_total", "counter", "Processes that ended unexpectedly.")
  for kind = 0, 2 do restarts:add(labels_of { "process", PROCESSES[kind] }, number(node.restarts[kind])) end
  local classes = exposition:family("veloflux_http_requests_total", "counter",
    "Requests answered, whatever answered them, by class of status.")
  for i = 0, 4 do classes:add(labels_of { "status", series.CLASSES[i] }, number(node.counts.responses[i])) end
  exposition:rows("veloflux_", COUNTS):add("", node.counts)
end

local function add_usage(cpu, memory, labels, pid)
  local seconds, bytes = host.process(pid)
  if not seconds then return end
  cpu:add(labels, seconds)
  memory:add(labels, bytes)
end

local function add_processes(exposition)
  local cpu = exposition:family("veloflux_process_cpu_seconds_total", "counter",
    "Processor time, user and system, of a process.")
  local memory = exposition:family("veloflux_process_resident_memory_bytes", "gauge",
    "Memory of a process, what it shares with others included.")
  local families = exposition:rows("veloflux_process_", PROCESS)
  for index = 0, totals.node().n_blocks - 1 do
    local process = totals.process(index)
    if process then
      local name = PROCESSES[process.kind]
      if process.kind == 0 then name = name .. "-" .. process.worker + 1 end
      local labels = labels_of { "process", name, "pid", number(process.pid), "generation", process.generation }
      families:add(labels, process)
      add_usage(cpu, memory, labels, number(process.pid))
    end
  end
end

--- Adds the families to an exposition of admin/prometheus.lua.
-- @param version of this build
function M.add(exposition, version)
  add_node(exposition, version)
  add_processes(exposition)
end

return M

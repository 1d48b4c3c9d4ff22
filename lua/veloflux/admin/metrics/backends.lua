--- What /metrics says of single backends, and of pools what only their backends know.
local prometheus = require "veloflux.admin.prometheus"
local series = require "veloflux.admin.metrics.series"
local totals = require "veloflux.totals"

local M = {}

local number, text, labels_of, with = totals.number, totals.text, prometheus.labels, prometheus.with
local OTHER = series.OTHER
local HEALTH = { [0] = -1, 1, 0 } -- enum vf_health_status: unknown, up, down

-- Each list: rows of prometheus.lua over struct vf_totals_backend.
local BACKEND_COUNTERS = {
  { "requests", "requests_total", "counter", "Requests answered by a backend." },
  { "connects", "connects_total", "counter", "Connections made to a backend." },
  { "connect_failures", "connect_failures_total", "counter", "Connections to a backend that failed." },
  { "reused", "reused_connections_total", "counter", "Requests sent on a kept connection." },
  { "timeouts", "timeouts_total", "counter", "Time-outs while waiting for a backend." },
  { "malformed", "malformed_responses_total", "counter", "Malformed answers of a backend." },
  { "aborted", "aborted_total", "counter", "Answers of a backend that were cut short." },
  { "h2_floods", "http2_floods_total", "counter",
    "Connections that were ended because a backend sent a flood of frames that bring nothing." },
  { "bytes_in", "received_bytes_total", "counter", "Content received from a backend." },
  { "bytes_out", "sent_bytes_total", "counter", "Content sent to a backend." },
  { "sum_us", "duration_seconds_total", "counter", "Time that the exchanges of a backend took, summed.", 1e-6 },
}

local BACKEND_GAUGES = {
  { "is_usable", "health", "gauge", "1 when new requests may go to a backend." },
  { "is_usable", "up", "gauge", "As veloflux_backend_health." },
  { "in_flight", "in_flight", "gauge", "Exchanges under way at a backend." },
  { "open", "connections_open", "gauge", "Connections to a backend." },
  { "idle", "connections_idle", "gauge", "Kept connections to a backend that wait for a request." },
  { "weight", "weight", "gauge", "The weight in force." },
  { "drain", "drain", "gauge", "1 while a backend is drained, 2 while it is disabled." },
  { "failures", "consecutive_failures", "gauge", "Failed connections in a row." },
  { "ejections", "consecutive_ejections", "gauge", "Ejections by passive health in a row." },
  { "ejected_for_ms", "ejected_seconds", "gauge", "Time until an ejected backend is tried again.", 1e-3 },
  { "latency_us", "response_time_seconds", "gauge", "Moving average of the time to the first byte.", 1e-6 },
}

local BACKEND_CHECKS = {
  { "check_us", "check_duration_seconds", "gauge", "How long the last check took.", 1e-6 },
  { "checked_ago_ms", "check_age_seconds", "gauge", "Time since the last check.", 1e-3 },
  { "last_status", "check_http_status", "gauge", "HTTP status of the last check, 0: none." },
}

local function add_responses(family, labels, backend)
  for i = 0, 4 do family:add(with(labels, "class", series.CLASSES[i]), number(backend.responses[i])) end
end

--- Sums by pool of what only backends know.
local function add_usable(exposition, pools)
  local all = exposition:family("veloflux_pool_backends", "gauge", "Backends of a pool.")
  local usable = exposition:family("veloflux_pool_backends_usable", "gauge", "Backends that new requests may go to.")
  local in_flight = exposition:family("veloflux_pool_in_flight", "gauge", "Exchanges under way in a pool.")
  for _, pool in ipairs(pools) do
    all:add(pool.labels, pool.all)
    usable:add(pool.labels, pool.usable)
    in_flight:add(pool.labels, pool.in_flight)
  end
end

--- Sums by address and by pool what is known of single backends.
local function add_to_sums(sums, backend, name, address)
  local in_flight = number(backend.in_flight)
  if not sums.active[address] then sums.addresses[#sums.addresses + 1] = address end
  sums.active[address] = (sums.active[address] or 0) + in_flight
  local pool = sums.by_name[name]
  if not pool then
    pool = { labels = labels_of { "pool", name }, all = 0, usable = 0, in_flight = 0 }
    sums.by_name[name], sums.pools[#sums.pools + 1] = pool, pool
  end
  pool.all, pool.usable = pool.all + 1, pool.usable + backend.is_usable
  pool.in_flight = pool.in_flight + in_flight
end

--- Adds the families to an exposition of admin/prometheus.lua.
-- @param count how many backends there are
-- @param max how many get series of their own; the rest is one
function M.add(exposition, count, max)
  local active = exposition:family("veloflux_active_connections", "gauge",
    "Connections to a backend that serve an exchange, of all pools together.")
  local gauges = exposition:rows("veloflux_backend_", BACKEND_GAUGES)
  local counters = exposition:rows("veloflux_backend_", BACKEND_COUNTERS)
  local checks = exposition:rows("veloflux_backend_", BACKEND_CHECKS)
  local is_up = exposition:family("veloflux_backend_check_up", "gauge",
    "Result of the active checks: 1 up, 0 down, -1 not known yet.")
  local responses = exposition:family("veloflux_backend_responses_total", "counter",
    "Answers of a backend by class of status.")
  local sums = { pools = {}, by_name = {}, addresses = {}, active = {} }
  for index in series.each("backends", max) do
    local backend = totals.backend(index)
    local name, address = series.shown(backend.tenant, backend.pool), text(backend.address)
    local labels = labels_of { "pool", name, "backend", address }
    gauges:add(labels, backend)
    counters:add(labels, backend)
    add_responses(responses, labels, backend)
    if backend.has_check ~= 0 then
      is_up:add(labels, HEALTH[backend.health] or -1)
      if totals.age(backend.checked_ago_ms) then checks:add(labels, backend) end
    end
    add_to_sums(sums, backend, name, address)
  end
  for _, address in ipairs(sums.addresses) do active:add(labels_of { "backend", address }, sums.active[address]) end
  if count > max then
    local rest, labels = totals.backends_from(max), labels_of { "pool", OTHER, "backend", OTHER }
    counters:add(labels, rest)
    add_responses(responses, labels, rest)
  end
  add_usable(exposition, sums.pools)
end

return M

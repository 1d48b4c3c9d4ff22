--- GET /api/metrics and /api/metrics/realtime: the figures of a dashboard. Sums count from the first start;
-- rates, averages and quantiles cover the time since the oldest sample of rates.lua, some ten seconds.
-- What is not measured is not there, and what cannot be told (an average of nothing) is null.
local elements = require "veloflux.control.elements"
local host = require "veloflux.admin.host"
local json = require "veloflux.pdk.json"
local quantile = require "veloflux.quantile"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local number, text, round = totals.number, totals.text, status.round

local function or_null(value)
  if value == nil then return json.null end
  return value
end

local function percent(part, whole) return whole > 0 and round(100 * part / whole) or 0 end

local function ratio_or_null(part, whole, scale) return whole > 0 and round(scale * part / whole) or json.null end

--- Adds the counters of all pools together: their requests, the time that these took, and the buckets.
local function add_pools(values)
  if not totals.has_snapshot() then return values end
  local all = totals.pools_from(0)
  values.pool_requests, values.pool_us = number(all.requests), number(all.sum_us)
  for i = 0, #totals.BUCKETS do values["bucket" .. i] = number(all.buckets[i]) end
  return values
end

--- The counters whose growth is shown, by name; for rates.lua.
function M.sample()
  local values = add_pools(status.sample())
  values.cpu_busy, values.cpu_all = host.cpu_ticks()
  values.connections = number(totals.node().connections)
  return values
end

--- How long exchanges with backends took lately: the average and a quantile in milliseconds, or nulls.
local function response_times(rates)
  local values, counts = add_pools {}, {}
  if not values.pool_requests then return json.null, json.null end
  for i = 0, #totals.BUCKETS do counts[i + 1] = rates:growth("bucket" .. i, values["bucket" .. i]) end
  local p95 = quantile.of(totals.BUCKETS, counts, 0.95)
  local finished = 0
  for i = 1, #counts do finished = finished + counts[i] end
  return ratio_or_null(rates:growth("pool_us", values.pool_us), finished, 1e-3), p95 and round(p95 * 1000) or json.null
end

local function cpu(rates)
  local busy, all = host.cpu_ticks()
  local is_known = busy and rates:list()[1] and rates:list()[1].values.cpu_all
  local usage = json.null
  if is_known then usage = ratio_or_null(rates:growth("cpu_busy", busy), rates:growth("cpu_all", all), 100) end
  local load = host.load()
  return { usage = usage, cores = host.CORES, load_avg = load and json.array(load) or json.null }
end

local function memory()
  local found = host.memory()
  if not found then return json.null end
  local used = found.total - found.available
  return { total = found.total, available = found.available, used = used,
    usage_percentage = percent(used, found.total) }
end

local function disk(path)
  local found = path and host.disk(path)
  if not found then return json.null end
  found.usage_percentage = percent(found.used, found.used + found.available)
  return found
end

local function network()
  local received, sent = host.network()
  return { bytes_recv = or_null(received), bytes_sent = or_null(sent) }
end

--- Returns the figures of all requests: total, rates, times.
-- @param rates, now as for `document`
function M.requests(rates, now)
  local node = totals.node()
  local total, failed = number(node.counts.requests), number(node.counts.responses[4])
  local average, p95 = response_times(rates)
  return { total = total, rate_per_minute = round(60 * rates:get("requests", total, now)),
    error_rate = percent(rates:growth("errors", failed), rates:growth("requests", total)),
    avg_response_time = average, p95_response_time = p95, active_connections = number(node.connections) }
end

-- What charts of dashboards paint a state or a class of answers with.
local COLORS = { healthy = "#16a34a", degraded = "#f59e0b", unhealthy = "#dc2626", ["1xx"] = "#64748b",
  ["2xx"] = "#16a34a", ["3xx"] = "#2563eb", ["4xx"] = "#f59e0b", ["5xx"] = "#dc2626" }

local function pool_summary(pool)
  local in_flight, open, idle = 0, 0, 0
  for _, backend in ipairs(pool.backends) do
    in_flight, open, idle = in_flight + backend.in_flight, open + backend.connections, idle + backend.idle_connections
  end
  return { name = pool.name, value = pool.requests, color = COLORS[pool.status],
    load = percent(math.max(open - idle, 0), open), tenant_id = pool.tenant, status = pool.status,
    backends = pool.total_backends, healthy = pool.active_backends, requests = pool.requests,
    requests_per_second = pool.requests_per_second, in_flight = in_flight }
end

local function backends(rates, now)
  local result = { total = 0, healthy = 0, unhealthy = 0, pools = json.array() }
  if not totals.has_snapshot() then return result end
  local counts = totals.numbers()
  local n_pools, n_backends = counts.pools, counts.backends
  for i = 0, n_backends - 1 do result.healthy = result.healthy + totals.backend(i).is_usable end
  result.total, result.unhealthy = n_backends, n_backends - result.healthy
  for i, pool in ipairs((status.pools(n_pools, rates, now))) do result.pools[i] = pool_summary(pool) end
  return result
end

local function status_codes()
  local list, responses = json.array(), totals.node().counts.responses
  for i = 0, 4 do
    local code = (i + 1) .. "xx"
    list[i + 1] = { code = code, count = number(responses[i]), color = COLORS[code] }
  end
  return list
end

--- Returns the document of GET /api/metrics.
-- @param rates of rates.lua, fed with M.sample
-- @param now seconds, monotonic
-- @param data_dir whose disk is shown, or nil
-- @param security of security.lua
function M.document(rates, now, data_dir, security)
  local failed = number(totals.node().counts.responses[4])
  return { timestamp = status.time(totals.node().wall_ms), cpu = cpu(rates), memory = memory(), disk = disk(data_dir),
    network = network(), uptime = math.floor(number(totals.node().uptime_ms) / 1000), requests = M.requests(rates, now),
    errors = { total = failed, rate = round(rates:get("errors", failed, now)) }, backends = backends(rates, now),
    http_status_codes = status_codes(), security = security }
end

-- Realtime ------------------------------------------------------------------------------------------

--- What was counted between two samples.
local function interval(from, to, wall_ms)
  local seconds = to.at - from.at
  local function growth(name)
    local before, after = from.values[name] or 0, to.values[name] or 0
    return after >= before and after - before or 0
  end
  local n, finished = growth "requests", 0
  for i = 0, #totals.BUCKETS do finished = finished + growth("bucket" .. i) end
  return { timestamp = status.time(wall_ms), rps = round(n / seconds),
    rt = ratio_or_null(growth "pool_us", finished, 1e-3), errors = growth "errors",
    connections = to.values.connections }
end

--- The intervals between the samples, the newest last.
local function recent(rates, now)
  local list, samples, wall_ms = json.array(), rates:list(), number(totals.node().wall_ms)
  for i = 2, #samples do
    list[#list + 1] = interval(samples[i - 1], samples[i], wall_ms - (now - samples[i].at) * 1000)
  end
  return list
end

--- By how many percent the newest interval is above the average of those before; null while that is not known.
local function trend(intervals, name)
  local sum, n = 0, 0
  for i = 1, #intervals - 1 do
    if intervals[i][name] ~= json.null then sum, n = sum + intervals[i][name], n + 1 end
  end
  local last = intervals[#intervals] and intervals[#intervals][name]
  if n == 0 or sum == 0 or last == nil or last == json.null then return json.null end
  return round(100 * (last / (sum / n) - 1))
end

local function backend_figures(rates, now)
  local list = json.array()
  if not totals.has_snapshot() then return list end
  for i = 0, math.min(totals.numbers().backends, status.MAX_BACKENDS) - 1 do
    local backend = status.backend(i, rates, now)
    local tenant = text(totals.backend(i).tenant)
    list[#list + 1] = { id = elements.backend_id(tenant, backend.pool, backend.address), tenant_id = tenant,
      name = backend.address, pool = backend.pool, status = backend.status, requests = backend.requests,
      requests_per_second = backend.requests_per_second, response_time = backend.response_time_ms,
      errors = backend.errors, connections = backend.connections, in_flight = backend.in_flight }
  end
  return list
end

--- Returns the node's figures of the moment as one flat document, for the channel of metrics.
-- @param rates of rates.lua, fed with M.sample
-- @param now seconds, monotonic
function M.node(rates, now)
  local node, found, used = totals.node(), memory(), cpu(rates).usage
  local total, failed = number(node.counts.requests), number(node.counts.responses[4])
  local average, p95 = response_times(rates)
  local share = found ~= json.null and found.usage_percentage or json.null
  return { requests = total, requests_total = total,
    requests_per_second = round(rates:get("requests", total, now)), errors_total = failed,
    error_rate = percent(rates:growth("errors", failed), rates:growth("requests", total)),
    avg_response_time = average, response_time_avg = average, p95_response_time = p95,
    active_connections = number(node.connections), cpu = used, cpu_usage = used, memory = share, memory_usage = share }
end

--- Returns the document of GET /api/metrics/realtime.
function M.realtime(rates, now)
  local node = totals.node()
  local total, failed = number(node.counts.requests), number(node.counts.responses[4])
  local bandwidth = { ["in"] = round(rates:get("bytes_in", number(node.counts.bytes_in), now)),
    out = round(rates:get("bytes_out", number(node.counts.bytes_out), now)) }
  local per_second, average = rates:get("requests", total, now), response_times(rates)
  local intervals = recent(rates, now)
  return { timestamp = status.time(node.wall_ms), requests_per_second = round(per_second),
    requests_per_minute = round(60 * per_second), total_requests = total, errors = rates:growth("errors", failed),
    total_errors = failed, error_rate = percent(rates:growth("errors", failed), rates:growth("requests", total)),
    avg_response_time = average, response_time_avg = average, active_connections = number(node.connections),
    requests_trend = trend(intervals, "rps"), connections_trend = trend(intervals, "connections"),
    error_trend = trend(intervals, "errors"), latency_trend = trend(intervals, "rt"), bandwidth = bandwidth,
    backend_stats = backend_figures(rates, now), recent_metrics = intervals }
end

return M

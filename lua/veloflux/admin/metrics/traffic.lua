--- What /metrics says of the traffic by listener, route, pool and tenant.
local prometheus = require "veloflux.admin.prometheus"
local series = require "veloflux.admin.metrics.series"
local totals = require "veloflux.totals"

local M = {}

local number, text, labels_of, with = totals.number, totals.text, prometheus.labels, prometheus.with
local OTHER = series.OTHER

-- Each list: rows of prometheus.lua over a struct of totals.lua.
local LISTENER = {
  { "accepted", "accepted_total", "counter", "Connections accepted by a listener." },
  { "requests", "requests_total", "counter", "Requests on a listener." },
  { "refused", "refused_total", "counter", "Requests refused before routing." },
  { "bytes_in", "received_bytes_total", "counter", "Bytes received by a listener." },
  { "bytes_out", "sent_bytes_total", "counter", "Content sent by a listener." },
  { "handshakes", "tls_handshakes_total", "counter", "TLS handshakes that a listener finished." },
  { "handshakes_resumed", "tls_resumed_total", "counter", "Those of them that resumed a session." },
  { "handshakes_failed", "tls_failed_total", "counter", "TLS handshakes that failed." },
  { "handshakes_limited", "tls_limited_total", "counter", "TLS handshakes refused: too many from one address." },
  { "h2_connections", "http2_connections_total", "counter", "Connections that spoke HTTP/2." },
  { "h2_streams", "http2_streams_total", "counter", "Streams that clients began on them." },
  { "h2_floods", "http2_floods_total", "counter",
    "Connections that were ended because the client sent a flood of frames that bring nothing." },
  { "connections", "connections", "gauge", "Open client connections of a listener." },
}

local RECORD_FLOODS = { "handshake", "no_content", "tiny" } -- src/tls/flood.h

local ROUTE = {
  { "requests", "requests_total", "counter", "Requests of a route." },
  { "class_4xx", "client_errors_total", "counter", "Answers of a route with a status of 400 to 499." },
  { "class_5xx", "server_errors_total", "counter", "Answers of a route with a status of 500 and above." },
  { "bytes_in", "received_bytes_total", "counter", "Content of requests of a route." },
  { "bytes_out", "sent_bytes_total", "counter", "Content of answers of a route." },
  { "sum_us", "duration_seconds_total", "counter", "Time that the exchanges of a route took, summed.", 1e-6 },
}

local POOL = {
  { "retries", "retries_total", "counter", "Requests sent once more on a fresh connection." },
  { "failovers", "failovers_total", "counter", "Requests given to another backend (redispatches)." },
  { "unavailable", "unavailable_total", "counter", "Requests for which there was no usable backend." },
  { "bytes_in", "received_bytes_total", "counter", "Content of requests to a pool." },
  { "bytes_out", "sent_bytes_total", "counter", "Content of answers of a pool." },
}

--- Adds the families of listeners to an exposition of admin/prometheus.lua.
function M.add_listeners(exposition)
  local families = exposition:rows("veloflux_listener_", LISTENER)
  local floods = exposition:family("veloflux_listener_tls_record_floods_total", "counter",
    "TLS connections that were ended because the client sent a flood of records.")
  for index in series.each("listeners") do
    local listener = totals.listener(index)
    local labels = labels_of { "listener", text(listener.name) }
    families:add(labels, listener)
    for i, reason in ipairs(RECORD_FLOODS) do
      floods:add(with(labels, "reason", reason), number(listener.record_floods[i - 1]))
    end
  end
end

--- Adds those of routes.
-- @param count how many there are
-- @param max how many get series of their own; the rest is one
function M.add_routes(exposition, count, max)
  local families = exposition:rows("veloflux_route_", ROUTE)
  for index in series.each("routes", max) do
    local route = totals.route(index)
    families:add(labels_of { "route", series.shown(route.tenant, route.name) }, route)
  end
  if count > max then families:add(labels_of { "route", OTHER }, totals.routes_from(max)) end
end

local function bucket_of(pool)
  return function(i) return number(pool.buckets[i - 1]) end
end

local function add_statuses(requests, index, name)
  local statuses, count = totals.statuses(index)
  for i = 0, count - 1 do
    local status = statuses[i]
    local is_other, code = status.method.len == 0, number(status.status)
    requests:add(labels_of { "method", is_other and OTHER or text(status.method), "status_code",
      is_other and code == 0 and OTHER or ("%03d"):format(code), "pool", name }, number(status.count))
  end
end

--- A pool that has seen nothing yet has a series of zeros, so that rates begin with its first request.
local function add_durations(family, name, durations, count)
  for i = 0, math.max(count, 1) - 1 do
    local of = durations[i]
    local method = count == 0 and "GET" or of.method.len == 0 and OTHER or text(of.method)
    family:add_histogram(labels_of { "method", method, "pool", name }, totals.BUCKETS, bucket_of(of),
      number(of.sum_us) / 1e6)
  end
end

--- Adds those of pools; parameters as above.
function M.add_pools(exposition, count, max)
  local requests = exposition:family("veloflux_requests_total", "counter",
    "Requests that were given to a pool, by method and status answered (000: none).")
  local duration = exposition:family("veloflux_request_duration_seconds", "histogram",
    "How long exchanges took, from the head of the request to the end of the answer.")
  local families = exposition:rows("veloflux_pool_", POOL)
  local failovers = exposition:family("veloflux_failover_events_total", "counter",
    "As veloflux_pool_failovers_total, by the name that alert rules use.")
  for index in series.each("pools", max) do
    local pool = totals.pool(index)
    local name = series.shown(pool.tenant, pool.name)
    add_statuses(requests, index, name)
    add_durations(duration, name, totals.durations(index))
    families:add(labels_of { "pool", name }, pool)
    failovers:add(labels_of { "pool", name }, number(pool.failovers))
  end
  if count > max then
    local rest = totals.pools_from(max)
    requests:add(labels_of { "method", OTHER, "status_code", OTHER, "pool", OTHER }, number(rest.requests))
    add_durations(duration, OTHER, totals.durations_from(max))
    families:add(labels_of { "pool", OTHER }, rest)
    failovers:add(labels_of { "pool", OTHER }, number(rest.failovers))
  end
  local all = totals.pools_from(0)
  local everything = exposition:family("veloflux_http_request_duration_seconds", "histogram",
    "As veloflux_request_duration_seconds, for all pools.")
  everything:add_histogram("", totals.BUCKETS, bucket_of(all), number(all.sum_us) / 1e6)
end

--- Adds those of tenants; parameters as above.
function M.add_tenants(exposition, count, max)
  local requests = exposition:family("veloflux_tenant_requests_total", "counter",
    "Requests of a tenant, since its usage counters were begun.")
  local bytes = exposition:family("veloflux_tenant_bandwidth_bytes", "counter", "Content of a tenant's exchanges.")
  local function add(name, tenant)
    local labels = labels_of { "tenant", name }
    requests:add(labels, number(tenant.requests))
    bytes:add(with(labels, "direction", "in"), number(tenant.bytes_in))
    bytes:add(with(labels, "direction", "out"), number(tenant.bytes_out))
  end
  for index in series.each("tenants", max) do
    local tenant = totals.tenant(index)
    add(text(tenant.name), tenant)
  end
  if count > max then add(OTHER, totals.tenants_from(max)) end
end

return M

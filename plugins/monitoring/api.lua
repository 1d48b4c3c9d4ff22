--- How the node is: health, state and metrics for people, load balancers, dashboards and Prometheus.
local pdk = require "veloflux.pdk"

local state = pdk.state
local TEXT = "text/plain; version=0.0.4; charset=utf-8"

--- Prometheus names its text formats in Accept, and no kind of JSON.
local function wants_text(request)
  local accept = request.headers.accept or ""
  return (accept:find "text/plain" or accept:find "openmetrics") and not accept:find "application/json"
end

--- Browsers name text/html in Accept, and no kind of JSON before it.
local function wants_html(request)
  for item in (request.headers.accept or ""):gmatch "[^,]+" do
    local kind = item:match "^%s*([^;%s]+)"
    if kind == "text/html" then return true end
    if kind and kind:find "^application/.*json$" then return false end
  end
  return false
end

--- Strangers learn that it runs; browsers get a page, which asks for the rest.
local function root(request)
  local is_known = request.identity ~= nil
  if wants_html(request) then return 200, state.page(is_known and state.status() or pdk.json.null) end
  return 200, is_known and state.status() or state.banner(), { Vary = "Accept" }
end

local function exposition()
  local text, content_type = state.exposition()
  return 200, text, { ["Content-Type"] = content_type, Vary = "Accept" }
end

local function health() return 200, state.health() end

local function ready()
  local is_ready, why = state.ready()
  if is_ready then return 200, { status = "ready", ready = true } end
  return 503, { status = "not ready", ready = false, reason = why }, { ["Retry-After"] = "1" }
end

local function figures(request)
  if wants_text(request) then return exposition() end
  return 200, state.figures(), { Vary = "Accept" }
end

local function get(path, permission, summary, handler, more)
  local endpoint = { method = "GET", path = path, permission = permission, summary = summary, tag = "monitoring",
    accept = "any", handler = handler }
  for name, value in pairs(more or {}) do endpoint[name] = value end
  return endpoint
end

--- Those who watch a node may add what they like to the query, so that nothing between keeps the answer.
local PROBE = { any_query = true }

return {
  get("/", "status:read", "The status page; JSON for tools.", root, { any_query = true, greets = true,
    response_type = { "text/html", "application/json" }, openapi = { answers = { ["200"] = { "The answer.",
      { ["text/html"] = { type = "string" }, ["application/json"] = { type = "object" } } } } } }),
  get("/health", "none", "Whether the node lives, and how its parts are.", health, PROBE),
  get("/api/health", "none", "The same as /health.", health, PROBE),
  get("/ready", "none", "Whether the node may get traffic.", ready, { any_query = true,
    answers = { [200] = "It may.", [503] = "It may not." } }),
  get("/api/version", "none", "The version of the binary.", function() return 200, state.version() end),
  get("/api/status", "status:read", "The state of the node: traffic, pools, listeners, processes, errors.",
    function() return 200, state.status() end),
  get("/api/status/health", "status:read", "The same as /health.", health),
  get("/api/system/info", "status:read", "Build, machine and features of the node.",
    function() return 200, state.info() end),
  get("/metrics", "metrics:read", "Prometheus text. Open unless `admin.metrics_open` is false.", exposition,
    { any_query = true, open = state.is_metrics_open, response_type = TEXT }),
  get("/api/metrics/prometheus", "metrics:read", "The metrics as Prometheus reads them.", exposition,
    { response_type = TEXT }),
  get("/api/metrics", "metrics:read", "Figures for a dashboard; Prometheus text when Accept asks for it.", figures,
    { response_type = { "application/json", TEXT } }),
  get("/api/metrics/realtime", "metrics:read", "Rates of the last seconds, and their trends.",
    function() return 200, state.rates() end),
}

--- What the OpenAPI document and docs/api.md say of the endpoints that bring no `doc` of their own (openapi.lua): those
-- of the node, its state and its debugging. By method and path.
local JSON, TEXT = "application/json", "text/plain"
local OBJECT, ARRAY = { type = "object" }, { type = "array" }
local STRING, INTEGER = { type = "string" }, { type = "integer" }

local PAGE = { { "limit", INTEGER, "Items of a page." },
  { "cursor", STRING, "Where the page begins: from the Link header of the one before." } }

local function get(tag, summary, media, extra)
  local doc = { tag = tag, summary = summary, answers = { ["200"] = { "The answer.", media or { [JSON] = OBJECT } } } }
  for name, value in pairs(extra or {}) do doc[name] = value end
  return doc
end

local LEVELS = { [JSON] = OBJECT }

return {
  ["GET /"] = get("monitoring", "The status page; JSON for tools.", { ["text/html"] = STRING, [JSON] = OBJECT }),
  ["GET /health"] = get("monitoring", "Whether the node lives, and how its parts are."),
  ["GET /api/health"] = get("monitoring", "The same as /health."),
  ["GET /ready"] = get("monitoring", "Whether the node may get traffic.", nil, { answers = {
    ["200"] = { "It may.", { [JSON] = OBJECT } }, ["503"] = { "It may not.", { [JSON] = OBJECT } } } }),
  ["GET /metrics"] = get("monitoring", "Prometheus text. Open unless `admin.metrics_open` is false.",
    { [TEXT] = STRING }),
  ["GET /api/metrics"] = get("monitoring", "Figures for a dashboard; Prometheus text when Accept asks for that.",
    { [JSON] = OBJECT, [TEXT] = STRING }),
  ["GET /api/metrics/prometheus"] = get("monitoring", "The same as /metrics.", { [TEXT] = STRING }),
  ["GET /api/metrics/realtime"] = get("monitoring", "Rates of the last seconds."),
  ["GET /api/status"] = get("monitoring", "The state of the node: traffic, pools, listeners, processes, errors."),
  ["GET /api/status/health"] = get("monitoring", "The same as /health."),
  ["GET /api/version"] = get("monitoring", "The version of the binary."),
  ["GET /api/system/info"] = get("monitoring", "What the node is and runs on."),
  ["GET /api/cluster"] = get("monitoring", "The nodes of the cluster."),
  ["GET /assets/status.css"] = get("monitoring", "A part of the status page.", { ["text/css"] = STRING }),
  ["GET /assets/status.js"] = get("monitoring", "A part of the status page.", { ["text/javascript"] = STRING }),
  ["POST /api/reload"] = get("config", "Reads the conf file again and publishes it.", nil, {
    parameters = { { "dry_run", { type = "boolean" }, "Only say what would change." } }, answers = {
    ["200"] = { "It is live.", { [JSON] = OBJECT } },
    ["422"] = { "It was refused; nothing has changed.", { ["application/problem+json"] = "Problem" } } } }),
  ["POST /api/system/drain"] = get("system", "Ends the node when it has finished what is under way.", nil,
    { body = { [JSON] = { type = "object", properties = { confirm = { const = true } } } }, is_body_optional = true }),
  ["GET /api/debug/log-level"] = get("debug", "The log levels in force.", LEVELS),
  ["PUT /api/debug/log-level"] = get("debug", "Sets log levels by subsystem at run time.", LEVELS, { body = LEVELS }),
  ["DELETE /api/debug/log-level"] = get("debug", "Takes the log levels of run time back.", LEVELS),
  ["GET /api/debug/pools"] = get("debug", "Pools as the processes see them.", { [JSON] = ARRAY },
    { parameters = PAGE }),
  ["GET /api/debug/backends"] = get("debug", "Backends as the processes see them.", { [JSON] = ARRAY },
    { parameters = PAGE }),
  ["GET /api/debug/routes"] = get("debug", "The routing table in force.", { [JSON] = ARRAY }, { parameters = PAGE }),
  ["GET /api/debug/performance"] = get("debug", "What the processes and plugins take."),
  ["POST /api/debug/explain"] = get("debug", "Says of a request which route, plugins and backend it gets, and why.",
    nil, { body = { [JSON] = OBJECT } }),
}

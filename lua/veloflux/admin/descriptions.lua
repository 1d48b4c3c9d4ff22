--- What the OpenAPI document and docs/api.md say of the endpoints that bring no `doc` of their own (openapi.lua): those
-- of the node. By method and path.
local JSON = "application/json"
local OBJECT, STRING = { type = "object" }, { type = "string" }

local function get(tag, summary, media, extra)
  local doc = { tag = tag, summary = summary, answers = { ["200"] = { "The answer.", media or { [JSON] = OBJECT } } } }
  for name, value in pairs(extra or {}) do doc[name] = value end
  return doc
end

return {
  ["GET /api/cluster"] = get("monitoring", "The nodes of the cluster."),
  ["GET /assets/status.css"] = get("monitoring", "A part of the status page.", { ["text/css"] = STRING }),
  ["GET /assets/status.js"] = get("monitoring", "A part of the status page.", { ["text/javascript"] = STRING }),
  ["POST /api/system/drain"] = get("system", "Ends the node when it has finished what is under way.", nil,
    { body = { [JSON] = { type = "object", properties = { confirm = { const = true } } } }, is_body_optional = true }),
}

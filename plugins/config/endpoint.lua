--- What the endpoints below /api/config have in common, and what is said of changes of many entities.
local pdk = require "veloflux.pdk"

local M = {}

--- Makes an endpoint.
function M.new(method, path, permission, summary, handler, more)
  local definition = { method = method, path = "/api/config/" .. path, permission = "config:" .. permission,
    summary = summary, tag = "config", handler = handler }
  for name, value in pairs(more or {}) do definition[name] = value end
  return definition
end

--- Answers a dry run of what is done to one thing.
-- @param action "added" or "removed"
-- @param value what it is or would be
-- @param more further members, or nil
function M.would(kind, action, name, value, more)
  local change = { pointer = "", [action == "added" and "after" or "before"] = value }
  local answer = { dry_run = true, summary = ("%s: 1 %s"):format(kind, action), warnings = pdk.json.array {},
    findings = pdk.json.array {}, affected_routes = pdk.json.array {}, affected_count = 0,
    diff = { { action = action, kind = kind, key = name, name = name, changes = { change } } } }
  for member, own in pairs(more or {}) do answer[member] = own end
  return answer
end

--- Answers a change of many entities.
-- @param word what has happened, of "status"
-- @param result, problem as functions of the plugin API return them
function M.changed(word, result, problem)
  if not result then return problem end
  result.status = result.dry_run and "dry_run" or word
  return 200, result
end

return M

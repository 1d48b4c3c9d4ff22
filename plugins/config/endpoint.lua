--- What the endpoints below /api/config have in common, and what is said of changes of many entities.
local M = {}

--- Makes an endpoint.
function M.new(method, path, permission, summary, handler, more)
  local definition = { method = method, path = "/api/config/" .. path, permission = "config:" .. permission,
    summary = summary, tag = "config", handler = handler }
  for name, value in pairs(more or {}) do definition[name] = value end
  return definition
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

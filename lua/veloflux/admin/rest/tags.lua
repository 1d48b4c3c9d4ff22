--- Entity tags of objects (RFC 9110 section 8.8.3) and the preconditions that name them (section 13.1).
local problem = require "veloflux.admin.problem"

local M = {}

--- Returns the tag of an entry: its version.
function M.of(entry) return ('"%d"'):format(entry.version or 0) end

--- Says whether a list of entity tags has one (RFC 9110 section 8.8.3); `weak`: weak ones count.
function M.has(field, tag, weak)
  for item in field:gmatch "[^,]+" do
    item = item:match "^%s*(.-)%s*$"
    if item == "*" or item == tag or weak and item == "W/" .. tag then return true end
  end
  return false
end

--- Returns the versions of the system for which If-Match lets a change be: a set, or nil: any.
function M.versions(request)
  local field = request.headers["if-match"]
  if not field or M.has(field, "*") then return nil end
  local set = {}
  for item in field:gmatch "[^,]+" do
    local number = tonumber((item:match '^%s*"(%d+)"%s*$'))
    if number then set[number] = true end
  end
  return set
end

--- Judges If-Match and If-None-Match of a write. Returns the version it holds for (or nil), or nil and a problem.
function M.precondition(request, entry)
  local field = request.headers["if-match"]
  if request.headers["if-none-match"] and M.has(request.headers["if-none-match"], M.of(entry), true) then
    return nil, problem.new("stale", "There is one like that: If-None-Match does not hold.")
  end
  if not field then return nil end
  if M.has(field, M.of(entry)) then
    return not field:find "%*" and entry.version or nil
  end
  return nil, problem.new("stale", ("The current version is %s."):format(M.of(entry)),
    { headers = { "ETag", M.of(entry) }, members = { version = entry.version } })
end

return M

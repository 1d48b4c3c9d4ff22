--- The query of a request to the admin address. What an endpoint does not know is refused: a parameter that
-- is misspelt should not pass for one that was heeded.
local conditions = require "veloflux.admin.query"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.runtime.query"

local M = {}

local function known_text(names)
  if #names == 0 then return "this takes none" end
  return "expected " .. table.concat(names, ", ")
end

local function refuse(name, message)
  local detail = ("Query parameter %s: %s."):format(name, message)
  return nil, problem.new("invalid", detail, { errors = { { pointer = "?" .. name, detail = message } } })
end

--- Reads the query of a request.
-- @param names list of what the endpoint knows
-- @return map from name to text ("" when there is no `=`); or nil and a problem
function M.read(request, names)
  local known, found = {}, {}
  for _, name in ipairs(names) do known[name] = true end
  for pair in (request.query or ""):gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    name, value = query.unescape(name), query.unescape(value)
    if not known[name] then return refuse(name, "unknown, " .. known_text(names)) end
    if found[name] then return refuse(name, "given twice") end
    found[name] = value
  end
  return found
end

--- Returns a parameter that `taking` has read as a boolean, false when it is not there; or nil and a problem.
function M.flag(request, name)
  local text = request.parameters[name]
  return conditions.flag({ [name] = text and { text } }, name)
end

--- Wraps a handler of an endpoint that takes the query parameters `names` (none when nil): the handler gets
-- them as request.parameters.
function M.taking(names, handler)
  return function(request)
    local found, refused = M.read(request, names or {})
    if not found then return refused end
    request.parameters = found
    return handler(request)
  end
end

return M

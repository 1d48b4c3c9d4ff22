--- What the functions of a plugin's schema are asked, and what they answer: they see plain tables, what
-- they raise is a message like any other, and they come to an end.
local bounded = require "veloflux.plugin.bounded"
local cjson = require "cjson"
local schema = require "veloflux.model.schema"

local M = {}

--- Kong's validators may answer with a table of messages.
function M.text_of(message)
  if type(message) == "table" then
    local _, first = next(message)
    return M.text_of(first)
  end
  return message ~= nil and tostring(message) or nil
end

--- Calls a function of the plugin's; what it raises is a message like any other.
function M.guarded(name, call)
  return function(...)
    local ok, result, message, field = bounded.call(call, ...)
    if not ok then return nil, ("%s raised an error: %s"):format(name, M.text_of(result) or "nil") end
    if result then return true end
    return nil, M.text_of(message) or "is not allowed", field
  end
end

--- Asks a function of the plugin's. Returns what it returned; nil when it raised an error.
function M.ask(call, ...)
  local ok, value = bounded.call(call, ...)
  if ok then return value end
end

--- Returns a value as those see it who use it: plain tables, complete.
-- @param compiled its type
function M.plain(compiled, value)
  if type(value) ~= "table" then return value end
  return cjson.decode(schema.write(compiled, value))
end

return M

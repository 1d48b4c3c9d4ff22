--- Reads the fields of a definition in a plugin's files for control: which there are, and of what kind.
local duration = require "veloflux.model.duration"
local suggest = require "veloflux.model.suggest"
local sorted = require "veloflux.sorted"

local M = {}

--- Notes fields that are not known or of another kind.
-- @param known name -> type of Lua, or a list of them
-- @return true when all is well
function M.check(reader, file, definition, place, known)
  local is_good = true
  for name, value in pairs(definition) do
    local wanted = known[name]
    local message
    if not wanted then
      local nearest = suggest.nearest(tostring(name), sorted.names(known))
      message = nearest and ("unknown key, did you mean %s?"):format(nearest)
        or "unknown key, expected one of " .. table.concat(sorted.names(known), ", ")
    else
      local is_known = false
      for _, kind in ipairs(type(wanted) == "table" and wanted or { wanted }) do
        is_known = is_known or type(value) == kind
      end
      if not is_known then
        local words = type(wanted) == "table" and table.concat(wanted, " or a ") or wanted
        message = ("expected a %s, got a %s"):format(words, type(value))
      end
    end
    if message then
      is_good = false
      reader.note(file, ("%s.%s: %s"):format(place, tostring(name), message), name)
    end
  end
  return is_good
end

--- Reads a time: a number of seconds or a duration such as "30s".
-- @return milliseconds, or nil and what was expected
function M.milliseconds(value)
  local ms = type(value) == "number" and value * 1000 or type(value) == "string" and duration.parse(value) or nil
  if not ms or ms ~= ms or ms <= 0 or ms > 366 * 86400 * 1000 then
    return nil, 'expected a duration such as "30s", or seconds'
  end
  return math.ceil(ms)
end

return M

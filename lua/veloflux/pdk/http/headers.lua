--- Header fields as tables: names in lower case, found in any case, with _ for - ; a repeated field is a list.
local M = {}

local function normalised(name)
  return (name:lower():gsub("_", "-"))
end

local meta = {
  __index = function(fields, name)
    if type(name) ~= "string" then return nil end
    local plain = normalised(name)
    if plain == name then return nil end
    return rawget(fields, plain)
  end,
  __metatable = false,
}

--- Makes an empty table of fields.
function M.new() return setmetatable({}, meta) end

--- Adds one field line.
function M.add(fields, name, value)
  name = name:lower()
  local known = rawget(fields, name)
  if known == nil then
    fields[name] = value
  elseif type(known) == "table" then
    known[#known + 1] = value
  else
    fields[name] = { known, value }
  end
end

--- The first value of a field, whatever the case of `name` and of the keys of `fields`.
function M.first(fields, name)
  name = normalised(name)
  for key, value in pairs(fields) do
    if type(key) == "string" and normalised(key) == name then
      return type(value) == "table" and value[1] or value, key
    end
  end
end

return M

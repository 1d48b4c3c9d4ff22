--- How the fields of a schema are merged (plugin/merge.lua), and whether what comes out may be anything but good.
local json = require "veloflux.model.json"
local rules = require "veloflux.model.rules"

local M = {}

local function inner_mode(compiled)
  local attr = compiled.attr
  if attr.type == "map" then return { values = inner_mode(compiled.value) } end
  if attr.type ~= "record" then return false end
  local fields = {}
  for _, pair in ipairs(compiled.fields) do fields[pair[1]] = inner_mode(pair[2]) or nil end
  return { fields = fields }
end

--- Returns the modes of a configuration: field -> mode.
-- @param compiled its type
function M.of(compiled)
  local modes = {}
  for _, pair in ipairs(compiled.fields) do
    local attr = pair[2].attr
    if attr.merge == "append" then
      modes[pair[1]] = (attr.type == "set" or attr.unique) and "append_new" or "append"
    elseif attr.merge then
      modes[pair[1]] = inner_mode(pair[2])
    end
  end
  return modes
end

local function has_checks(attr)
  return attr.custom_validator or attr.entity_checks and #attr.entity_checks > 0
end

--- Says whether two good values of a type are good when they are merged, whatever they are: no rule speaks of the
-- whole, or it holds all the more the longer that gets.
local function stays_good(mode, compiled)
  local attr = compiled.attr
  if not mode then return true end -- the narrow one, as it is
  if has_checks(attr) or attr.len_max then return false end
  if type(mode) == "string" then return not rules.extra(attr) end
  if mode.values ~= nil then return not attr.len_eq and stays_good(mode.values, compiled.value) end
  for name, inner in pairs(mode.fields) do
    if not stays_good(inner, compiled.by_name[name]) then return false end
  end
  return true
end

local function without_length(compiled)
  local bare = {}
  for name, value in pairs(compiled.attr) do bare[name] = value end
  bare.len_max = nil
  return setmetatable({ attr = bare }, { __index = compiled })
end

--- Says what may be wrong with what is merged of good configurations.
-- @param modes of M.of
-- @param compiled the type of the configuration
-- @return nothing: it cannot be said, each has to be judged; or field -> how long the merged value may be, where
-- that is all: empty when nothing may be wrong
function M.limits(modes, compiled)
  if has_checks(compiled.attr) then return nil end
  local limits = {}
  for field, mode in pairs(modes) do
    local inner = compiled.by_name[field]
    limits[field] = inner.attr.len_max
    if not stays_good(mode, without_length(inner)) then return nil end
  end
  return limits
end

--- Returns how many elements or entries a value has.
function M.length(value)
  local n = 0
  for _ in pairs(value) do n = n + 1 end
  return n
end

-- As texts ------------------------------------------------------------------------------------------

local function sorted_names(map)
  local names = {}
  for name in pairs(map) do
    if type(name) ~= "table" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function put_map(map, put_value, out)
  json.put(out, "{")
  for i, name in ipairs(sorted_names(map)) do
    json.put(out, (i > 1 and "," or "") .. json.quote(tostring(name)) .. ":")
    put_value(name, map[name])
  end
  json.put(out, "}")
end

--- Appends what was said of a value, without the defaults inside of it that merging must not take for more.
local function put_said(mode, compiled, value, out)
  if type(mode) ~= "table" then return compiled.write(value, out) end
  put_map(value, function(name, inner)
    if mode.fields then
      put_said(mode.fields[name], compiled.by_name[name], inner, out)
    else
      put_said(mode.values, compiled.value, inner, out)
    end
  end, out)
end

--- Returns the values of the merge fields that were said, as JSON, or nil.
-- @param modes of M.of
-- @param compiled the type of the configuration
-- @param record a configuration, or nil
function M.said(modes, compiled, record)
  local said = {}
  for field in pairs(record and modes or {}) do said[field] = rawget(record, field) end
  if next(said) == nil then return nil end
  local out = json.writer()
  put_map(said, function(field, value) put_said(modes[field], compiled.by_name[field], value, out) end, out)
  return table.concat(out)
end

local function put_mode(mode, out)
  if type(mode) ~= "table" then return json.put(out, mode and json.quote(mode) or "false") end
  put_map(mode, function(_, inner) put_mode(inner, out) end, out)
end

--- Returns modes as JSON.
function M.text(modes)
  local out = json.writer()
  put_map(modes, function(_, mode) put_mode(mode, out) end, out)
  return table.concat(out)
end

return M

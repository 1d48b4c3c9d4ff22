--- The form in which Kong's plugins have their schemas: lists of { name = attributes }, and the configuration as one
-- field among those of the entity that it is a part of.
local M = {}

--- Returns fields given as a map or as Kong's list as a map.
-- @param note function(path, message)
function M.map_of(fields, path, note)
  if fields[1] == nil then return fields end
  local map = {}
  for i, single in ipairs(fields) do
    local name, attr = nil, nil
    if type(single) == "table" then name, attr = next(single) end
    if type(name) ~= "string" or next(single, name) ~= nil then
      note(path, ("expected a list of { name = {...} }, its entry %d is another"):format(i))
    elseif map[name] then
      note(path .. "." .. name, "is defined twice")
    else
      map[name] = attr
    end
  end
  return map
end

--- Their functions get what the configuration is a part of: an entity that has `config`.
local function of_entity(fn)
  if type(fn) ~= "function" then return fn end
  return function(config) return fn(setmetatable({ config = config }, { __index = config })) end
end

--- In Kong's form, checks beside `config` call its fields config.NAME, and all of them config.
local function strip_config(value)
  if type(value) == "string" then return (value:gsub("^config%.", "")) end
  if type(value) ~= "table" then return value end
  local own = {}
  for key, inner in pairs(value) do
    if key == "fn" then
      own.fn = of_entity(inner)
    elseif type(key) ~= "number" then
      own[key] = strip_config(inner)
    end
  end
  for _, inner in ipairs(value) do
    if inner ~= "config" then own[#own + 1] = strip_config(inner) end
  end
  return own
end

--- Returns the attributes of the configuration, and where plugins of this kind may not stand, as a set of scopes.
-- @param raw what schema.lua returned
-- @param note function(path, message)
function M.unwrap(raw, note)
  local is_wrapped = type(raw.fields) == "table" and (raw.fields[1] ~= nil or type(raw.fields.type) ~= "string")
  if not is_wrapped then return { type = "record", fields = raw }, {} end
  local refuses, config = {}, nil
  for name, attr in pairs(M.map_of(raw.fields, "fields", note)) do
    if name == "config" then
      config = attr
    elseif type(attr) == "table" and attr.refuses then
      refuses[attr.refuses] = true
    end
  end
  if type(config) ~= "table" then
    note("fields", "required: config, which is a record")
    return { type = "record", fields = {} }, refuses
  end
  local checks = {}
  for _, check in ipairs(type(config.entity_checks) == "table" and config.entity_checks or {}) do
    checks[#checks + 1] = check
  end
  for _, check in ipairs(type(raw.entity_checks) == "table" and raw.entity_checks or {}) do
    checks[#checks + 1] = strip_config(check)
  end
  return { type = "record", fields = config.fields, entity_checks = checks, custom_validator = config.custom_validator,
    shorthand_fields = config.shorthand_fields }, refuses
end

return M

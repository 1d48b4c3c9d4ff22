--- The attributes that a field of a plugin's schema may have, by its type, and of which kind each is.
-- Names are Kong's where the idea is the same.
local lua_pattern = require "veloflux.plugin.lua_pattern"
local suggest = require "veloflux.model.suggest"
local sorted = require "veloflux.sorted"

local M = {}

local function is(name)
  return function(value) return type(value) == name or nil, ("expected a %s"):format(name) end
end

local TEXT, NUMBER, TRUTH, TABLE, FUNCTION = is "string", is "number", is "boolean", is "table", is "function"

local function any() return true end

local function either(first, second)
  return function(value)
    if first(value) then return true end
    return second(value)
  end
end

local function is_list(value)
  return type(value) == "table" and #value > 0 or nil, "expected a list"
end

local function is_pattern(value)
  if type(value) ~= "string" then return nil, "expected a pattern" end
  local problem = lua_pattern.problem(value)
  return problem == nil or nil, problem
end

local function is_pattern_list(value)
  for _, entry in ipairs(type(value) == "table" and value or {}) do
    if type(entry) ~= "table" or not is_pattern(entry.pattern) then return nil, "expected a list of {pattern, err}" end
  end
  return is_list(value)
end

local function is_pattern_choice(value)
  if type(value) ~= "table" or type(value.patterns) ~= "table" then return nil, "expected {patterns, err}" end
  for _, text in ipairs(value.patterns) do
    local ok, problem = is_pattern(text)
    if not ok then return nil, problem end
  end
  return true
end

local function is_pair(value)
  if type(value) ~= "table" or value[1] == nil or value[2] == nil then return nil, "expected two bounds" end
  return true
end

local function is_length(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 or nil, "expected a whole number from 0 on"
end

local BOUND = either(NUMBER, TEXT)

-- Those of Kong's that mean nothing for a configuration: they are about rows in its database, and for people.
local IGNORED = { examples = TABLE, immutable = TRUTH, indexed = TRUTH, legacy = TRUTH, nilable = TRUTH }

local COMMON = { type = TEXT, required = TRUTH, default = any, description = TEXT, unit = TEXT, order = NUMBER,
  deprecated = either(TRUTH, TEXT), deprecation = TABLE, custom_validator = FUNCTION, err = TEXT }
local SCALAR = { secret = TRUTH, encrypted = TRUTH, referenceable = TRUTH, eq = any, ne = any, one_of = is_list,
  not_one_of = is_list }
local LENGTHS = { len_min = is_length, len_max = is_length, len_eq = is_length }
local BOUNDS = { between = is_pair, gt = BOUND, min = BOUND, max = BOUND }
local PATTERNS = { match = is_pattern, not_match = is_pattern, match_none = is_pattern_list,
  match_all = is_pattern_list, match_any = is_pattern_choice, starts_with = TEXT, is_regex = TRUTH, uuid = TRUTH }
local LIST = { elements = TABLE, contains = any, unique = TRUTH }
local OFF = { off = TRUTH }
local function one_of_modes(...)
  local modes = { ... }
  return function(value)
    for _, mode in ipairs(modes) do
      if mode == value then return true end
    end
    return nil, "expected " .. suggest.either(modes)
  end
end

local function join(...)
  local all = {}
  for _, part in ipairs { ... } do
    for name, check in pairs(part) do all[name] = check end
  end
  return all
end

local BY_TYPE = {
  string = join(COMMON, SCALAR, LENGTHS, PATTERNS, { unique = TRUTH }),
  integer = join(COMMON, SCALAR, BOUNDS, { timestamp = TRUTH, unique = TRUTH }),
  number = join(COMMON, SCALAR, BOUNDS, { timestamp = TRUTH }),
  boolean = join(COMMON, SCALAR),
  duration = join(COMMON, BOUNDS, OFF),
  size = join(COMMON, BOUNDS, OFF),
  address = COMMON,
  network = COMMON,
  array = join(COMMON, LENGTHS, LIST, { merge = one_of_modes "append" }),
  set = join(COMMON, LENGTHS, LIST, { merge = one_of_modes "append" }),
  map = join(COMMON, LENGTHS, { keys = TABLE, values = TABLE, merge = one_of_modes "deep" }),
  record = join(COMMON, { fields = TABLE, entity_checks = TABLE, shorthand_fields = TABLE,
    merge = one_of_modes "deep" }),
}

--- The names of the types.
M.TYPES = { "string", "integer", "number", "boolean", "duration", "size", "address", "network", "array", "set", "map",
  "record" }

for _, known in pairs(BY_TYPE) do
  for name, check in pairs(IGNORED) do known[name] = check end
end

local function unknown(what, name, known)
  local nearest = suggest.nearest(tostring(name), known)
  return ("unknown %s %s, %s"):format(what, tostring(name),
    nearest and ("did you mean %s?"):format(nearest) or "expected one of " .. suggest.either(known))
end

local function unknown_attribute(name, type_name)
  for _, known in pairs(BY_TYPE) do
    if known[name] then return "does not go with the type " .. type_name end
  end
  local known = {}
  for _, attribute in ipairs(sorted.as_texts(BY_TYPE[type_name])) do
    if not IGNORED[attribute] then known[#known + 1] = attribute end
  end
  return unknown("attribute", name, known)
end

--- Judges the attributes of one field.
-- @param attr table
-- @param note function(attribute or nil, message)
-- @return true when the type is known
function M.check(attr, note)
  local known = BY_TYPE[attr.type]
  if not known then
    note("type", attr.type == nil and "required: expected one of " .. suggest.either(M.TYPES)
      or unknown("type", attr.type, M.TYPES))
    return false
  end
  for _, name in ipairs(sorted.as_texts(attr)) do
    local check = known[name]
    if not check then
      note(name, unknown_attribute(name, attr.type))
    else
      local ok, message = check(attr[name])
      if not ok then note(name, message) end
    end
  end
  return true
end

return M

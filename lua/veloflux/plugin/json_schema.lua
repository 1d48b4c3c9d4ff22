--- Schemas of the model and of plugins' configurations as JSON Schema 2020-12: what tools of other houses check
-- configurations with. What JSON Schema cannot say (conditions between fields, validators in Lua) is
-- left to us.
local json = require "veloflux.model.json"

local M = {}

local DRAFT = "https://json-schema.org/draft/2020-12/schema"

--- An object keeps its keys in the order in which they were set.
local Object = {}
Object.__index = Object

local function object(...)
  local self = setmetatable({ keys = {}, values = {} }, Object)
  local pairs_given = { ... }
  for i = 1, select("#", ...), 2 do self:set(pairs_given[i], pairs_given[i + 1]) end
  return self
end

M.object = object

function Object:set(key, value)
  if value == nil then return end
  if self.values[key] == nil then self.keys[#self.keys + 1] = key end
  self.values[key] = value
end

local function put(out, value)
  if getmetatable(value) == Object then
    json.put(out, "{")
    for i, key in ipairs(value.keys) do
      json.put(out, (i > 1 and "," or "") .. json.quote(key) .. ":")
      put(out, value.values[key])
    end
    json.put(out, "}")
  elseif type(value) == "table" then
    json.put(out, "[")
    for i, element in ipairs(value) do
      if i > 1 then json.put(out, ",") end
      put(out, element)
    end
    json.put(out, "]")
  else
    json.put(out, type(value) == "string" and json.quote(value) or json.scalar(value))
  end
end

--- Returns an object of `object`, with all in it, as JSON text.
function M.encode(value)
  local out = json.writer()
  put(out, value)
  return table.concat(out)
end

--- Turns a Lua pattern into a regular expression (ECMA 262) when it uses nothing that has no
-- counterpart; nil otherwise.
function M.regex(pattern)
  if pattern:find "%%[bf%d]" or pattern:find "[%w%]%.]%-" and not pattern:find "%[[^%]]*%-" then return nil end
  local classes = { a = "A-Za-z", d = "0-9", l = "a-z", u = "A-Z", w = "A-Za-z0-9", x = "0-9A-Fa-f", s = "\\s" }
  local out, at, is_set = {}, 1, false
  while at <= #pattern do
    local c = pattern:sub(at, at)
    if c == "%" then
      local escaped = pattern:sub(at + 1, at + 1)
      at = at + 1
      if classes[escaped] then
        out[#out + 1] = is_set and classes[escaped] or "[" .. classes[escaped] .. "]"
      elseif escaped:find "%a" then
        return nil
      else
        out[#out + 1] = escaped:find "[%-%]%[\\^$.*+?(){}|/]" and "\\" .. escaped or escaped
      end
    elseif is_set then
      if c == "]" then is_set = false end
      out[#out + 1] = (c == "[" or c == "\\") and "\\" .. c or c
    elseif c == "-" then
      return nil -- a lazy repetition
    else
      if c == "[" then is_set = true end
      out[#out + 1] = c:find "[{}|\\]" and "\\" .. c or c
    end
    at = at + 1
  end
  return table.concat(out)
end

local schema_of -- below

local function number_bounds(out, attr)
  local function bound(value) return type(value) == "number" and value or nil end
  if attr.between then
    out:set("minimum", bound(attr.between[1]))
    out:set("maximum", bound(attr.between[2]))
  end
  out:set("minimum", bound(attr.min))
  out:set("maximum", bound(attr.max))
  out:set("exclusiveMinimum", bound(attr.gt))
end

local function text_rules(out, attr)
  out:set("minLength", attr.len_eq or attr.len_min)
  out:set("maxLength", attr.len_eq or attr.len_max)
  out:set("pattern", attr.match and M.regex(attr.match))
  if attr.uuid then out:set("format", "uuid") end
  if attr.is_regex then out:set("format", "regex") end
  if attr.secret then out:set("writeOnly", true) end
end

local function list_rules(out, attr)
  out:set("items", schema_of(attr.elements))
  out:set("minItems", attr.len_eq or attr.len_min)
  out:set("maxItems", attr.len_eq or attr.len_max)
  if attr.type == "set" or attr.unique then out:set("uniqueItems", true) end
  if attr.contains ~= nil then out:set("contains", object("const", attr.contains)) end
end

local function map_rules(out, attr)
  local keys = schema_of(attr.keys)
  if #keys.keys > 1 then out:set("propertyNames", keys) end
  out:set("additionalProperties", schema_of(attr.values))
  out:set("minProperties", attr.len_eq or attr.len_min)
  out:set("maxProperties", attr.len_eq or attr.len_max)
end

--- Checks between fields that JSON Schema can say, as members of `allOf`.
local function check_schemas(attr)
  local all = {}
  local function of_names(keyword, names)
    local choices = {}
    for i, name in ipairs(names) do
      if name:find(".", 1, true) then return end
      choices[i] = object("required", { name })
    end
    all[#all + 1] = object(keyword, choices)
  end
  for _, single in ipairs(attr.entity_checks or {}) do
    local name, argument = next(single)
    if name == "only_one_of" then of_names("oneOf", argument) end
    if name == "at_least_one_of" then of_names("anyOf", argument) end
    if name == "mutually_exclusive" and #argument == 2 and not table.concat(argument):find(".", 1, true) then
      all[#all + 1] = object("not", object("required", argument))
    end
  end
  return #all > 0 and all or nil
end

local function record_rules(out, attr)
  local properties, required = object(), {}
  for _, single in ipairs(attr.fields) do
    local name, field = next(single)
    field = field.compiled and field.compiled.attr or field
    if field.type ~= "unavailable" then properties:set(name, schema_of(field)) end
    if field.required and field.default == nil then required[#required + 1] = name end
  end
  for _, single in ipairs(attr.shorthand_fields or {}) do
    local name, field = next(single)
    local shorthand = schema_of(field)
    shorthand:set("deprecated", true)
    properties:set(name, shorthand)
  end
  out:set("properties", properties)
  if #required > 0 then out:set("required", required) end
  out:set("additionalProperties", false)
  out:set("allOf", check_schemas(attr))
end

local DURATION = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$"
local SIZE = "^[0-9]+ ?([bB]|[kKmMgGtT]([iI]?[bB])?)?$"

local function with_off(pattern, attr)
  return attr.off and pattern:gsub("%$$", "$|^off$") or pattern
end

-- Types whose patterns know `off` already.
local TEXTS = { duration = true, size = true }

local TYPES = {
  string = function(out, attr)
    out:set("type", attr.numeric and { "string", "integer" } or "string")
    text_rules(out, attr)
  end,
  integer = function(out, attr) out:set("type", "integer") number_bounds(out, attr) end,
  number = function(out, attr) out:set("type", "number") number_bounds(out, attr) end,
  boolean = function(out) out:set("type", "boolean") end,
  duration = function(out, attr) out:set("type", "string") out:set("pattern", (with_off(DURATION, attr))) end,
  size = function(out, attr)
    out:set("type", { "string", "integer" })
    out:set("pattern", (with_off(SIZE, attr)))
  end,
  address = function(out) out:set("type", "string") out:set("pattern", "^.+:[0-9]+$") end,
  network = function(out) out:set("type", "string") out:set("pattern", "^[0-9A-Fa-f:.]+(/[0-9]+)?$") end,
  array = function(out, attr) out:set("type", "array") list_rules(out, attr) end,
  set = function(out, attr) out:set("type", "array") list_rules(out, attr) end,
  map = function(out, attr) out:set("type", "object") map_rules(out, attr) end,
  record = function(out, attr) out:set("type", "object") record_rules(out, attr) end,
  list = function(out, attr) out:set("type", "array") list_rules(out, attr) end,
  foreign = function(out) out:set("type", "string") end,
  path = function(out) out:set("type", "string") end,
  pem = function(out) out:set("type", "string") end,
  opaque = function(out) out:set("type", "object") end,
  tree = function(out, attr)
    if attr.allows then out:set("type", attr.allows.map and "object" or "array") end
  end,
  unavailable = function() end,
  variant = function(out, attr)
    local general = schema_of(attr.general)
    for _, key in ipairs(general.keys) do out:set(key, general.values[key]) end
    out:set("additionalProperties", true) -- the rest is said by the plugin
  end,
  shape = function(out, attr)
    local forms = {}
    for _, form in ipairs { "scalar", "list", "map" } do
      if attr[form] then forms[#forms + 1] = schema_of(attr[form]) end
    end
    out:set("anyOf", forms)
  end,
}

--- Words that may stand instead of a number or text, `off` among them.
local function add_words(out, attr)
  local words = {}
  for i, word in ipairs(attr.words or {}) do words[i] = word end
  if attr.off and attr.type ~= "boolean" and not TEXTS[attr.type] then words[#words + 1] = "off" end
  if #words == 0 then return out end
  local description = out.values.description
  out:set("description", nil)
  local either = object("description", description)
  local rest = object()
  for _, key in ipairs(out.keys) do
    if key ~= "description" then rest:set(key, out.values[key]) end
  end
  either:set("anyOf", { rest, object("enum", words) })
  return either
end

--- Turns a default as the conf file says it into JSON's terms.
local function default_of(attr, value)
  if type(value) ~= "table" then return value end
  if attr.type == "array" or attr.type == "set" or attr.type == "list" then
    local list = {}
    for i, element in ipairs(value) do list[i] = default_of(attr.elements, element) end
    return list
  end
  if attr.type == "shape" then return default_of(attr.map or attr.list, value) end
  local names, out = {}, object()
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    out:set(name, default_of(attr.type == "map" and attr.values or attr.by_name[name], value[name]))
  end
  return out
end

function schema_of(attr)
  if attr.compiled and attr.compiled.attr then attr = attr.compiled.attr end
  local out = object()
  out:set("description", attr.description)
  TYPES[attr.type](out, attr)
  out = add_words(out, attr)
  if attr.one_of then out:set("enum", attr.one_of) end
  if attr.eq ~= nil then out:set("const", attr.eq) end
  local refused = attr.not_one_of or attr.ne ~= nil and { attr.ne }
  if refused then out:set("not", object("enum", refused)) end
  if attr.default ~= nil then out:set("default", default_of(attr, attr.default)) end
  if attr.deprecated then out:set("deprecated", true) end
  out:set("x-unit", attr.unit)
  return out
end

--- Returns the JSON Schema of a definition as an object.
-- @param attr of model/schema.lua
M.of = schema_of

--- Returns the JSON Schema of a plugin's configuration as text.
-- @param plugin of plugin/loader.lua
function M.text(plugin)
  local schema = object("$schema", DRAFT, "title", ("Configuration of the plugin %s"):format(plugin.name))
  local own = schema_of(plugin.config)
  for _, key in ipairs(own.keys) do
    if key ~= "default" then schema:set(key, own.values[key]) end
  end
  return M.encode(schema)
end

return M

--- A template: entities with holes, which parameters fill. Applying one (control/templates.lua) makes those entities
-- in one transaction; they know nothing of it afterwards.
-- `${name}` in a text of an entity is the value of a parameter, `$${` a literal `${`. A text that is nothing else
-- becomes the value itself, with its type: that is how a number, a list or a map gets in.
local common = require "veloflux.model.kinds.common"
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"
local s = require "veloflux.model.schema"
local suggest = require "veloflux.model.suggest"

local MAX_ENTITIES = 10000

local TYPES = { "string", "integer", "number", "boolean", "list", "map" }

local IS_OF = {
  string = function(value) return type(value) == "string" end,
  integer = function(value) return type(value) == "number" and value % 1 == 0 end,
  number = function(value) return type(value) == "number" end,
  boolean = function(value) return type(value) == "boolean" end,
  list = function(value) return json.is_array(value) end,
  map = function(value) return type(value) == "table" and not json.is_array(value) end,
}

local WORDS = { string = "a text", integer = "a whole number", number = "a number", boolean = "true or false",
  list = "a list", map = "a map" }

--- Says what is wrong with a value of a parameter; nil when nothing is.
local function fault_of(parameter, value)
  if not IS_OF[parameter.type](value) then return "expected " .. WORDS[parameter.type] end
  local allowed = rawget(parameter, "one_of")
  if not allowed then return nil end
  local words = {}
  for i, one in ipairs(allowed) do
    if one == value then return nil end
    words[i] = tostring(one)
  end
  return "expected one of " .. table.concat(words, ", ")
end

local function check_parameter(parameter)
  if rawget(parameter, "one_of") then
    for _, one in ipairs(parameter.one_of) do
      if type(one) == "table" or not IS_OF[parameter.type or "string"](one) then
        return nil, "expected values of the parameter's type", "one_of"
      end
    end
  end
  local default = rawget(parameter, "default")
  if default == nil then return true end
  if parameter.required then return nil, "a required parameter has no default", "default" end
  if parameter.secret then return nil, "a secret has no default: it would be stored in clear", "default" end
  local fault = parameter.type and fault_of(parameter, default)
  if fault then return nil, fault, "default" end
  return true
end

local parameter = s.record {
  custom_validator = check_parameter,
  fields = {
    { name = s.string { required = true, match = "^[%a_][%w_]*$", len_max = 64,
      expects = "a name of letters, digits and underscores", description = "Stands in texts as ${NAME}." } },
    { type = s.string { default = "string", one_of = TYPES, description = "What its values are." } },
    { description = s.string { default = "", len_max = 1000, description = "For people." } },
    { required = s.boolean { default = false, description = "It has to be given." } },
    { default = s.tree { description = "Its value when none is given. Without one a text that is nothing else is left "
      .. "out, and elsewhere it is empty." } },
    { one_of = s.tree { allows = { list = true }, expects = "a list", description = "The values that are allowed." } },
    { secret = s.boolean { default = false, description = "Its values are neither shown nor logged." } },
  },
}

--- Calls `visit(text, path)` for each text in a tree; path is a list of keys and positions (from 0).
local function each_text(value, path, visit)
  if type(value) == "string" then return visit(value, path) end
  if type(value) ~= "table" then return nil end
  local depth, is_list = #path + 1, json.is_array(value)
  for key, inner in pairs(value) do
    path[depth] = is_list and key - 1 or key
    local problem, at = each_text(inner, path, visit)
    if problem then return problem, at end
    path[depth] = nil
  end
end

local function joined(path) return "entities." .. table.concat(path, ".") end

--- Says which reference in a text has no parameter; nil when all have one.
local function unknown_in(text, known)
  local missing
  local _, problem = expand.expand(text, function(name)
    if not known[name] then missing = missing or name end
    return ""
  end)
  if problem then return (problem:gsub("NAME", "PARAMETER")) end
  if not missing then return nil end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  local nearest = suggest.nearest(missing, names)
  return ("there is no parameter %s%s"):format(missing, nearest and (", did you mean %s?"):format(nearest) or "")
end

local function check_kind(kind, list, kinds)
  if not kinds[kind] then
    local names = {}
    for name in pairs(kinds) do names[#names + 1] = name end
    table.sort(names)
    return "expected one of " .. suggest.either(names), "entities." .. kind
  end
  if not json.is_array(list) then return "expected a list", "entities." .. kind end
  for i, entity in ipairs(list) do
    local at = ("entities.%s.%d"):format(kind, i - 1)
    if type(entity) ~= "table" or json.is_array(entity) then return "expected a map", at end
    if type(entity.name) ~= "string" then return "required: a name", at .. ".name" end
  end
end

local function check(template)
  local entities, known, count = rawget(template, "entities"), {}, 0
  if type(entities) ~= "table" or type(template.parameters) ~= "table" then return true end
  for _, one in ipairs(template.parameters) do known[one.name or ""] = true end
  local kinds = {}
  for _, kind in ipairs(require("veloflux.model").KINDS) do kinds[kind] = kind ~= "templates" or nil end
  for kind, list in pairs(entities) do
    local problem, at = check_kind(kind, list, kinds)
    if problem then return nil, problem, at end
    count = count + #list
  end
  if count == 0 then return nil, "expected at least one entity", "entities" end
  if count > MAX_ENTITIES then return nil, ("has more than %d entities"):format(MAX_ENTITIES), "entities" end
  local problem, at = each_text(entities, {}, function(text, path)
    local unknown = text:find("${", 1, true) and unknown_in(text, known)
    if unknown then return unknown, joined(path) end
  end)
  if problem then return nil, problem, at end
  return true
end

local template = s.record {
  located = true,
  description = "Entities with holes that parameters fill.",
  custom_validator = check,
  fields = {
    { name = common.name "templates" },
    { tenant = common.tenant() },
    { description = s.string { default = "", len_max = 1000, description = "For people." } },
    { parameters = s.list { default = {}, elements = parameter, len_max = 200,
      unique_by = function(one) return rawget(one, "name") end, description = "What has to be known to apply it." } },
    { entities = s.tree { required = true, allows = { map = true }, expects = "a map of lists of entities by kind",
      description = "Lists of entities by kind, as the conf file has them. ${NAME} in a text is the value of a "
        .. "parameter, and a text that is nothing else becomes that value, whatever its type. In a conf file write "
        .. "$${NAME}: there ${NAME} is the environment's. Secrets are parameters, too." } },
  },
}

template.fault_of = fault_of
return template

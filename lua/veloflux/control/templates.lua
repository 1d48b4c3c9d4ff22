--- Templates: what becomes of one (model/kinds/template.lua) with parameters, and what stands in one that should not.
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"
local kind_of_template = require "veloflux.model.kinds.template"
local model = require "veloflux.model"
local model_json = require "veloflux.model.json"
local suggest = require "veloflux.model.suggest"

local M = {}

local NOTHING = {} -- the value of what is left out

local function escape(step) return (tostring(step):gsub("~", "~0"):gsub("/", "~1")) end

local function fault(errors, name, detail)
  errors[#errors + 1] = { pointer = "/parameters/" .. escape(name), detail = detail, parameter = name }
end

--- Takes the parameters that were given, and the defaults of others.
-- @param given map from names to values, as pdk.json decodes it; null is not given
-- @return values by name, or nil and a list of {pointer, detail, parameter}
function M.parameters(template, given)
  local values, errors, names, known = {}, {}, {}, {}
  for _, parameter in ipairs(template.parameters) do
    local name = parameter.name
    local value = given[name]
    names[#names + 1], known[name] = name, true
    if value == nil or value == json.null then value = rawget(parameter, "default") end
    if value == nil and parameter.required then
      fault(errors, name, "required" .. (parameter.description ~= "" and ": " .. parameter.description or ""))
    elseif value ~= nil then
      local wrong = kind_of_template.fault_of(parameter, value)
      if wrong then fault(errors, name, wrong) end
    end
    values[name] = value
  end
  local others = {}
  for name in pairs(given) do
    if not known[name] then others[#others + 1] = name end
  end
  table.sort(others)
  for _, name in ipairs(others) do
    local nearest = suggest.nearest(name, names)
    fault(errors, name, "unknown parameter" .. (nearest and (", did you mean %s?"):format(nearest) or ""))
  end
  if #errors > 0 then return nil, errors end
  return values
end

-- Rendering -------------------------------------------------------------------------------------------

local Rendering = {}
Rendering.__index = Rendering

function Rendering:fail(pointer, detail, name)
  self.errors[#self.errors + 1] = { pointer = pointer, detail = detail, parameter = name }
end

--- Fills the holes of a text. It stays a text.
function Rendering:fill(text, pointer)
  local used
  local filled, problem = expand.expand(text, function(name)
    local value = self.values[name]
    used = name
    if value == nil then return "" end
    if type(value) == "table" then
      self:fail(pointer, ("the parameter %s is a list or a map: it has to be the whole value"):format(name), name)
      return ""
    end
    return type(value) == "string" and value or model_json.scalar(value)
  end)
  self.origins[pointer] = used
  if filled then return filled end
  self:fail(pointer, problem)
  return ""
end

--- Returns the value of a text that is one hole and nothing else; NOTHING: it is left out.
function Rendering:whole(name, pointer)
  local value = self.values[name]
  self.origins[pointer] = name
  if value == nil then return NOTHING end
  return value
end

function Rendering:value(value, pointer)
  if type(value) == "string" then
    if not value:find("${", 1, true) then return value end
    local name = value:match "^%${([%a_][%w_]*)}$"
    if name then return self:whole(name, pointer) end
    return self:fill(value, pointer)
  end
  if type(value) ~= "table" then return value end
  if json.is_array(value) then
    local list = json.array {}
    for i = 1, #value do -- of an element that is left out the next takes the place
      local inner = self:value(value[i], pointer .. "/" .. #list)
      if inner ~= NOTHING then list[#list + 1] = inner end
    end
    return list
  end
  local map = {}
  for key, own in pairs(value) do
    local inner = self:value(own, pointer .. "/" .. escape(key))
    if inner ~= NOTHING then map[key] = inner end
  end
  return map
end

--- Fills the holes of a template.
-- @param values of M.parameters
-- @return lists of entities by kind, decoded JSON, and the parameter behind each filled place by its pointer; or nil
-- and a list of {pointer, detail, parameter}
function M.render(template, values)
  local rendering = setmetatable({ values = values, errors = {}, origins = {} }, Rendering)
  local entities = rendering:value(template.entities, "/entities")
  if #rendering.errors > 0 then return nil, rendering.errors end
  return entities, rendering.origins
end

local function name_of(kind, value)
  local as = kind == "plugins" and value.as
  return as and as ~= value.name and ("%s:%s"):format(value.name, tostring(as)) or value.name
end

local function tenant_of(kind, value, tenant)
  if kind == "tenants" then return nil end
  if kind == "plugins" then return value.tenant or tenant ~= "default" and tenant or nil end
  return value.tenant or tenant
end

--- Returns the transaction that makes what a template gives.
-- @param tenant whose they are, unless they say so themselves
-- @param replaces true: what there is by the same name is replaced; else it is in the way
-- @return operations of control/transactions.lua, and for each {kind, tenant, name, pointer}; or nil and a list of
-- {pointer, detail}
function M.operations(entities, tenant, replaces)
  local ops, places, errors = {}, {}, {}
  for _, kind in ipairs(model.KINDS) do
    for i, value in ipairs(entities[kind] or {}) do
      local pointer = ("/entities/%s/%d"):format(kind, i - 1)
      if type(value.name) ~= "string" or value.name == "" then
        errors[#errors + 1] = { pointer = pointer .. "/name", detail = "expected a name" }
      elseif value.tenant ~= nil and type(value.tenant) ~= "string" then
        errors[#errors + 1] = { pointer = pointer .. "/tenant", detail = "expected the name of a tenant" }
      else
        local op = { op = replaces and "upsert" or "create", kind = kind, name = name_of(kind, value), value = value,
          tenant = tenant_of(kind, value, tenant) }
        ops[#ops + 1] = op
        places[#ops] = { kind = kind, tenant = op.tenant, name = op.name, pointer = pointer }
      end
    end
  end
  if #errors > 0 then return nil, errors end
  return ops, places
end

--- Says which parameter made the value at a pointer, or what holds it. Returns a name, or nil.
function M.origin(origins, pointer)
  while pointer ~= "" do
    if origins[pointer] then return origins[pointer] end
    pointer = pointer:match "^(.*)/[^/]*$"
  end
end

return M

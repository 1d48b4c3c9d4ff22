--- JSON Schemas of the objects of the admin API, made of the schemas of the model: what is written, and what is
-- answered, which has the read-only fields besides.
local grammar = require "veloflux.conf.grammar"
local json_schema = require "veloflux.plugin.json_schema"
local model = require "veloflux.model"

local M = {}

local object = json_schema.object
local DRAFT = "https://json-schema.org/draft/2020-12/schema"

--- Returns the compiled type of the objects of a resource; of those that plugins have a say in, what they have in
-- common.
function M.type_of(resource)
  if resource.compiled then return resource.compiled end
  if resource.name == "plugins" then return grammar.file.by_name.plugins.element.general end
  local compiled = model.types[resource.kind]
  if not resource.field then return compiled end
  return compiled.by_name[resource.field].element
end

--- Returns the compiled type by which one is judged, which finds what plugins have a say in by the plugin's name.
function M.judged_by(resource)
  if resource.name == "plugins" then return grammar.file.by_name.plugins.element end
  return M.type_of(resource)
end

--- Turns a plain table such as { type = "string", enum = {...} } into an object with its keys in order.
local function plain(schema, description, is_read_only)
  local out, names = object("description", description), {}
  for name in pairs(schema) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = schema[name]
    local is_plain = type(value) == "table" and value[1] == nil and getmetatable(value) == nil
    out:set(name, is_plain and plain(value) or value)
  end
  if is_read_only then out:set("readOnly", true) end
  return out
end

--- Returns the schema of a list whose elements are the objects of a resource.
local function list_of(schema, resource)
  local out = object()
  for _, key in ipairs(schema.keys) do
    out:set(key, key == "items" and M.of(resource) or schema.values[key])
  end
  return out
end

--- Returns the schema of the objects of a resource as an object of json_schema.
function M.of(resource)
  local compiled = M.type_of(resource)
  local own = json_schema.of(compiled.attr or compiled.general.attr)
  local properties, required = object(), {}
  for _, name in ipairs(own.values.properties.keys) do
    local schema, element = own.values.properties.values[name], resource.elements and resource.elements[name]
    if name ~= "tenant" then properties:set(name, element and list_of(schema, element) or schema) end
  end
  for _, field in ipairs(resource.fields) do
    if not properties.values[field[1]] then
      properties:set(field[1], plain(field[2], field[3], not field.takes))
    end
  end
  for _, name in ipairs(own.values.required or {}) do
    if not (resource.optional and resource.optional[name]) then required[#required + 1] = name end
  end
  local schema = object("title", resource.noun, "description", own.values.description, "type", "object",
    "properties", properties)
  if #required > 0 then schema:set("required", required) end
  local is_open = compiled.general ~= nil
  schema:set("additionalProperties", is_open)
  schema:set("allOf", own.values.allOf)
  return schema
end

--- Returns the schema of a resource as JSON text.
function M.text(resource)
  local schema = object("$schema", DRAFT)
  local own = M.of(resource)
  for _, key in ipairs(own.keys) do schema:set(key, own.values[key]) end
  return json_schema.encode(schema)
end

return M

--- Judges decoded JSON by a JSON Schema as our OpenAPI document uses it: type, properties, required,
-- additionalProperties, items, enum, const, anyOf, oneOf, allOf, bounds, lengths and $ref. Formats and patterns are for
-- people. An empty table of cjson is a list and a map at once.
local cjson = require "cjson"

local M = {}

local function is_list(value) return type(value) == "table" and (#value > 0 or next(value) == nil) end
local function is_map(value) return type(value) == "table" and (#value == 0) end

local IS = {
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
  number = function(value) return type(value) == "number" end,
  integer = function(value) return type(value) == "number" and value % 1 == 0 end,
  null = function(value) return value == cjson.null end,
  array = is_list,
  object = is_map,
}

local judge

local function resolve(document, schema)
  local name = schema["$ref"] and schema["$ref"]:match "^#/components/schemas/(.+)$"
  if not name then return schema end
  return assert(document.components.schemas[name], schema["$ref"])
end

local function judge_type(schema, value, path)
  local kinds = type(schema.type) == "table" and schema.type or { schema.type }
  for _, kind in ipairs(kinds) do
    if IS[kind](value) then return nil end
  end
  if #kinds == 0 then return nil end
  return ("%s: expected %s, got %s"):format(path, table.concat(kinds, " or "), cjson.encode(value))
end

local function judge_members(document, schema, value, path)
  for _, name in ipairs(schema.required or {}) do
    if value[name] == nil then return ("%s: has no %s"):format(path, name) end
  end
  local known, rest = schema.properties or {}, schema.additionalProperties
  for name, inner in pairs(value) do
    local own, fault = known[name], nil
    if own then
      fault = judge(document, own, inner, path .. "/" .. name)
    elseif rest == false then
      fault = ("%s/%s: is not declared"):format(path, name)
    elseif type(rest) == "table" then
      fault = judge(document, rest, inner, path .. "/" .. name)
    end
    if fault then return fault end
  end
end

local function judge_bounds(schema, value, path)
  if type(value) == "number" and
    (schema.minimum and value < schema.minimum or schema.maximum and value > schema.maximum) then
    return ("%s: %s is out of bounds"):format(path, value)
  end
  if type(value) == "string" and
    (schema.minLength and #value < schema.minLength or schema.maxLength and #value > schema.maxLength * 4) then
    return ("%s: %q has a wrong length"):format(path, value)
  end
end

local function judge_choice(document, schema, value, path)
  local any = schema.anyOf or schema.oneOf
  if not any then return nil end
  local first
  for _, one in ipairs(any) do
    local fault = judge(document, one, value, path)
    if not fault then return nil end
    first = first or fault
  end
  return first
end

--- Returns what is wrong with a value, nil when nothing is.
-- @param document the whole, for references
-- @param path of the value, for messages
function M.judge(document, schema, value, path)
  path = path or ""
  if type(schema) ~= "table" then return nil end
  schema = resolve(document, schema)
  local fault = judge_type(schema, value, path) or judge_bounds(schema, value, path)
    or judge_choice(document, schema, value, path)
  if fault then return fault end
  for _, one in ipairs(schema.allOf or {}) do
    fault = judge(document, one, value, path)
    if fault then return fault end
  end
  if schema.const ~= nil and value ~= schema.const then return path .. ": is not " .. tostring(schema.const) end
  if schema.enum then
    local is_one = false
    for _, one in ipairs(schema.enum) do is_one = is_one or one == value end
    if not is_one then return ("%s: %s is none of the enum"):format(path, cjson.encode(value)) end
  end
  if is_map(value) then fault = judge_members(document, schema, value, path) end
  if fault or not is_list(value) or not schema.items then return fault end
  for i, inner in ipairs(value) do
    fault = judge(document, schema.items, inner, ("%s/%d"):format(path, i - 1))
    if fault then return fault end
  end
end
judge = M.judge

local function media_type(response) return ((response:get "content-type" or ""):match "^[^;%s]+" or ""):lower() end

--- Returns what is wrong with an answer, nil when it is as its operation declares it.
-- @param response of support.client
function M.judge_response(document, operation, response)
  local declared = operation.responses[tostring(response.status)]
  if not declared and response.status >= 400 then declared = operation.responses.default end
  if response.status == 304 then return nil end
  if not declared then return ("status %d is not declared"):format(response.status) end
  if #response.body == 0 then return nil end
  local kind = media_type(response)
  local content = {}
  for name, media in pairs(declared.content or {}) do content[name:match "^[^;%s]+"] = media end
  if next(content) == nil then return "content is not declared" end
  if not content[kind] then return kind .. " is not declared" end
  if not kind:find "json" then return nil end
  local ok, value = pcall(cjson.decode, response.body)
  if not ok then return "is no JSON" end
  return judge(document, content[kind].schema, value)
end

return M

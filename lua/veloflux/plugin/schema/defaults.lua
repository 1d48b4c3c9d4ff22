--- Defaults in the schema of a plugin: values like any other, which are read and judged.
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local json = require "veloflux.model.json"
local schema = require "veloflux.model.schema"
local sorted = require "veloflux.sorted"

local M = {}

local IS_LIST = { array = true, set = true }

--- Turns a default, which is as the conf file would say it, into JSON.
local function put_default(attr, value, out)
  if type(value) ~= "table" then
    json.put(out, type(value) == "string" and json.quote(expand.escape(value)) or json.scalar(value))
  elseif IS_LIST[attr.type] then
    for i, element in ipairs(value) do
      json.put(out, i == 1 and "[" or ",")
      put_default(attr.elements, element, out)
    end
    json.put(out, #value == 0 and "[]" or "]")
  else
    local is_first = true
    json.put(out, "{")
    for _, name in ipairs(sorted.as_texts(value)) do
      local inner = attr.type == "map" and attr.values or attr.by_name and attr.by_name[name] or {}
      json.put(out, (is_first and "" or ",") .. json.quote(tostring(name)) .. ":")
      put_default(inner, value[name], out)
      is_first = false
    end
    json.put(out, "}")
  end
end

local function nothing() return nil end

local function without_default(attr)
  local bare = {}
  for name, value in pairs(attr) do bare[name] = value end
  bare.default = nil
  return bare
end

--- Judges the default of a field.
-- @param attr attributes of the field
-- @param note function(suffix, message): what is wrong, and where below the field
function M.check(attr, note)
  if attr.default == nil then return end
  local kind = type(attr.default)
  if kind == "function" or kind == "userdata" or kind == "thread" or kind == "cdata" then
    return note(".default", ("expected a value, got a %s"):format(kind))
  elseif attr.type == "string" and kind ~= "string" then
    return note(".default", ("expected a text, got a %s"):format(kind))
  end
  local out = json.writer()
  put_default(attr, attr.default, out)
  local doc, problem = document.parse(table.concat(out), "default")
  if not doc then return note(".default", problem.message) end
  local ok, value, problems = pcall(schema.read, schema.compile(without_default(attr)), doc, nothing)
  if not ok then return note(".default", tostring(value)) end
  for _, bad in ipairs(problems) do note(".default" .. (bad.path ~= "" and "." .. bad.path or ""), bad.message) end
end

return M

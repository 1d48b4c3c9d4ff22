--- What a tenant may not say, even of what is its own: things that reach beyond it into the node. References to files
-- and variables would be read with the node's rights, and the tenant's plugins could carry them away; the plugin
-- `script` runs code.
local json = require "veloflux.pdk.json"
local pem = require "veloflux.model.pem"
local problem = require "veloflux.admin.problem"
local vault = require "veloflux.vault"
local view = require "veloflux.model.view"

local M = {}

local OF_OPERATORS = { script = true } -- plugins

--- A reference may be written as a map of one key, as YAML reads it bare.
local function is_reference(value)
  if type(value) == "string" then return vault.is_meant(value) end
  local key = type(value) == "table" and next(value)
  return type(key) == "string" and next(value, key) == nil and vault.is_meant("{" .. key .. "}")
end

local function escape(step) return (tostring(step):gsub("~", "~0"):gsub("/", "~1")) end

local function find(value, pointer, is_instance)
  if is_reference(value) then return pointer, "a tenant's secrets cannot refer to files or variables of the node" end
  if type(value) ~= "table" then return nil end
  if is_instance and OF_OPERATORS[value.name] then
    return pointer .. "/name", ("the plugin %s is for operators, not for tenants"):format(value.name)
  end
  for key, inner in pairs(value) do
    local step = type(key) == "number" and key - 1 or escape(key)
    local is_list = type(key) == "number" and is_instance == "list"
    local found, detail = find(inner, pointer .. "/" .. step, is_list and true or key == "plugins" and "list" or nil)
    if found then return found, detail end
  end
end

local function refusal(pointer, detail)
  return problem.new("forbidden", ("%s: %s."):format(pointer:sub(2), detail),
    { errors = { { pointer = pointer, detail = detail } } })
end

--- Judges a body that a tenant has sent.
-- @param resource of admin/resources: what it is to be
-- @return nil, or a problem
function M.refuse(resource, body)
  local pointer, detail = find(body, "", resource.name == "plugins" or nil)
  return pointer and refusal(pointer, detail) or nil
end

--- Finds a text that would be read as the name of a file, where PEM or a path may stand. Returns its pointer, or nil.
local function find_file(compiled, value, plugins, pointer)
  compiled = view.type_of(compiled, value, plugins)
  local is_list = json.is_array(value)
  if compiled.forms then
    compiled = compiled.forms[type(value) ~= "table" and "scalar" or is_list and "list" or "map"]
    if not compiled then return nil end
  end
  if type(value) == "string" then
    local kind = compiled.attr.type
    local is_file = kind == "pem" and not pem.is_text(value) or kind == "path"
    return is_file and value ~= "" and value ~= view.MASK and pointer or nil
  end
  for name, own in pairs(type(value) == "table" and value or {}) do
    local field = compiled.fields and (compiled.by_name[name] or compiled.shorthands[name]) or compiled.element
      or compiled.value
    local step = is_list and name - 1 or escape(name)
    local found = field and find_file(field, own, plugins, pointer .. "/" .. step)
    if found then return found end
  end
end

--- Judges what a tenant has sent, for files of the node that it would name: others' keys, for instance.
-- @param compiled the type of it (model/schema.lua)
-- @param plugins the loader of plugins
-- @return nil, or a problem
function M.refuse_files(compiled, value, plugins)
  local pointer = find_file(compiled, value, plugins, "")
  return pointer and refusal(pointer, "a tenant's objects have PEM text and no names of files of the node") or nil
end

--- Judges what a tenant wants to change: operators may have put something there that is theirs.
-- @param entry of admin/entities.lua
-- @return nil, or a problem
function M.refuse_change(resource, entry)
  local name = resource.name == "plugins" and entry.record.name
  if not OF_OPERATORS[name] then return nil end
  return refusal("/name", ("the plugin %s is for operators, not for tenants"):format(name))
end

return M

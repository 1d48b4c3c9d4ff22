--- Secrets in values that are decoded JSON: those that stand in clear where they should not, and those that are masked.
local json = require "veloflux.pdk.json"
local model = require "veloflux.model"
local plugin = require "veloflux.model.kinds.plugin"
local schema = require "veloflux.model.schema"
local vault = require "veloflux.vault"

local M = {}

local PLUGINS = schema.compile(plugin.list { has_tenant = true }).element

local find_secret

local function find_in_record(compiled, value, plugins, is_wrong, path)
  for name, own in pairs(value) do
    local field = compiled.by_name[name]
    local found = field and find_secret(field, own, plugins, is_wrong, path .. "." .. name)
    if found then return found end
  end
end

local function find_in_list(element, list, plugins, is_wrong, path)
  for i = 1, #list do
    local found = find_secret(element, list[i], plugins, is_wrong, ("%s.%d"):format(path, i - 1))
    if found then return found end
  end
end

--- The type of a value that says itself which record it is.
local function chosen(compiled, value, plugins)
  local attr = compiled.attr
  if not attr.choose or type(value) ~= "table" or type(value[attr.tag]) ~= "string" then return compiled end
  return attr.choose({ plugins = plugins }, value[attr.tag]) or compiled.general
end

function find_secret(compiled, value, plugins, is_wrong, path)
  compiled = chosen(compiled, value, plugins)
  if compiled.attr and compiled.attr.secret then
    return is_wrong(value) and path or nil
  end
  if type(value) ~= "table" then return nil end
  local is_list = json.is_array(value)
  if compiled.forms then compiled = compiled.forms[is_list and "list" or "map"] or compiled end
  if compiled.by_name and not is_list then return find_in_record(compiled, value, plugins, is_wrong, path) end
  if compiled.element and is_list then return find_in_list(compiled.element, value, plugins, is_wrong, path) end
  for key, own in pairs(compiled.value and not is_list and value or {}) do
    local found = find_secret(compiled.value, own, plugins, is_wrong, path .. "." .. key)
    if found then return found end
  end
end

local function is_clear(value)
  return type(value) ~= "string" or value ~= "" and not value:find("${", 1, true) and not vault.is_meant(value)
end

--- Finds a secret that stands in clear in a template: it would be stored so. Returns its place, such as
-- consumers.0.credentials.0.key, or nil.
-- @param plugins the loader of plugins: what is secret in their configurations is theirs to say
function M.in_template(template, plugins)
  for kind, list in pairs(template.entities or {}) do
    local found = find_in_list(model.types[kind] or PLUGINS, list, plugins, is_clear, kind)
    if found then return found end
  end
end

--- Finds a secret that is masked. Returns its place, such as credentials.0.key, or nil.
-- @param value an entity as decoded JSON
function M.masked_in(kind, value, plugins, mask)
  local stored = plugins and plugins.kinds[kind]
  local compiled = stored and stored.compiled or model.types[kind] or PLUGINS
  local found = find_secret(compiled, value, plugins, function(own) return own == mask end, "")
  return found and found:sub(2)
end

return M

--- What plugins may require besides their own files: the plugin API, and harmless modules that handlers
-- are used to. What a plugin sets or changes in them is nobody else's business.
local own_api = require "veloflux.plugin.own_api"

local M = {}

local MODULES = { ["bit"] = true, ["cjson"] = true, ["cjson.safe"] = true, ["table.new"] = true,
  ["table.clear"] = true, ["table.isempty"] = true, ["table.nkeys"] = true, ["table.clone"] = true,
  ["table.isarray"] = true }

local function own(module)
  if type(module) ~= "table" then return module end
  if module.new then return module.new() end -- cjson, with settings of its own
  local copy = {}
  for key, value in pairs(module) do copy[key] = value end
  return copy
end

local function own_typedefs()
  local copy = {}
  for name, value in pairs(require "veloflux.plugin.typedefs") do
    copy[name] = type(value) == "table" and value() or value
  end
  return copy
end

--- Returns the module `name` for a plugin, or nil when it is not for plugins. Called once for each plugin and module.
function M.module(name)
  if name == "veloflux.pdk" then return own_api.new() end
  if name == "kong.db.schema.typedefs" then return own_typedefs() end
  if name == "kong.db.schema" then return { define = require("veloflux.plugin.typedefs").define } end
  if MODULES[name] then return own(require(name)) end
  local group = name:match "^veloflux%.pdk%.([%w_]+)$"
  return group and own_api.group(group)
end

return M

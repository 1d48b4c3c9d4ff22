--- What plugins may require besides their own files: the plugin API, and harmless modules that handlers
-- are used to.
local M = {}

local MODULES = {
  bit = "bit", cjson = "cjson", ["cjson.safe"] = "cjson.safe",
  ["table.new"] = "table.new", ["table.clear"] = "table.clear", ["table.isempty"] = "table.isempty",
  ["table.nkeys"] = "table.nkeys", ["table.clone"] = "table.clone", ["table.isarray"] = "table.isarray",
  ["kong.db.schema.typedefs"] = "veloflux.plugin.typedefs",
}

--- Modules of the plugin's own: what it sets there, or changes in them, is nobody else's business.
local function own(module)
  if type(module) ~= "table" then return module end
  if module.new then return module.new() end -- cjson, with settings of its own
  local copy = {}
  for key, value in pairs(module) do copy[key] = value end
  return copy
end

--- Returns the module `name` for a plugin, or nil when it is not for plugins. Called once for each plugin and module.
function M.module(name)
  if name == "veloflux.pdk" or name:find "^veloflux%.pdk%.[%w_.]+$" then
    local ok, module = pcall(require, name)
    return ok and module or nil
  end
  if name == "kong.db.schema.typedefs" then return require(MODULES[name]) end
  return MODULES[name] and own(require(MODULES[name]))
end

return M

--- What plugins may require besides their own files: the plugin API, and harmless modules that handlers
-- are used to.
local M = {}

local MODULES = {
  bit = "bit", cjson = "cjson", ["cjson.safe"] = "cjson.safe",
  ["table.new"] = "table.new", ["table.clear"] = "table.clear", ["table.isempty"] = "table.isempty",
  ["table.nkeys"] = "table.nkeys", ["table.clone"] = "table.clone", ["table.isarray"] = "table.isarray",
  ["kong.db.schema.typedefs"] = "veloflux.plugin.typedefs",
}

--- Returns the module `name` for a plugin, or nil when it is not for plugins.
function M.module(name)
  if name == "veloflux.pdk" or name:find "^veloflux%.pdk%.[%w_.]+$" then
    local ok, module = pcall(require, name)
    return ok and module or nil
  end
  return MODULES[name] and require(MODULES[name])
end

return M

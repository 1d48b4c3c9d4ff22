--- The plugin instance that runs.
local chain = require "veloflux.runtime.chain"

---@class pdk.plugin
local M = {}

--- Returns the id of the running instance: the plugin's name, with `/AS` where it runs under another one.
---@return string|nil
function M.get_id()
  local instance = chain.current()
  if not instance then return nil end
  return instance.as == instance.name and instance.name or instance.name .. "/" .. instance.as
end

return M

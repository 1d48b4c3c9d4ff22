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

--- Returns the scope of the running instance: where in the conf it stands, the narrowest place if several had
-- a part in it.
---@return "global"|"tenant"|"pool"|"route"|"consumer"|nil
function M.get_scope()
  local instance = chain.current()
  return instance and instance.scope
end

return M

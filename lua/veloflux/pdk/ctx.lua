--- Values that live as long as the exchange: `shared` for all its plugins, `plugin` for the instance that
-- runs. Outside of an exchange (timers) they live as long as the task.
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"

---@class pdk.ctx
---@field shared table seen by all plugins of the exchange
---@field plugin table the running instance's own
local M = {}

--- Returns the table at a key, made when there is none.
local function member(values, key)
  local found = values[key]
  if not found then
    found = {}
    values[key] = found
  end
  return found
end

return setmetatable(M, {
  __index = function(_, name)
    network.check "ctx"
    if name == "shared" then return member(view.values(), "shared") end
    if name == "plugin" then return member(member(view.values(), "plugins"), tonumber(task.run.instance)) end
    return nil
  end,
  __newindex = function() error("pdk.ctx: write to pdk.ctx.shared or pdk.ctx.plugin", 2) end,
})

--- Addresses.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local C = require("ffi").C

---@class pdk.ip
local M = {}

local ANY = phase.set("request", "certificate")

--- Says whether an address is one of the node's trusted_proxies.
---@param address string an IPv4 or IPv6 address
---@return boolean
function M.is_trusted(address)
  if not ANY[task.run.phase] then phase.wrong(ANY, "ip.is_trusted") end
  if type(address) ~= "string" then error("ip.is_trusted: expected a string", 2) end
  return C.vf_view_is_trusted(task.run.ex, address, #address) ~= 0
end

return M

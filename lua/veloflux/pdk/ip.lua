--- Addresses.
local networks = require "veloflux.networks"
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

--- Makes a set of addresses and networks, for many look-ups: make it once for each configuration and keep
-- it. `set:has(address)` says whether an address is in one of them, by binary search; nil: it is none.
-- May be called in any phase, and while a plugin is loaded.
---@param list string[] "10.0.0.0/8", "2001:db8::1"; in any order, both families
---@return { has: fun(self, address: string): boolean? }|nil set
---@return string|nil err names the first that is no address and no network
function M.set(list)
  if type(list) ~= "table" then error("ip.set: expected a list of networks", 2) end
  return networks.new(list)
end

return M

--- Lets clients pass by their address: those of `allow`, and none of `deny`.
-- The address is the client's own, behind proxies that the node trusts. The networks of a configuration
-- are put in order once; a look-up costs a few comparisons for ten of them as for ten thousand.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 990, VERSION = "1.0.0", FAIL_CLOSED = true } -- behind authentication, before limits

local refused = pdk.metrics.counter("refused", "Requests from addresses that are not allowed.")

local sets = setmetatable({}, { __mode = "k" }) -- configuration -> { allow, deny }

local function set_of(list)
  return list and list[1] and assert(pdk.ip.set(list)) or false
end

local function sets_of(conf)
  local made = sets[conf]
  if not made then
    made = { allow = set_of(conf.allow), deny = set_of(conf.deny) }
    sets[conf] = made
  end
  return made
end

--- Puts long lists in order before a request has to wait for that.
function Plugin:configure(configs)
  for _, conf in ipairs(configs or {}) do sets_of(conf) end
end

local function may_pass(conf, address)
  local of = sets_of(conf)
  if of.deny and of.deny:has(address) ~= false then return false end
  return not of.allow or of.allow:has(address) == true
end

function Plugin:access(conf)
  local address = pdk.client.get_forwarded_ip() or ""
  if may_pass(conf, address) then return end
  refused:inc(1)
  return pdk.response.error(conf.status, conf.message or "IP address not allowed: " .. address)
end

return Plugin

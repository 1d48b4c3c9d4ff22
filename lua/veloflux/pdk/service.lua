--- What the request is forwarded to, and how.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local C = require("ffi").C

---@class pdk.service
---@field request pdk.service.request
---@field response pdk.service.response
local M = {}

local BEFORE = phase.set("before_upstream")

local function check(name)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "service." .. name, 4) end
end

--- Forwards to another pool: of the route's tenant, or a shared one.
---@param host string its name
---@return true|nil ok, string|nil err
function M.set_upstream(host)
  check "set_upstream"
  if type(host) ~= "string" then error("service.set_upstream: expected a string", 2) end
  local rc = C.vf_view_set_pool(task.run.ex, host, #host)
  if rc == 0 then return true end
  return nil, rc == -6 and ("could not find a pool called %q"):format(host) or view.problem(rc)
end

--- Forwards to this host instead of a backend of the pool.
---@param host string an IP address or a name
---@param port integer
function M.set_target(host, port)
  check "set_target"
  if type(host) ~= "string" or host == "" then error("service.set_target: expected a host", 2) end
  if type(port) ~= "number" or port < 1 or port > 65535 or port % 1 ~= 0 then
    error("service.set_target: expected a port between 1 and 65535", 2)
  end
  local rc = C.vf_view_set_target(task.run.ex, host, #host, port)
  if rc ~= 0 then error("service.set_target: the target " .. view.problem(rc), 2) end
end

--- Calls `callback` before another backend is tried, so that it may set another target.
---@param callback fun()
function M.set_target_retry_callback(callback)
  check "set_target_retry_callback"
  if type(callback) ~= "function" then error("service.set_target_retry_callback: expected a function", 2) end
  view.values().retry = { callback = callback, instance = require("veloflux.runtime.chain").current() }
  C.vf_view_want_balancer(task.run.ex)
end

--- Sets how often the request is tried on other backends when a connection cannot be made.
---@param retries integer 0 to 3
function M.set_retries(retries)
  check "set_retries"
  if type(retries) ~= "number" or retries < 0 or retries > 32767 or retries % 1 ~= 0 then
    error("service.set_retries: expected a number between 0 and 32767", 2)
  end
  C.vf_view_set_tries(task.run.ex, math.min(retries + 1, 1000))
end

--- Sets the timeouts of this exchange, in milliseconds: to connect, between two pieces of the request, and
-- for the answer (until its first byte, and between two pieces).
---@param connect integer
---@param send integer
---@param read integer
function M.set_timeouts(connect, send, read)
  check "set_timeouts"
  for name, value in pairs { connect = connect, write = send, read = read } do
    if type(value) ~= "number" or value < 1 or value > 2147483646 then
      error(("service.set_timeouts: %s: expected milliseconds between 1 and 2147483646"):format(name), 2)
    end
  end
  C.vf_view_set_timeouts(task.run.ex, connect, send, read)
end

local NO_TLS = "how connections to backends shake hands is said by `tls` of their pool"

--- Sets the client certificate for the backend. Here that is said by `tls` of the pool: nothing
-- is set, and a message says so.
---@param chain any
---@param key any
---@return true|nil ok, string|nil err
function M.set_tls_cert_key(chain, key) -- luacheck: ignore 212
  check "set_tls_cert_key"
  return nil, NO_TLS
end

--- Sets whether the backend's certificate is verified; as set_tls_cert_key.
---@param on boolean
---@return true|nil ok, string|nil err
function M.set_tls_verify(on) -- luacheck: ignore 212
  check "set_tls_verify"
  return nil, NO_TLS
end

--- Sets how long the backend's certificate chain may be; as set_tls_cert_key.
---@param depth integer
---@return true|nil ok, string|nil err
function M.set_tls_verify_depth(depth) -- luacheck: ignore 212
  check "set_tls_verify_depth"
  return nil, NO_TLS
end

--- Sets what the backend's certificate is verified against; as set_tls_cert_key.
---@param store any
---@return true|nil ok, string|nil err
function M.set_tls_verify_store(store) -- luacheck: ignore 212
  check "set_tls_verify_store"
  return nil, NO_TLS
end

return setmetatable(M, { __index = function(group, name)
  if name ~= "request" and name ~= "response" then return nil end
  local part = require("veloflux.pdk.service_" .. name)
  rawset(group, name, part)
  return part
end })

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

--- Forwards to this host instead of a backend of the pool. The request's Host becomes this one; set_header behind this
-- call sets another.
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
  local authority = host:find(":", 1, true) and host:byte(1) ~= 91 and "[" .. host .. "]" or host
  C.vf_view_edit_field(task.run.ex, view.REQUEST, view.SET, "host", 4, authority, #authority)
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
---@param retries integer 0 to 32767; more than 3 are as 3
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
    if type(value) ~= "number" or not (value >= 1 and value <= 2147483646) or value % 1 ~= 0 then
      error(("service.set_timeouts: %s: expected whole milliseconds between 1 and 2147483646"):format(name), 2)
    end
  end
  C.vf_view_set_timeouts(task.run.ex, connect, send, read)
end

local MAX_DEPTH = 64

local function done(rc, name)
  if rc ~= 0 then error(("service.%s: the TLS of the backend %s"):format(name, view.problem(rc)), 3) end
  return true
end

local function check_pem(value, name, what)
  if type(value) ~= "string" then
    error(("service.%s: %s: expected PEM text, got %s"):format(name, what, type(value)), 3)
  end
end

--- Sets the certificate that this request's backend is shown when it asks for one, in place of `cert` and `key` of
-- the pool's `tls`. As the other set_tls functions: holds for this request alone, on connections that requests with
-- another TLS never get; does nothing for a backend that is spoken to without TLS.
---@param chain string PEM: the certificate, then those of its issuers
---@param key string PEM: its private key
---@return true|nil ok
---@return string|nil err what is wrong with the certificate or the key, or that they do not belong together
function M.set_tls_cert_key(chain, key)
  check "set_tls_cert_key"
  check_pem(chain, "set_tls_cert_key", "chain")
  check_pem(key, "set_tls_cert_key", "key")
  local facts, message, field = require("veloflux.x509").identity(chain, key)
  if not facts then return nil, ("the %s %s"):format(field == "key" and "key" or "certificate", message) end
  return done(C.vf_view_set_tls_identity(task.run.ex, facts.der, #facts.der, facts.key, #facts.key), "set_tls_cert_key")
end

--- Sets whether the certificate of this request's backend is verified, in place of `verify` of the pool's `tls`; as
-- set_tls_cert_key. Without authorities of the pool or of set_tls_verify_store, those of the system are believed.
---@param on boolean
---@return true
function M.set_tls_verify(on)
  check "set_tls_verify"
  if type(on) ~= "boolean" then error("service.set_tls_verify: expected a boolean, got " .. type(on), 2) end
  return done(C.vf_view_set_tls_verify(task.run.ex, on and 1 or 0), "set_tls_verify")
end

--- Sets how many certificates may stand between the one of this request's backend and its authority's, in place of
-- `depth` of the pool's `tls`; as set_tls_cert_key. More than 8 are never followed.
---@param depth integer 0 to 64
---@return true
function M.set_tls_verify_depth(depth)
  check "set_tls_verify_depth"
  if type(depth) ~= "number" or depth < 0 or depth > MAX_DEPTH or depth % 1 ~= 0 then
    error(("service.set_tls_verify_depth: expected a number between 0 and %d"):format(MAX_DEPTH), 2)
  end
  return done(C.vf_view_set_tls_depth(task.run.ex, depth), "set_tls_verify_depth")
end

--- Sets the authorities that the certificate of this request's backend is verified against, in place of `ca` and
-- `crl` of the pool's `tls`; as set_tls_cert_key. Whether it is verified stays as it is: see set_tls_verify.
---@param store string PEM: certificates of authorities
---@return true|nil ok
---@return string|nil err what is wrong with the certificates
function M.set_tls_verify_store(store)
  check "set_tls_verify_store"
  check_pem(store, "set_tls_verify_store", "store")
  local facts, message = require("veloflux.x509").authorities(store)
  if not facts then return nil, "the store " .. message end
  return done(C.vf_view_set_tls_store(task.run.ex, facts.der, #facts.der), "set_tls_verify_store")
end

return setmetatable(M, { __index = function(group, name)
  if name ~= "request" and name ~= "response" then return nil end
  local part = require("veloflux.pdk.service_" .. name)
  rawset(group, name, part)
  return part
end })

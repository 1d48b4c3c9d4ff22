--- Who asks: the list of authenticators, by which a request shows its identity.
-- An authenticator is {scheme, takes, identify}. `scheme` is that of the Authorization field, or "apikey" for what
-- X-API-Key has; of several with one scheme the first whose `takes(credentials)` is true is asked (without it: any).
-- `identify(credentials, request)` gets what follows the scheme and returns an identity; or nil and a problem; or nil
-- alone: wrong. An identity is {name, method, can, tenant, is_valid}: `can(permission)` returns true when it has that
-- permission (roles.lua); `tenant`, when there is one, is all that it may see; `is_valid(now)` says whether the
-- credentials still hold, for connections that last (channels/hub.lua); without it they do.
-- Wrong credentials are throttled by client (throttle.lua). What came over control.sock was judged by
-- the file's mode.
local log = require "veloflux.admin.log"
local problem = require "veloflux.admin.problem"
local throttles = require "veloflux.admin.throttle"
local encoding = require "veloflux.pdk.encoding"

local M = {}
local Auth = {}
Auth.__index = Auth

local CHALLENGE = { "WWW-Authenticate", 'Basic realm="VeloFlux", charset="UTF-8"' }

local function may_all() return true end

--- Makes the list with its first authenticator, Basic (RFC 7617), for the administrator.
-- @param administrator of administrator.lua
-- @param now function() -> seconds, monotonic
function M.new(administrator, now)
  local self = setmetatable({ throttle = throttles.new(), now = now, authenticators = {}, is_enabled = true,
    n_failed = 0 }, Auth)
  self:add { scheme = "basic", identify = function(credentials)
    local text = encoding.base64_decode(credentials, true)
    local username, password = (text or ""):match "^([^:]*):(.*)$"
    if not username then return nil end
    if not administrator:is_usable() then
      return nil, problem.new("unavailable", "There is no administrator's password; the log says why.")
    end
    local epoch = administrator.epoch
    local right = administrator:check(username, password)
    if right == nil then
      return nil, problem.new("too_many_attempts", "Too many logins are under way.",
        { headers = { "Retry-After", "1" } })
    end
    if not right then return nil end
    return { name = username, method = "basic", can = may_all,
      is_valid = function() return self.is_enabled and administrator.epoch == epoch end }
  end }
  return self
end

--- Adds an authenticator, behind the others. Several share a scheme when each says what it takes.
function Auth:add(authenticator)
  for _, other in ipairs(self.authenticators) do
    assert(other.scheme ~= authenticator.scheme or other.takes and authenticator.takes,
      "scheme taken: " .. authenticator.scheme)
  end
  table.insert(self.authenticators, authenticator)
end

--- Says whether somebody understands a scheme.
function Auth:has(scheme)
  for _, one in ipairs(self.authenticators) do
    if one.scheme == scheme then return true end
  end
  return false
end

--- Returns the authenticator that understands credentials, or nil.
function Auth:find(scheme, credentials)
  for _, one in ipairs(self.authenticators) do
    if one.scheme == scheme and (not one.takes or one.takes(credentials)) then return one end
  end
end

--- Returns what a request shows: scheme and credentials, or nil.
local function shown(request)
  local field = request.headers.authorization
  if field then
    local scheme, credentials = field:match "^(%S+)%s+(.-)%s*$"
    return scheme and scheme:lower() or "", credentials or ""
  end
  local key = request.headers["x-api-key"]
  if key then return "apikey", key end
end

--- Says whether a request comes from somebody who does not even try to say who that is.
function Auth:is_stranger(request)
  return self.is_enabled and not request.is_local and shown(request) == nil
end

local function locked(seconds)
  return problem.new("too_many_attempts", ("Too many failed logins; try again in %d seconds."):format(seconds),
    { headers = { "Retry-After", tostring(seconds) } })
end

function Auth:refuse(request)
  self.n_failed = self.n_failed + 1
  local seconds = self.throttle:failed(request.client, self.now())
  log.write("warn", "admin.login_failed", { "client", request.client, "locked_s", seconds })
  if seconds > 0 then return nil, locked(seconds) end
  return nil, problem.new("unauthorized", "These credentials are not right.", { headers = CHALLENGE })
end

--- Returns the identity of a request, or nil and a problem. May yield.
function Auth:identify(request)
  if request.is_local then return { name = "local", method = "local", can = may_all } end
  if not self.is_enabled then
    return { name = "anonymous", method = "off", can = may_all, is_valid = function() return not self.is_enabled end }
  end
  local scheme, credentials = shown(request)
  if not scheme then
    return nil, problem.new("unauthorized", "Authentication is needed.", { headers = CHALLENGE })
  end
  local seconds = self.throttle:wait_s(request.client, self.now())
  if seconds > 0 then return nil, locked(seconds) end
  local authenticator = self:find(scheme, credentials)
  if not authenticator then
    return nil, problem.new("unauthorized", "This kind of authentication is not known.", { headers = CHALLENGE })
  end
  local identity, wrong = authenticator.identify(credentials, request)
  if not identity then
    if wrong then return nil, wrong end
    return self:refuse(request)
  end
  self.throttle:succeeded(request.client)
  return identity
end

return M

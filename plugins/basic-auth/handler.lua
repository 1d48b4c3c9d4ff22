--- Lets those pass who know the password to a name (HTTP Basic, RFC 7617).
local pdk = require "veloflux.pdk"
local login = require "veloflux.plugins.basic-auth.login"
local auth, client, upstream = pdk.auth, pdk.client, pdk.service.request

local Plugin = { PRIORITY = 1100, VERSION = "1.0.0", FAIL_CLOSED = true }

local TYPE = "basic-auth"
local BUSY = { ["Retry-After"] = "1" }

-- What follows from a configuration, for as long as that is there.
local challenges = setmetatable({}, { __mode = "k" })

local function challenge_of(conf)
  local headers = challenges[conf]
  if not headers then
    headers = { ["WWW-Authenticate"] = ('Basic realm="%s", charset="UTF-8"'):format(conf.realm) }
    challenges[conf] = headers
  end
  return headers
end

-- The first header field with a login in it; a field that is there twice has none.
local function find()
  for _, name in ipairs(login.HEADERS) do
    local value = pdk.request.get_header_at(name, 1)
    local username, password = nil, nil
    if value and not pdk.request.get_header_at(name, 2) then username, password = login.parse(value) end
    if username then return username, password end
  end
end

local function hide()
  for _, name in ipairs(login.HEADERS) do upstream.clear_header(name) end
end

function Plugin:access(conf)
  if auth.is_settled(conf) then return end
  local username, password = find()
  if conf.hide_credentials then hide() end
  if not username then return auth.refuse(conf, 401, "Unauthorized", challenge_of(conf)) end
  local credential, consumer, err = client.verify_password(TYPE, username, password)
  if err then
    pdk.log.warn("a password was not compared: ", err)
    return auth.refuse(conf, 503, "Service unavailable", BUSY)
  end
  if not credential then return auth.refuse(conf, 401, "Unauthorized", challenge_of(conf)) end
  auth.accept(consumer, credential, username)
end

return Plugin

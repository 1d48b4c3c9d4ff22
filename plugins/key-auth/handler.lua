--- Lets those pass who know a key: in a header field, in the query or in the content.
local pdk = require "veloflux.pdk"
local keys = require "veloflux.plugins.key-auth.keys"
local auth, client, crypto = pdk.auth, pdk.client, pdk.crypto

local Plugin = { PRIORITY = 1250, VERSION = "1.0.0", FAIL_CLOSED = true }

local TYPE = "key-auth"
local SHOWN_DIGITS = 16

-- What follows from a configuration or a credential, for as long as that is there.
local challenges = setmetatable({}, { __mode = "k" })
local names = setmetatable({}, { __mode = "k" })

local function challenge_of(conf)
  local headers = challenges[conf]
  if not headers then
    headers = { ["WWW-Authenticate"] = conf.realm and ('Key realm="%s"'):format(conf.realm) or "Key" }
    challenges[conf] = headers
  end
  return headers
end

-- Tells keys of one consumer apart without telling the key: its own name, or the beginning of a hash.
local function name_of(credential, key)
  local name = credential.id or names[credential]
  if not name then
    name = crypto.hex_encode(crypto.hash("sha256", "key-auth\0" .. key)):sub(1, SHOWN_DIGITS)
    names[credential] = name
  end
  return name
end

function Plugin:access(conf)
  if auth.is_settled(conf) then return end
  local key, problem = keys.find(conf)
  if conf.hide_credentials then keys.hide(conf) end
  if not key then return auth.refuse(conf, 401, problem, challenge_of(conf)) end
  local credential, consumer = client.load_credential(TYPE, key)
  if not credential then return auth.refuse(conf, 401, "Unauthorized", challenge_of(conf)) end
  auth.accept(consumer, credential, name_of(credential, key))
end

return Plugin

--- Who asks: addresses, and the consumer once a plugin has authenticated it.
local encoding = require "veloflux.pdk.encoding"
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"

local wrong = phase.wrong

-- On first use: code that only refers to this group needs no tables.
local consumers, passwords, identity

---@class pdk.client
---@field tls pdk.client.tls
local M = {}

local ANY = phase.set("request", "certificate")
local HANDSHAKE = phase.set("certificate")
local IDENTIFY = phase.set("before")
local KNOWN = phase.set("request")

local function check(set, name)
  if not set[task.run.phase] then wrong(set, "client." .. name, 4) end
end

--- Returns the address of the peer that is connected to us.
---@return string
function M.get_ip()
  if not ANY[task.run.phase] then wrong(ANY, "client.get_ip") end
  return view.text_of(view.PEER_IP)
end

--- Returns the client's address, believing X-Forwarded-For of trusted proxies.
---@return string
function M.get_forwarded_ip()
  if not ANY[task.run.phase] then wrong(ANY, "client.get_forwarded_ip") end
  return view.text_of(view.CLIENT_IP)
end

--- Returns the port of the peer that is connected to us.
---@return integer
function M.get_port()
  check(ANY, "get_port")
  return tonumber(view.request().peer_port)
end

--- The client's port, when X-Forwarded-For of trusted proxies has one behind its address ("192.0.2.1:40000"); else
-- as get_port.
---@return integer
function M.get_forwarded_port()
  check(ANY, "get_forwarded_port")
  local port = tonumber(view.request().client_port)
  return port ~= 0 and port or M.get_port()
end

--- Returns the credential that the request was authenticated with, or nil.
---@return table|nil
function M.get_credential()
  check(KNOWN, "get_credential")
  return view.values().credential
end

--- Returns what tells the credential apart from others of its kind and is no secret, as pdk.auth.accept was
-- given it; nil when there is none.
---@return string|nil
function M.get_credential_identifier()
  check(KNOWN, "get_credential_identifier")
  return view.values().credential_identifier
end

--- Returns the consumer that the request was authenticated as, or nil.
---@return table|nil
function M.get_consumer()
  check(KNOWN, "get_consumer")
  return view.values().consumer
end

--- Returns "http" or "https", believing X-Forwarded-Proto of a trusted proxy when asked to; nil and a message when no
-- route was found.
---@param allow_terminated boolean|nil
---@return "http"|"https"|nil protocol, string|nil err
function M.get_protocol(allow_terminated)
  check(KNOWN, "get_protocol")
  if not require("veloflux.pdk.router").get_route() then return nil, "No active route found" end
  local request = view.request()
  if request.is_tls ~= 0 then return "https" end
  if allow_terminated and request.is_trusted ~= 0 then
    local value = view.field(view.REQUEST, "x-forwarded-proto")
    if value and value:lower() == "https" then return "https" end
  end
  return "http"
end

--- Returns the consumer of the route's tenant called `id`: {id, username, name, custom_id, groups, tenant}.
---@param id string
---@return table|nil consumer, string|nil err
function M.load_consumer(id)
  check(KNOWN, "load_consumer")
  if type(id) ~= "string" or id == "" then error("client.load_consumer: expected the name of a consumer", 2) end
  consumers = consumers or require "veloflux.runtime.consumers"
  return consumers.find_consumer(M.tenant(), id)
end

local function check_credential(name, kind, id)
  if not KNOWN[task.run.phase] then wrong(KNOWN, "client." .. name, 4) end
  if type(kind) ~= "string" then error("client." .. name .. ": expected the type of a credential", 3) end
  if type(id) ~= "string" then error("client." .. name .. ": expected what identifies a credential", 3) end
end

--- Returns the credential of the route's tenant that `id` identifies, and the consumer that it belongs to.
-- `id` is the field that the type `kind` names in its entities.lua, as the client says it; asks no other process.
---@param kind string "key-auth"
---@param id string
---@return table|nil credential {consumer, ...its other fields}, not to be written to
---@return table|nil consumer as load_consumer's
function M.load_credential(kind, id)
  check_credential("load_credential", kind, id)
  consumers = consumers or require "veloflux.runtime.consumers"
  local consumer, credential = consumers.identify(kind, M.tenant(), id)
  return credential, consumer
end

--- As load_credential, for types whose entities.lua names a password: the credential is returned when the
-- password is right. Waits the first time when the conf has the password as an Argon2id hash, and each time that it is
-- wrong when it has any password so: how long an answer takes does not tell who is known.
---@param kind string "basic-auth"
---@param id string
---@param password string
---@async
---@return table|nil credential nil: unknown, or another password
---@return table|nil consumer
---@return string|nil err it cannot be said now: too many are compared at this moment
function M.verify_password(kind, id, password)
  check_credential("verify_password", kind, id)
  if type(password) ~= "string" then error("client.verify_password: expected a password", 2) end
  consumers = consumers or require "veloflux.runtime.consumers"
  passwords = passwords or require "veloflux.runtime.passwords"
  local consumer, credential, says = consumers.identify(kind, M.tenant(), id)
  local stored = credential and says.password and credential[says.password]
  local is_right, err = passwords.verify(stored, password, says and says.decoy)
  if not is_right then return nil, nil, err end
  return credential, consumer
end

--- Returns the name of the tenant whose route answers; "default" where there is none.
---@return string
function M.tenant()
  check(KNOWN, "tenant")
  local name = view.text_of(view.TENANT)
  return name ~= nil and name ~= "" and name or "default"
end

--- A consumer's own plugin configurations go with the routes of its tenant, and they have to be known.
local function check_chain(consumer, chain)
  if consumer.tenant ~= M.tenant() then
    error(("client.authenticate: the consumer %s is of the tenant %s"):format(tostring(consumer.name),
      tostring(consumer.tenant)), 3)
  end
  identity = identity or require "veloflux.runtime.identity"
  if not identity.has_chain(chain) then identity.refuse_unknown(consumer) end
end

--- Notes who asks: consumer-scoped plugin configurations take part from here on, the access log names the
-- consumer. One of the two may be nil.
---@param consumer table|nil
---@param credential table|nil
function M.authenticate(consumer, credential)
  check(IDENTIFY, "authenticate")
  if consumer ~= nil and type(consumer) ~= "table" then error("client.authenticate: expected a consumer", 2) end
  if credential ~= nil and type(credential) ~= "table" then error("client.authenticate: expected a credential", 2) end
  if not consumer and not credential then
    error("client.authenticate: either credential or consumer must be provided", 2)
  end
  local values = view.values()
  values.consumer, values.credential = consumer, credential
  view.set_consumer(consumer and tostring(consumer.name or consumer.username or consumer.id or "") or "")
  local chain = consumer and consumer.chain
  if chain then check_chain(consumer, chain) end
  if chain ~= values.consumer_chain then
    values.consumer_chain = chain
    task.run.identified = 1
  end
end

--- TLS of the client's connection. On a plain one the functions return nil and a message.
---@class pdk.client.tls
M.tls = {}

local NOT_TLS = "not a TLS connection"

local function checked(name)
  if not ANY[task.run.phase] then wrong(ANY, "client.tls." .. name, 4) end
  local tls = view.tls()
  return tls.is_tls ~= 0 and tls or nil
end

local function in_handshake(result)
  if result ~= 0 then return nil, "the handshake is over" end
  return true
end

--- In the certificate phase: the client is asked for a certificate, which it need not have. Whose it is, the plugin has
-- to judge, unless the listener says `client_auth`. Its session is never resumed.
---@return true|nil ok, string|nil err
function M.tls.request_client_certificate()
  check(HANDSHAKE, "tls.request_client_certificate")
  if view.tls().is_tls == 0 then return nil, NOT_TLS end
  return in_handshake(view.ask_certificate())
end

--- In the certificate phase: the connection resumes no session, and gets no ticket to resume its own.
---@return true|nil ok, string|nil err
function M.tls.disable_session_reuse()
  check(HANDSHAKE, "tls.disable_session_reuse")
  if view.tls().is_tls == 0 then return nil, NOT_TLS end
  return in_handshake(view.forbid_tickets())
end

--- Returns what was agreed on: version ("TLSv1.3"), cipher ("TLS_AES_128_GCM_SHA256"), server_name (the host that the
-- client named, or nil) and is_resumed. In the certificate phase only the server_name is known.
---@return {version: string|nil, cipher: string|nil, server_name: string|nil, is_resumed: boolean}|nil info
---@return string|nil err
function M.tls.get_info()
  local tls = checked "get_info"
  if not tls then return nil, NOT_TLS end
  local name = view.text(tls.server_name)
  return { version = view.text(tls.version), cipher = view.text(tls.cipher), server_name = name ~= "" and name or nil,
    is_resumed = tls.is_resumed ~= 0 }
end

--- Splits DER values that stand one behind the other.
local function pem_of(der)
  local parts, at = {}, 1
  while at <= #der do
    local length, head = der:byte(at + 1), 2
    if length >= 0x80 then
      local bytes = length - 0x80
      length, head = 0, 2 + bytes
      for i = 1, bytes do length = length * 256 + der:byte(at + 1 + i) end
    end
    local text = encoding.base64_encode(der:sub(at, at + head + length - 1)):gsub(("."):rep(64), "%0\n")
    parts[#parts + 1] = ("-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"):format((text:gsub("\n$", "")))
    at = at + head + length
  end
  return table.concat(parts)
end

--- Returns the client's certificate chain in PEM, its own first; nil when it has sent none.
---@return string|nil pem, string|nil err
function M.tls.get_full_client_certificate_chain()
  if not checked "get_full_client_certificate_chain" then return nil, NOT_TLS end
  local der = view.client_chain()
  return der and pem_of(der)
end

--- Returns how the check of the client's certificate ended, by the authorities of the route, else of the listener:
-- "SUCCESS", "NONE" (it has sent none) or "FAILED:reason", such as FAILED:expired, FAILED:revoked, FAILED:not_trusted;
-- or what set_client_verify said.
---@return string|nil verify, string|nil err
function M.tls.get_client_verify()
  local tls = checked "get_client_verify"
  if not tls then return nil, NOT_TLS end
  local set = view.values().client_verify
  if set then return set end
  if tls.has_certificate == 0 then return "NONE" end
  local fault = view.text(tls.fault)
  return fault and fault ~= "" and "FAILED:" .. fault or "SUCCESS"
end

--- Overrides what is known of the client certificate's check: "SUCCESS", "NONE" or "FAILED:reason".
---@param value string
function M.tls.set_client_verify(value)
  checked "set_client_verify"
  if type(value) ~= "string" or not (value == "SUCCESS" or value == "NONE" or value:find "^FAILED:") then
    error('client.tls.set_client_verify: expected "SUCCESS", "NONE" or "FAILED:reason"', 2)
  end
  view.values().client_verify = value
end

return M

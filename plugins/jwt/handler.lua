--- Lets those pass who have a signed token (JSON Web Token, RFC 7519 and RFC 8725): signed with the key of a
-- consumer's credential, or with one that a server publishes.
local pdk = require "veloflux.pdk"
local claims_of = require "veloflux.plugins.jwt.claims"
local known = require "veloflux.plugins.jwt.known"
local settings_of = require "veloflux.plugins.jwt.settings"
local source = require "veloflux.plugins.jwt.source"
local tokens = require "veloflux.plugins.jwt.token"
local verify = require "veloflux.plugins.jwt.verify"
local auth, client, ctx, upstream = pdk.auth, pdk.client, pdk.ctx, pdk.service.request

local Plugin = { PRIORITY = 1450, VERSION = "1.0.0", FAIL_CLOSED = true }

local TYPE = "jwt"
local RETRY = { ["Retry-After"] = "1" }

-- Each step returns true, or nil and why not: {status, message, challenge}. -----------------------------------

local function invalid(message) return { status = 401, message = message, challenge = "invalid" } end

local MISSING = { status = 401, message = "Unauthorized", challenge = "missing" }
local NO_KEYS = { status = 503, message = "Service unavailable" }
local WRONG_TYPE, WRONG_ALGORITHM = invalid "Invalid token type", invalid "Invalid algorithm"
local WRONG_KEY, WRONG_SIGNATURE = invalid "Invalid key/secret", invalid "Invalid signature"
local WRONG_ISSUER, WRONG_AUDIENCE = invalid "Invalid issuer", invalid "Invalid audience"
local NO_CONSUMER = invalid "Could not find consumer"
local NO_SCOPE = { status = 403, message = "Insufficient scope", challenge = "scope" }

local function read(conf)
  local text, problem = source.find(conf)
  if not text then return nil, problem and invalid(problem) or MISSING end
  local token = known.find(text)
  if token then return token, nil, text end
  token, problem = tokens.parse(text)
  if not token then return nil, invalid("Bad token; " .. problem) end
  return token, nil, text
end

local function verifier_of(conf, settings, credential)
  local verifier = settings.verifiers[credential]
  if verifier == nil then
    verifier = verify.of_credential(credential, conf.secret_is_base64) or false
    settings.verifiers[credential] = verifier
  end
  return verifier
end

-- Finds the credential that a token names, and verifies with its key.
local function verify_with_credential(conf, settings, token, who)
  local name = conf.key_claim_name
  local key = token.claims[name]
  if key == nil then key = token.header[name] end
  if key == nil then return nil, invalid(("No mandatory '%s' in claims"):format(name)) end
  if type(key) ~= "string" or key == "" then return nil, invalid(("Invalid '%s' in claims"):format(name)) end
  local credential, consumer = client.load_credential(TYPE, key)
  if not credential then return nil, invalid(("No credentials found for given '%s'"):format(name)) end
  if token.header.alg ~= credential.algorithm then return nil, WRONG_ALGORITHM end
  local verifier = verifier_of(conf, settings, credential)
  if not verifier then
    pdk.log.err("the key of a credential is not usable: ", name, "=", key)
    return nil, WRONG_KEY
  end
  if not verify.is_signed(verifier, token) then return nil, WRONG_SIGNATURE end
  who.consumer, who.credential, who.identifier = consumer, credential, key
  return true
end

-- Verifies with the keys that a server publishes.
local function verify_with_keys(_, settings, token, who, now)
  if not settings.algorithms[token.header.alg] then return nil, WRONG_ALGORITHM end
  local verifiers = settings.keys:find(token.header, now)
  if not verifiers then return nil, NO_KEYS end
  for i = 1, #verifiers do
    if verify.is_signed(verifiers[i], token) then
      token.credential = token.credential or { key = token.header.kid, claims = token.claims }
      who.credential, who.identifier = token.credential, claims_of.text(token.claims.sub)
      return true
    end
  end
  return nil, verifiers[1] and WRONG_SIGNATURE or WRONG_KEY
end

local function check_claims(conf, settings, token, now)
  local claims = token.claims
  local errors = claims_of.check_times(claims, settings.required, now, settings.leeway_s)
  if errors then return nil, invalid(errors) end
  local longest = conf.maximum_expiration
  if longest > 0 and claims.exp - now > longest then
    return nil, invalid { exp = "exceeds maximum allowed expiration" }
  end
  if settings.issuers and not settings.issuers[claims.iss] then return nil, WRONG_ISSUER end
  if settings.audiences and not claims_of.has_audience(claims, settings.audiences) then return nil, WRONG_AUDIENCE end
  return true
end

local function check_scopes(conf, token)
  local wanted = conf.scopes_required
  if not wanted[1] then return true end
  token.scopes = token.scopes or claims_of.scopes(token.claims)
  for i = 1, #wanted do
    if not token.scopes[wanted[i]] then return nil, NO_SCOPE end
  end
  return true
end

-- With published keys a claim may name the consumer.
local function find_consumer(conf, token, who)
  if not conf.consumer_claim or who.consumer then return true end
  local name = token.claims[conf.consumer_claim]
  who.consumer = type(name) == "string" and name ~= "" and client.load_consumer(name) or nil
  if not who.consumer then return nil, NO_CONSUMER end
  return true
end

-- Returns the token and who has it: {consumer, credential, identifier}.
local function authenticate(conf, settings)
  local token, problem, text = read(conf)
  if not token then return nil, problem end
  if not tokens.has_type(token, settings.types) then return nil, WRONG_TYPE end
  local now = pdk.request.get_start_time() / 1000
  local who = {}
  local check = settings.keys and verify_with_keys or verify_with_credential
  local ok
  ok, problem = check(conf, settings, token, who, now)
  if not ok then return nil, problem end
  known.keep(text, token)
  ok, problem = check_claims(conf, settings, token, now)
  if ok then ok, problem = check_scopes(conf, token) end
  if ok then ok, problem = find_consumer(conf, token, who) end
  if not ok then return nil, problem end
  return token, who, text
end

-- What is told of a token ----------------------------------------------------------------------------------------

-- Takes away what a client may have said in the place of a token.
-- @param told fields that another instance has set for this request (field -> true), or nil
local function clear_headers(settings, told)
  for i = 1, #settings.headers do
    local header = settings.headers[i]
    if not (told and told[header.key]) then upstream.clear_header(header.field) end
  end
end

local function set_headers(settings, token)
  local n = #settings.headers
  if n == 0 then return end
  local told = ctx.shared.jwt_headers or {}
  ctx.shared.jwt_headers = told
  for i = 1, n do
    local header = settings.headers[i]
    token.texts = token.texts or {}
    local text = token.texts[header.claim]
    if text == nil then
      text = claims_of.text(token.claims[header.claim]) or false
      token.texts[header.claim] = text
    end
    if text then
      upstream.set_header(header.field, text)
      told[header.key] = true
    end
  end
end

local function share(conf, token, text)
  local shared = ctx.shared
  shared.authenticated_jwt_token = text
  shared.jwt_claims = token.claims
  if conf.groups_claim then
    token.groups = token.groups or {}
    local groups = token.groups[conf.groups_claim] or claims_of.words(token.claims[conf.groups_claim])
    token.groups[conf.groups_claim] = groups
    shared.authenticated_groups = groups
  end
end

local function refuse(conf, settings, problem)
  local headers = problem.challenge and settings.challenges[problem.challenge] or RETRY
  return auth.refuse(conf, problem.status, problem.message, headers)
end

-- Keys are fetched before the first request asks for them.
function Plugin:configure(configs)
  for _, conf in ipairs(configs or {}) do
    local keys = settings_of.of(conf).keys
    if keys then keys:start() end
  end
end

function Plugin:access(conf)
  local settings = settings_of.of(conf)
  if auth.is_settled(conf) then return clear_headers(settings, ctx.shared.jwt_headers) end
  clear_headers(settings)
  local token, who, text = authenticate(conf, settings)
  if not token then return refuse(conf, settings, who) end
  auth.accept(who.consumer, who.credential, who.identifier)
  share(conf, token, text)
  set_headers(settings, token)
end

return Plugin

--- Signatures against keys. The algorithm always comes with the key: a token that names another one is refused before
-- anything is computed, so a public key is never taken for a shared secret (RFC 8725 sections 2.1 and 3.1).
local pdk = require "veloflux.pdk"
local algorithms = require "veloflux.plugins.jwt.algorithms"
local crypto, encoding = pdk.crypto, pdk.encoding

local M = {}

-- Base64 of either alphabet, as Kong reads it.
local function from_base64(text)
  return encoding.base64_decode((text:gsub("[-_]", { ["-"] = "+", ["_"] = "/" })), true)
end

local function of_secret(credential, hash, is_base64)
  local secret = credential.secret
  if secret and is_base64 then secret = from_base64(secret) end
  if not secret or #secret < algorithms.SECRET_BYTES[credential.algorithm] then return nil end
  return { algorithm = credential.algorithm, hmac = crypto.hmac_key(hash, secret) }
end

--- Prepares the key of a credential.
---@param credential table {algorithm, secret, rsa_public_key}
---@param is_base64 boolean whether secrets are Base64
---@return table|nil verifier {algorithm, ...}; nil when its key is none
function M.of_credential(credential, is_base64)
  local hash = algorithms.HASHES[credential.algorithm]
  if hash then return of_secret(credential, hash, is_base64) end
  local key = credential.rsa_public_key and crypto.key(credential.rsa_public_key)
  if not key or not key:is_for(credential.algorithm) then return nil end
  return { algorithm = credential.algorithm, key = key }
end

--- Says whether a token is signed with a key, by its algorithm.
---@param verifier table {algorithm, hmac or key}
---@param token table
---@return boolean
function M.is_signed(verifier, token)
  if token.verified_with == verifier then return true end
  if token.header.alg ~= verifier.algorithm then return false end
  local is_good
  if verifier.hmac then
    is_good = verifier.hmac:verify(token.signed, token.signature)
  else
    is_good = verifier.key:verify(verifier.algorithm, token.signed, token.signature) == true
  end
  if is_good then token.verified_with = verifier end
  return is_good
end

return M

--- Tokens for specs, good ones and others.
require "support.library"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local keys = require "unit.pdk.crypto.keys"

local M = { SECRET = ("s"):rep(64) }

local HASHES = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }

--- Private keys in PEM by algorithm.
M.PRIVATE = { RS256 = keys.rsa, RS384 = keys.rsa, RS512 = keys.rsa, PS256 = keys.rsa, PS384 = keys.rsa,
  PS512 = keys.rsa, ES256 = keys.p256, ES384 = keys.p384, ES512 = keys.p521, EdDSA = keys.ed25519 }

local prepared = {}

--- Returns the key of an algorithm.
function M.key(algorithm)
  local pem = M.PRIVATE[algorithm]
  prepared[pem] = prepared[pem] or assert(crypto.key(pem))
  return prepared[pem]
end

local function base64(text)
  local out = {}
  for at = 1, #text, 48 do out[#out + 1] = crypto.base64_encode(text:sub(at, at + 47)) end
  return table.concat(out, "\n")
end

-- What stands in front of the public bytes of an Ed25519 key (RFC 8410).
local ED25519 = crypto.hex_decode "302a300506032b6570032100"

--- Returns the public half of an algorithm's key in PEM.
function M.public(algorithm)
  if algorithm == "EdDSA" then
    local der = ED25519 .. crypto.base64url_decode(M.key(algorithm):jwk().x)
    return "-----BEGIN PUBLIC KEY-----\n" .. base64(der) .. "\n-----END PUBLIC KEY-----\n"
  end
  return algorithm:find "^[RP]S" and keys.rsa_public or M.PUBLIC[algorithm]
end

-- What stands in front of the point of a P-256, P-384 or P-521 key (RFC 5480).
local CURVES = {
  ES256 = "3059301306072a8648ce3d020106082a8648ce3d030107034200",
  ES384 = "3076301006072a8648ce3d020106052b81040022036200",
  ES512 = "30819b301006072a8648ce3d020106052b8104002303818600",
}
M.PUBLIC = setmetatable({}, { __index = function(_, algorithm)
  local jwk = M.key(algorithm):jwk()
  local der = crypto.hex_decode(CURVES[algorithm]) .. "\4" .. crypto.base64url_decode(jwk.x) ..
    crypto.base64url_decode(jwk.y)
  return "-----BEGIN PUBLIC KEY-----\n" .. base64(der) .. "\n-----END PUBLIC KEY-----\n"
end })

local function part(value)
  return crypto.base64url_encode(type(value) == "table" and assert(json.encode(value)) or value)
end

--- Makes a token.
-- @param header table, or a text that need not be JSON; its alg says how it is signed
-- @param claims likewise
-- @param options table or nil: key (a secret, or a key that signs), algorithm that is used in place of the header's
function M.make(header, claims, options)
  options = options or {}
  local algorithm = options.algorithm or header.alg
  local signed = part(header) .. "." .. part(claims)
  local signature
  if HASHES[algorithm] then
    signature = crypto.hmac(HASHES[algorithm], options.key or M.SECRET, signed)
  else
    signature = assert((options.key or M.key(algorithm)):sign(algorithm, signed))
  end
  return signed .. "." .. crypto.base64url_encode(signature)
end

--- Makes a token of the credential "app", which is signed with HS256 and good for an hour.
function M.good(claims, header)
  local all = { iss = "app", exp = os.time() + 3600 }
  for name, value in pairs(claims or {}) do all[name] = value end
  local head = { alg = "HS256", typ = "JWT" }
  for name, value in pairs(header or {}) do head[name] = value end
  return M.make(head, all)
end

--- Returns a JWK with the public half of an algorithm's key and more members.
function M.jwk(algorithm, more)
  local jwk = M.key(algorithm):jwk()
  for name, value in pairs(more or {}) do jwk[name] = value end
  return jwk
end

return M

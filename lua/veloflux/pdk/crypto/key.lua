--- Keys that sign and verify, with the algorithms and names of JOSE (RFC 7518 section 3, RFC 8037):
-- RS256 RS384 RS512 (RSA, PKCS#1 v1.5), PS256 PS384 PS512 (RSA, PSS), ES256 ES384 ES512 (ECDSA on P-256,
-- P-384 and P-521) and EdDSA (Ed25519).
--
-- A key goes with its own algorithms alone: what a token says about itself never makes an RSA key verify
-- anything but RSA. RSA keys below 2048 bits are refused when they are made.
local ffi = require "ffi"
local jwk = require "veloflux.pdk.crypto.jwk"
local json = require "veloflux.pdk.json"

ffi.cdef [[
int vf_pkey_read(const char *data, size_t len, struct vf_pkey **out, const char **problem);
int vf_signature_sign(const struct vf_pkey *key, int scheme, int is_der, const char *data, size_t len,
                      uint8_t out[1024]);
int vf_signature_verify(const struct vf_pkey *key, int scheme, int is_der, const char *data, size_t len,
                        const char *signature, size_t signature_len);
]]
local C = ffi.C

---@class pdk.crypto.key
local M = {}

local SCHEMES = jwk.SCHEMES
local KIND_OF = { RS256 = 1, RS384 = 1, RS512 = 1, PS256 = 1, PS384 = 1, PS512 = 1,
  ES256 = 2, ES384 = 3, ES512 = 4, EdDSA = 5 }
local KINDS = { "RSA", "EC on P-256", "EC on P-384", "EC on P-521", "Ed25519" } -- enum vf_pkey_kind
local UV_EACCES = -13

local signature_room = ffi.new "uint8_t[1024]"
local out, problem = ffi.new "struct vf_pkey *[1]", ffi.new "const char *[1]"

local function expect_string(value, name)
  if type(value) ~= "string" then error(name .. ": expected a string, got " .. type(value), 3) end
end

local function is_der(format)
  if format == nil or format == "raw" then return 0 end
  if format == "der" then return 1 end
  error("format: expected raw or der, got " .. tostring(format), 3)
end

--- A key, prepared.
---@class pdk.crypto.Key: ffi.cdata*
local Key = {}

-- Returns the number of the scheme, or nil and why this key is not for it.
local function scheme_for(key, algorithm)
  local kind = KIND_OF[algorithm]
  if not kind then return nil, "unknown algorithm" end
  if kind ~= key.kind then
    return nil, algorithm .. " needs a key of another kind: this one is " .. KINDS[key.kind]
  end
  local scheme = SCHEMES[algorithm]
  if key.only ~= 0 and key.only ~= scheme then return nil, "the key is for another algorithm than " .. algorithm end
  return scheme
end

--- Signs `data`.
---@param algorithm string such as "RS256"
---@param data string
---@param format? "raw"|"der" of an ECDSA signature: r and s as JWS has them, which is the default, or DER
---@return string? signature nil when the key is public, or not for this algorithm
---@return string? err
function Key:sign(algorithm, data, format)
  expect_string(algorithm, "algorithm")
  expect_string(data, "data")
  local der = is_der(format)
  local scheme, err = scheme_for(self, algorithm)
  if not scheme then return nil, err end
  if self.is_private == 0 then return nil, "the key is public: it cannot sign" end
  local len = C.vf_signature_sign(self, scheme, der, data, #data, signature_room)
  if len < 0 then return nil, "signing failed" end
  return ffi.string(signature_room, len)
end

--- Verifies a signature.
---@param algorithm string such as "RS256": the one that is expected, or one of those that are
---@param data string
---@param signature string
---@param format? "raw"|"der" of an ECDSA signature
---@return boolean? is_valid true, or nil
---@return string? err "the signature is wrong", or why the key is not for this algorithm
function Key:verify(algorithm, data, signature, format)
  expect_string(algorithm, "algorithm")
  expect_string(data, "data")
  expect_string(signature, "signature")
  local der = is_der(format)
  local scheme, err = scheme_for(self, algorithm)
  if not scheme then return nil, err end
  local rc = C.vf_signature_verify(self, scheme, der, data, #data, signature, #signature)
  if rc == 0 then return true end
  return nil, rc == UV_EACCES and "the signature is wrong" or "verifying failed"
end

--- Returns true when the key is for `algorithm`.
---@param algorithm string
---@return boolean
function Key:is_for(algorithm)
  return scheme_for(self, algorithm) ~= nil
end

--- Returns true when the key has its private half: it signs, too.
---@return boolean
function Key:has_private()
  return self.is_private == 1
end

--- Returns what the key is: "RSA", "EC" or "OKP", the type of a JWK, and its curve.
---@return "RSA"|"EC"|"OKP" kind
---@return string? curve "P-256", "P-384", "P-521" or "Ed25519"
function Key:kind_name()
  return jwk.kind_name(self)
end

--- Returns the public half as the members of a JWK (RFC 7517).
---@return table<string, string>
function Key:jwk()
  return jwk.export(self)
end

--- Returns the thumbprint of the public half (RFC 7638): base64url of a SHA-256. Made for naming keys.
---@return string
function Key:thumbprint()
  return jwk.thumbprint(self)
end

Key.__index = Key

function Key:__tostring()
  return KINDS[self.kind] .. (self.is_private == 1 and " private key" or " public key")
end
ffi.metatype("struct vf_pkey", Key)

local function read(text)
  if C.vf_pkey_read(text, #text, out, problem) ~= 0 then return nil, ffi.string(problem[0]) end
  return ffi.gc(out[0], C.vf_pkey_free)
end

--- Prepares a key: costs from microseconds to some milliseconds, so keys are made once and kept.
-- PEM: private (PKCS#8, PKCS#1, SEC1; not encrypted), public (SPKI, PKCS#1), or the key of a certificate,
-- which itself is not judged. DER: the same, without PEM's armour. JWK: its members as a table or as JSON;
-- "alg" limits the key to that algorithm, and a JWK for encryption ("use", "key_ops") is refused.
---@param source string|table PEM, DER, or a JWK
---@return pdk.crypto.Key? key nil when it is no key, too weak, broken or of another kind
---@return string? err
function M.new(source)
  if type(source) == "table" then return jwk.import(source) end
  if type(source) ~= "string" then error("expected a PEM, DER or JWK key, got " .. type(source), 2) end
  if source:find "^%s*{" then
    local members, err = json.decode(source)
    if not members then return nil, err end
    return jwk.import(members)
  end
  return read(source)
end

return M

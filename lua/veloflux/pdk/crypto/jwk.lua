--- Keys as JSON Web Keys: RFC 7517, the numbers of RFC 7518 section 6 and RFC 8037, thumbprints of RFC 7638.
local ffi = require "ffi"
local digest = require "veloflux.pdk.crypto.digest"
local encoding = require "veloflux.pdk.encoding"

ffi.cdef [[
struct vf_pkey { void *evp; int32_t kind, is_private, bytes, only; };
struct vf_piece { const char *data; size_t len; };
int vf_pkey_new_rsa(const struct vf_piece parts[8], struct vf_pkey **out, const char **problem);
int vf_pkey_new_curve(int kind, const struct vf_piece parts[3], struct vf_pkey **out, const char **problem);
int vf_pkey_part(const struct vf_pkey *key, int part, uint8_t out[1024]);
void vf_pkey_free(struct vf_pkey *key);
]]
local C = ffi.C

local M = {}

-- enum vf_signature_scheme
M.SCHEMES = { RS256 = 1, RS384 = 2, RS512 = 3, PS256 = 4, PS384 = 5, PS512 = 6, ES256 = 7, ES384 = 8, ES512 = 9,
  EdDSA = 10 }
local KINDS = { EC = { ["P-256"] = 2, ["P-384"] = 3, ["P-521"] = 4 }, OKP = { Ed25519 = 5 } } -- enum vf_pkey_kind
local CURVES = { [2] = "P-256", [3] = "P-384", [4] = "P-521", [5] = "Ed25519" }
local N, E, X, Y = 0, 1, 2, 3 -- enum vf_pkey_part
local RSA, ED25519 = 1, 5
local RSA_PARTS = { "n", "e", "d", "p", "q", "dp", "dq", "qi" }
local CURVE_PARTS = { "x", "y", "d" }
local MOST_CHARACTERS = 2048 -- of a number: more than 8192 bits take

local room = ffi.new "uint8_t[1024]"
local out, problem = ffi.new "struct vf_pkey *[1]", ffi.new "const char *[1]"

-- Fills `parts` with the members called `names`. Returns the decoded strings, which have to live as long
-- as `parts` is used; or nil and a message.
local function decode(members, names, parts)
  local decoded = {}
  for i, name in ipairs(names) do
    local text, bytes = members[name], ""
    if text ~= nil then
      if type(text) ~= "string" or #text > MOST_CHARACTERS then return nil, name .. ": expected base64url" end
      bytes = encoding.base64url_decode(text)
      if not bytes or bytes == "" then return nil, name .. ": expected base64url" end
    end
    decoded[i] = bytes
    parts[i - 1].data, parts[i - 1].len = bytes, #bytes
  end
  return decoded
end

local function import_rsa(members)
  local parts = ffi.new "struct vf_piece[8]"
  if members.oth ~= nil then return nil, "an RSA key with more than two primes" end
  if members.n == nil or members.e == nil then return nil, "an RSA key without n or e" end
  local n_private = 0
  for i = 4, #RSA_PARTS do n_private = n_private + (members[RSA_PARTS[i]] ~= nil and 1 or 0) end
  if n_private ~= 0 and (n_private ~= 5 or members.d == nil) then
    return nil, "d, p, q, dp, dq and qi belong together" -- RFC 7518 section 6.3.2
  end
  local decoded, err = decode(members, RSA_PARTS, parts)
  if not decoded then return nil, err end
  if C.vf_pkey_new_rsa(parts, out, problem) ~= 0 then return nil, ffi.string(problem[0]) end
  return out[0], decoded
end

local function import_curve(members, kind)
  local parts = ffi.new "struct vf_piece[3]"
  if members.x == nil or (kind ~= ED25519 and members.y == nil) then return nil, "a key without x or y" end
  local decoded, err = decode(members, CURVE_PARTS, parts)
  if not decoded then return nil, err end
  if C.vf_pkey_new_curve(kind, parts, out, problem) ~= 0 then return nil, ffi.string(problem[0]) end
  return out[0], decoded
end

local function import_any(members)
  if members.kty == "RSA" then return import_rsa(members) end
  local curves = KINDS[members.kty]
  if not curves then return nil, "kty: expected RSA, EC or OKP" end
  local kind = curves[members.crv]
  if not kind then return nil, "crv: expected P-256, P-384, P-521 or Ed25519, that of its kty" end
  return import_curve(members, kind)
end

-- Returns why a JWK is not for signatures, or nil (RFC 7517 sections 4.2 to 4.4).
local function other_use(members)
  if members.use ~= nil and members.use ~= "sig" then return "use: expected sig" end
  if members.alg ~= nil and not M.SCHEMES[members.alg] then return "alg: not for signatures with this key" end
  if members.key_ops == nil then return nil end
  for _, operation in ipairs(type(members.key_ops) == "table" and members.key_ops or {}) do
    if operation == "sign" or operation == "verify" then return nil end
  end
  return "key_ops: expected sign or verify"
end

--- Makes a key of the members of a JWK; or returns nil and a message.
---@param members table
---@return ffi.cdata*? key
---@return string? err
function M.import(members)
  local err = other_use(members)
  if err then return nil, "not a JWK that signs: " .. err end
  local key
  key, err = import_any(members)
  if not key then return nil, "not a JWK that signs: " .. err end
  key = ffi.gc(key, C.vf_pkey_free)
  if members.alg ~= nil then
    key.only = M.SCHEMES[members.alg]
    if not key:is_for(members.alg) then return nil, "not a JWK that signs: alg: not for this kind of key" end
  end
  return key
end

local function part(key, which)
  local len = C.vf_pkey_part(key, which, room)
  if len < 0 then error("the key has no such number", 0) end
  return encoding.base64url_encode(ffi.string(room, len))
end

--- Returns the type of a key and its curve.
function M.kind_name(key)
  if key.kind == RSA then return "RSA" end
  return key.kind == ED25519 and "OKP" or "EC", CURVES[key.kind]
end

--- Returns the members of the public half.
function M.export(key)
  local kty, crv = M.kind_name(key)
  if kty == "RSA" then return { kty = kty, n = part(key, N), e = part(key, E) } end
  return { kty = kty, crv = crv, x = part(key, X), y = kty == "EC" and part(key, Y) or nil }
end

-- The members that count, in their order (RFC 7638 section 3.2); none has a character to escape.
local FORMS = { RSA = '{"e":"%s","kty":"RSA","n":"%s"}', EC = '{"crv":"%s","kty":"EC","x":"%s","y":"%s"}',
  OKP = '{"crv":"%s","kty":"OKP","x":"%s"}' }

--- Returns the thumbprint of the public half.
function M.thumbprint(key)
  local members = M.export(key)
  local form = FORMS[members.kty]
  local text = members.kty == "RSA" and form:format(members.e, members.n)
    or form:format(members.crv, members.x, members.y)
  return encoding.base64url_encode(digest.hash("sha256", text))
end

return M

--- Cryptography for plugins: hashes and HMAC, AES-GCM, signatures, random bytes, and bytes as text.
--
-- Nothing here yields. What is wrong with data (a signature, a text that was changed) is nil and a
-- message; an argument of the wrong type is the caller's mistake and raises an error. Keys are
-- prepared once, kept (per plugin configuration, say) and used many times.
local ffi = require "ffi"
local scratch = require "veloflux.scratch"
local encoding = require "veloflux.pdk.encoding"
local digest = require "veloflux.pdk.crypto.digest"
local cipher = require "veloflux.pdk.crypto.cipher"
local key = require "veloflux.pdk.crypto.key"

ffi.cdef [[
int vf_random(uint8_t *out, size_t len);
int vf_uuid(char out[36]);
int vf_equals(const char *a, const char *b, size_t len);
int vf_password_hash(const char *password, size_t len, char out[128]);
int vf_password_verify(const char *encoded, const char *password, size_t len);
]]
local C = ffi.C

local UUID_CHARACTERS = 36
local MOST_RANDOM = 1024 * 1024
local UV_EACCES, UV_EINVAL = -13, -22

---@class pdk.crypto
local M = {
  hash = digest.hash,
  hasher = digest.hasher,
  hmac = digest.hmac,
  hmac_key = digest.hmac_key,
  hkdf = digest.hkdf,
  pbkdf2 = digest.pbkdf2,
  aes_gcm = cipher.aes_gcm,
  key = key.new,
  base64_encode = encoding.base64_encode,
  base64_decode = encoding.base64_decode,
  base64url_encode = encoding.base64url_encode,
  base64url_decode = encoding.base64url_decode,
  hex_encode = encoding.hex_encode,
  hex_decode = encoding.hex_decode,
}

local uuid_room = ffi.new("char[?]", UUID_CHARACTERS)
local encoded_room = ffi.new "char[128]"

local function expect_string(value, name)
  if type(value) ~= "string" then error(name .. ": expected a string, got " .. type(value), 3) end
end

--- Compares two secrets in a time that tells their lengths alone.
---@param a string
---@param b string
---@return boolean
function M.equals(a, b)
  expect_string(a, "a")
  expect_string(b, "b")
  return #a == #b and C.vf_equals(a, b, #a) == 1
end

--- Returns bytes that nobody can guess.
---@param count integer at most 1,048,576
---@return string
function M.random_bytes(count)
  if type(count) ~= "number" or count % 1 ~= 0 or count < 0 or count > MOST_RANDOM then
    error("count: expected a whole number up to 1048576, got " .. tostring(count), 2)
  end
  local out = scratch.bytes(count)
  if C.vf_random(out, count) ~= 0 then error("no random bytes", 0) end
  return ffi.string(out, count)
end

--- Returns a random UUID (version 4, RFC 9562), in lower case.
---@return string
function M.uuid()
  if C.vf_uuid(uuid_room) ~= 0 then error("no random bytes", 0) end
  return ffi.string(uuid_room, UUID_CHARACTERS)
end

--- Hashes a password for keeping (Argon2id, RFC 9106). Blocks the process for tens of milliseconds and
-- takes 20 MiB: for start and administration, not for requests.
---@param password string
---@return string? encoded "$argon2id$..."; nil when there is no memory
---@return string? err
function M.password_hash(password)
  expect_string(password, "password")
  if C.vf_password_hash(password, #password, encoded_room) ~= 0 then return nil, "cannot hash a password" end
  return ffi.string(encoded_room)
end

--- Compares a password with what `password_hash` made; costs the same.
---@param encoded string
---@param password string
---@return boolean? is_right nil when `encoded` is no Argon2id hash
---@return string? err
function M.password_verify(encoded, password)
  expect_string(encoded, "encoded")
  expect_string(password, "password")
  local rc = C.vf_password_verify(encoded, password, #password)
  if rc == 0 then return true end
  if rc == UV_EACCES then return false end
  if rc == UV_EINVAL then return nil, "not an Argon2id hash" end
  return nil, "out of memory"
end

return M

--- Hashes, HMAC and what derives keys with them. Algorithms go by name: "sha256", "sha384", "sha512";
-- "sha1" where an old protocol wants it, and "md5" for checksums only.
local ffi = require "ffi"

ffi.cdef [[
struct vf_digest;
struct vf_digest *vf_digest_new(int algorithm, const char *key, size_t key_len);
void vf_digest_free(struct vf_digest *digest);
int vf_digest_update(struct vf_digest *digest, const char *data, size_t len);
int vf_digest_finish(struct vf_digest *digest, uint8_t out[64]);
int vf_digest_of(struct vf_digest *digest, const char *data, size_t len, uint8_t out[64]);
int vf_digest_hash(int algorithm, const char *data, size_t len, uint8_t out[64]);
int vf_hmac(int algorithm, const char *key, size_t key_len, const char *data, size_t len, uint8_t out[64]);
int vf_hkdf(int algorithm, const char *salt, size_t salt_len, const char *key, size_t key_len,
            const char *info, size_t info_len, uint8_t *out, size_t out_len);
int vf_pbkdf2(int algorithm, const char *password, size_t password_len, const char *salt, size_t salt_len,
              unsigned iterations, uint8_t *out, size_t out_len);
int vf_equals(const char *a, const char *b, size_t len);
]]
local C = ffi.C
local to_string = ffi.string

---@class pdk.crypto.digest
local M = {}

local HASHES = { md5 = 1, sha1 = 2, sha256 = 3, sha384 = 4, sha512 = 5 } -- enum vf_digest_algorithm
local BYTES = { sha1 = 20, sha256 = 32, sha384 = 48, sha512 = 64 } -- of those that may be keyed
local MOST_ITERATIONS = 2000000 -- seconds
local MOST_BYTES = 1024 -- derived from a password

local out = ffi.new "uint8_t[64]" -- reused: copied out at once

local function hash_of(name)
  local algorithm = HASHES[name]
  if not algorithm then
    error("expected md5, sha1, sha256, sha384 or sha512, got " .. tostring(name), 3)
  end
  return algorithm
end

local function keyed_hash_of(name)
  if not BYTES[name] then error("expected sha1, sha256, sha384 or sha512, got " .. tostring(name), 3) end
  return HASHES[name]
end

local function expect_string(value, name)
  if type(value) ~= "string" then error(name .. ": expected a string, got " .. type(value), 3) end
end

local function expect_count(value, name, most)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most then
    error(("%s: expected a whole number from 1 to %d, got %s"):format(name, most, tostring(value)), 3)
  end
end

local function result(len)
  if len < 0 then error("the hash failed", 0) end -- cannot happen for texts in memory
  return to_string(out, len)
end

--- Returns the hash of `data` as bytes.
---@param algorithm string
---@param data string
---@return string
function M.hash(algorithm, data)
  local number = hash_of(algorithm)
  expect_string(data, "data")
  return result(C.vf_digest_hash(number, data, #data, out))
end

--- Returns the HMAC of `data` under `key` as bytes.
---@param algorithm string not md5
---@param key string
---@param data string
---@return string
function M.hmac(algorithm, key, data)
  local number = keyed_hash_of(algorithm)
  expect_string(key, "key")
  expect_string(data, "data")
  return result(C.vf_hmac(number, key, #key, data, #data, out))
end

--- A hash or HMAC that takes its text in pieces, and may be used again and again.
---@class pdk.crypto.Digest: ffi.cdata*
local Digest = {}

--- Adds a piece of the text.
---@param data string
---@return pdk.crypto.Digest self
function Digest:update(data)
  expect_string(data, "data")
  if C.vf_digest_update(self, data, #data) ~= 0 then error("the hash failed", 0) end
  return self
end

--- Returns the result for all pieces as bytes, and begins anew.
---@return string
function Digest:final()
  return result(C.vf_digest_finish(self, out))
end

--- Returns the result for `data` alone as bytes; earlier pieces are forgotten.
---@param data string
---@return string
function Digest:of(data)
  expect_string(data, "data")
  return result(C.vf_digest_of(self, data, #data, out))
end

--- Returns true when `digest` is the whole result for `data`; in a time that does not tell how much of it
-- is right. Earlier pieces are forgotten.
---@param data string
---@param digest string
---@return boolean
function Digest:verify(data, digest)
  expect_string(data, "data")
  expect_string(digest, "digest")
  local len = C.vf_digest_of(self, data, #data, out)
  if len < 0 then error("the hash failed", 0) end
  return #digest == len and C.vf_equals(digest, ffi.cast("const char *", out), len) == 1
end

Digest.__index = Digest
ffi.metatype("struct vf_digest", Digest)

local function new(algorithm, key, len)
  local digest = C.vf_digest_new(algorithm, key, len)
  if digest == nil then error("out of memory", 0) end
  return ffi.gc(digest, C.vf_digest_free)
end

--- Makes a hash that takes its text in pieces.
---@param algorithm string
---@return pdk.crypto.Digest
function M.hasher(algorithm)
  return new(hash_of(algorithm), nil, 0)
end

--- Prepares an HMAC key: `:of` and `:verify` with it are faster than `hmac`.
---@param algorithm string not md5
---@param key string
---@return pdk.crypto.Digest
function M.hmac_key(algorithm, key)
  local number = keyed_hash_of(algorithm)
  expect_string(key, "key")
  return new(number, key, #key)
end

--- Derives key material from key material (HKDF, RFC 5869).
---@param algorithm string not md5
---@param key string what has the entropy; for passwords there is pbkdf2
---@param length integer bytes wanted, at most 255 times the length of the hash
---@param salt? string
---@param info? string what the result is for
---@return string
function M.hkdf(algorithm, key, length, salt, info)
  local number = keyed_hash_of(algorithm)
  salt, info = salt or "", info or ""
  expect_string(key, "key")
  expect_string(salt, "salt")
  expect_string(info, "info")
  expect_count(length, "length", 255 * BYTES[algorithm])
  local derived = ffi.new("uint8_t[?]", length)
  if C.vf_hkdf(number, salt, #salt, key, #key, info, #info, derived, length) ~= 0 then error("HKDF failed", 0) end
  return to_string(derived, length)
end

--- Derives key material from a password (PBKDF2, RFC 8018 section 5.2). Blocks the process for about a
-- microsecond an iteration: for start and administration, not for requests.
---@param algorithm string not md5
---@param password string
---@param salt string
---@param iterations integer at most 2,000,000
---@param length integer bytes wanted, at most 1024
---@return string
function M.pbkdf2(algorithm, password, salt, iterations, length)
  local number = keyed_hash_of(algorithm)
  expect_string(password, "password")
  expect_string(salt, "salt")
  expect_count(iterations, "iterations", MOST_ITERATIONS)
  expect_count(length, "length", MOST_BYTES)
  local derived = ffi.new("uint8_t[?]", length)
  if C.vf_pbkdf2(number, password, #password, salt, #salt, iterations, derived, length) ~= 0 then
    error("PBKDF2 failed", 0)
  end
  return to_string(derived, length)
end

return M

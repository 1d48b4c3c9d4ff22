--- AES-GCM: texts that are both hidden and proven unchanged (NIST SP 800-38D).
local ffi = require "ffi"
local scratch = require "veloflux.scratch"

ffi.cdef [[
struct vf_gcm;
struct vf_gcm *vf_gcm_new(const char *key, size_t len);
void vf_gcm_free(struct vf_gcm *gcm);
int vf_gcm_encrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad, size_t aad_len,
                   const char *text, size_t len, uint8_t *out, uint8_t tag[16]);
int vf_gcm_decrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad, size_t aad_len,
                   const char *text, size_t len, const char *tag, uint8_t *out);
int vf_random(uint8_t *out, size_t len);
]]
local C = ffi.C
local to_string = ffi.string

local NONCE_BYTES, TAG_BYTES = 12, 16
local MOST_NONCE_BYTES = 128
local WRONG = "not encrypted with this key, or changed"

---@class pdk.crypto.cipher
local M = {}

local nonce_room, tag_room = ffi.new("uint8_t[?]", NONCE_BYTES), ffi.new("uint8_t[?]", TAG_BYTES)
local pointer = ffi.typeof "const char *"

local function expect_string(value, name)
  if type(value) ~= "string" then error(name .. ": expected a string, got " .. type(value), 3) end
end

local function expect_nonce(value)
  if type(value) ~= "string" then error("nonce: expected a string, got " .. type(value), 3) end
  if #value < NONCE_BYTES or #value > MOST_NONCE_BYTES then
    error("nonce: expected 12 to 128 bytes, got " .. #value, 3)
  end
end

--- A key, prepared: see aes_gcm.
---@class pdk.crypto.Cipher: ffi.cdata*
local Cipher = {}

--- Encrypts under a nonce of the caller's, who never uses it twice with this key: two texts under one
-- nonce reveal both. Without a reason to choose it, use `seal`.
---@param plaintext string
---@param nonce string 12 bytes, or more
---@param aad? string what the tag covers too, but is not encrypted
---@return string ciphertext as long as the plaintext
---@return string tag 16 bytes
function Cipher:encrypt(plaintext, nonce, aad)
  aad = aad or ""
  expect_string(plaintext, "plaintext")
  expect_string(aad, "aad")
  expect_nonce(nonce)
  local len = #plaintext
  local out = scratch.bytes(len)
  if C.vf_gcm_encrypt(self, nonce, #nonce, aad, #aad, plaintext, len, out, tag_room) ~= 0 then
    error("AES-GCM failed", 0)
  end
  return to_string(out, len), to_string(tag_room, TAG_BYTES)
end

--- Decrypts what `encrypt` made, here or elsewhere.
---@param ciphertext string
---@param nonce string
---@param tag string 16 bytes; a shorter one is refused
---@param aad? string
---@return string? plaintext nil when these do not belong together
---@return string? err
function Cipher:decrypt(ciphertext, nonce, tag, aad)
  aad = aad or ""
  expect_string(ciphertext, "ciphertext")
  expect_string(nonce, "nonce")
  expect_string(tag, "tag")
  expect_string(aad, "aad")
  if #tag ~= TAG_BYTES or #nonce < NONCE_BYTES or #nonce > MOST_NONCE_BYTES then return nil, WRONG end
  local len = #ciphertext
  local out = scratch.bytes(len)
  if C.vf_gcm_decrypt(self, nonce, #nonce, aad, #aad, ciphertext, len, tag, out) ~= 0 then return nil, WRONG end
  return to_string(out, len)
end

--- Encrypts under a random nonce. One key is good for some 2^32 texts (SP 800-38D section 8.3).
---@param plaintext string
---@param aad? string what the result is bound to, but does not contain
---@return string sealed nonce, ciphertext and tag: 28 bytes longer than the plaintext
function Cipher:seal(plaintext, aad)
  aad = aad or ""
  expect_string(plaintext, "plaintext")
  expect_string(aad, "aad")
  local len = #plaintext
  local out = scratch.bytes(NONCE_BYTES + len + TAG_BYTES)
  if C.vf_random(nonce_room, NONCE_BYTES) ~= 0 then error("no random bytes", 0) end
  ffi.copy(out, nonce_room, NONCE_BYTES)
  if C.vf_gcm_encrypt(self, ffi.cast(pointer, nonce_room), NONCE_BYTES, aad, #aad, plaintext, len, out + NONCE_BYTES,
      out + NONCE_BYTES + len) ~= 0 then
    error("AES-GCM failed", 0)
  end
  return to_string(out, NONCE_BYTES + len + TAG_BYTES)
end

--- Opens what `seal` made.
---@param sealed string
---@param aad? string
---@return string? plaintext nil when it was not sealed with this key and aad, or was changed
---@return string? err
function Cipher:open(sealed, aad)
  aad = aad or ""
  expect_string(sealed, "sealed")
  expect_string(aad, "aad")
  local len = #sealed - NONCE_BYTES - TAG_BYTES
  if len < 0 then return nil, WRONG end
  local at = ffi.cast(pointer, sealed)
  local out = scratch.bytes(len)
  if C.vf_gcm_decrypt(self, at, NONCE_BYTES, aad, #aad, at + NONCE_BYTES, len, at + NONCE_BYTES + len, out) ~= 0 then
    return nil, WRONG
  end
  return to_string(out, len)
end

Cipher.__index = Cipher
ffi.metatype("struct vf_gcm", Cipher)

--- Prepares a key for AES-GCM.
---@param key string 16 bytes (AES-128) or 32 (AES-256)
---@return pdk.crypto.Cipher? cipher nil when the key has another length
---@return string? err
function M.aes_gcm(key)
  expect_string(key, "key")
  if #key ~= 16 and #key ~= 32 then return nil, "expected a key of 16 or 32 bytes, got " .. #key end
  local gcm = C.vf_gcm_new(key, #key)
  if gcm == nil then error("out of memory", 0) end
  return ffi.gc(gcm, C.vf_gcm_free)
end

return M

--- The master key of a node, or of several with the same: what sticky cookies are signed with comes
-- from it. It is the setting master_key, or 32 random bytes in data_dir/master.key (0600), made once.
local ffi = require "ffi"

ffi.cdef [[
int vf_random(uint8_t *out, size_t len);
int vf_hmac_sha256(const char *key, size_t key_len, const char *data, size_t len, uint8_t digest[32]);
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_make_folder(const char *path, uint32_t mode);
int vf_seal(const uint8_t key[32], const char *data, size_t len, uint8_t *out);
int vf_unseal(const uint8_t key[32], const uint8_t *sealed, size_t len, char *out);
]]
local C = ffi.C

local M = {}

local KEY_BYTES = 32
local PRIVATE, FOLDER = tonumber("600", 8), tonumber("750", 8)
local EEXIST = -17

local function read(path)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local key = file:read "*a"
  file:close()
  if not key or #key < 16 then return nil, path .. ": not a key" end
  return key
end

local function make(path)
  local bytes = ffi.new("uint8_t[?]", KEY_BYTES)
  if C.vf_random(bytes, KEY_BYTES) ~= 0 then return nil, "no random bytes" end
  local rc = C.vf_file_create(path, ffi.cast("const char *", bytes), KEY_BYTES, PRIVATE)
  if rc ~= 0 and rc ~= EEXIST then return nil, ("%s: cannot be created (error %d)"):format(path, -rc) end
  return read(path)
end

--- Returns the key of a data directory, making one when there is none; or nil and a message.
function M.of_folder(data_dir)
  local path = data_dir .. "/master.key"
  local file = io.open(path, "rb")
  if file then
    file:close()
    return read(path)
  end
  local rc = C.vf_file_make_folder(data_dir, FOLDER)
  if rc ~= 0 then return nil, ("%s: cannot be created (error %d)"):format(data_dir, -rc) end
  return make(path)
end

--- Returns the master key of the node: the setting, else that of its data directory; or nil and a message.
function M.master(node)
  if node.master_key then return node.master_key end
  return M.of_folder(node.data_dir)
end

--- Derives a key for one purpose from the master key (HMAC-SHA-256).
-- @return 32 bytes
function M.derive(master, purpose)
  local digest = ffi.new("uint8_t[?]", KEY_BYTES)
  if C.vf_hmac_sha256(master, #master, purpose, #purpose, digest) ~= 0 then error("HMAC-SHA-256 failed", 0) end
  return ffi.string(digest, KEY_BYTES)
end

local EXTRA = 28 -- VF_SEAL_EXTRA_BYTES

local function to_hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function from_hex(text)
  return (text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- Returns two functions for texts that lie in a data directory: seal(text) -> hexadecimal text, and
-- unseal(hexadecimal text) -> text, nil when it was not sealed there. Or nil and a message.
function M.sealer(data_dir)
  local master, problem = M.of_folder(data_dir)
  if not master then return nil, problem end
  local key = M.derive(master, "veloflux sealed text")
  local function seal(text)
    local out = ffi.new("uint8_t[?]", #text + EXTRA)
    if C.vf_seal(key, text, #text, out) ~= 0 then error("sealing failed", 0) end
    return to_hex(ffi.string(out, #text + EXTRA))
  end
  local function unseal(hex)
    local sealed = from_hex(hex)
    local out = ffi.new("char[?]", #sealed + 1)
    if C.vf_unseal(key, sealed, #sealed, out) ~= 0 then return nil end
    return ffi.string(out, #sealed - EXTRA)
  end
  return seal, unseal
end

--- Returns the key of sticky cookies, or nil and a message.
function M.sticky(node)
  local master, problem = M.master(node)
  if not master then return nil, problem end
  return M.derive(master, "veloflux sticky cookie")
end

return M

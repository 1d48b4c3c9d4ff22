--- The master key of a node, or of several with the same: what sticky cookies are signed with comes
-- from it. It is the setting master_key, or 32 random bytes in data_dir/master.key (0600), made once.
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"

ffi.cdef [[
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_make_folder(const char *path, uint32_t mode);
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
  local rc = C.vf_file_create(path, crypto.random_bytes(KEY_BYTES), KEY_BYTES, PRIVATE)
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
  return crypto.hmac("sha256", master, purpose)
end

--- Returns two functions for texts that lie in a data directory: seal(text) -> hexadecimal text, and
-- unseal(hexadecimal text) -> text, nil when it was not sealed there. Or nil and a message.
function M.sealer(data_dir)
  local master, problem = M.of_folder(data_dir)
  if not master then return nil, problem end
  local cipher = assert(crypto.aes_gcm(M.derive(master, "veloflux sealed text")))
  local function seal(text) return crypto.hex_encode(cipher:seal(text)) end
  local function unseal(hex)
    local sealed = crypto.hex_decode(hex)
    return sealed and (cipher:open(sealed))
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

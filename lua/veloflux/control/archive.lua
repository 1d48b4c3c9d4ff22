--- The file format of a backup: lines of text, encrypted and checksummed.
--
--   "VFBACK1\n"
--   length, header    JSON: how the key is derived
--   length, chunk     of lines, AES-256-GCM; its tag covers the header, its number and whether it is the last
--   ...
--   0, SHA-256        of all that stands before
--
-- Lengths are 32 bits, big-endian. The checksum finds damage before any key is asked for, so that damage and a wrong
-- key are told apart; that nobody has changed or shortened the archive is what the tags say.
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local keys = require "veloflux.keys"

ffi.cdef [[
int vf_password_derive(const char *password, size_t len, const char *salt, size_t salt_len, uint32_t passes,
                       uint32_t memory_kib, uint8_t out[32]);
]]
local C = ffi.C

local M = {}

local MAGIC = "VFBACK1\n"
local CHUNK_BYTES = 64 * 1024
local DIGEST_BYTES, SALT_BYTES, KEY_BYTES, LENGTH_BYTES = 32, 16, 32, 4
local MAX_HEADER = 1024
-- Argon2id as for passwords; what an archive may ask of who reads it.
local PASSES, MEMORY_KIB, MAX_PASSES, MAX_MEMORY_KIB = 2, 19 * 1024, 4, 64 * 1024
local MIN_PASSPHRASE, MAX_PASSPHRASE = 8, 1024

local key_room = ffi.new("uint8_t[?]", KEY_BYTES)

local function pack(number)
  return string.char(math.floor(number / 2 ^ 24) % 256, math.floor(number / 2 ^ 16) % 256,
    math.floor(number / 2 ^ 8) % 256, number % 256)
end

local function unpack_length(text, at)
  local a, b, c, d = text:byte(at, at + LENGTH_BYTES - 1)
  return d and ((a * 256 + b) * 256 + c) * 256 + d
end

-- Keys ----------------------------------------------------------------------------------------------

--- Says what is wrong with a passphrase, or nil.
function M.passphrase_problem(text)
  if type(text) ~= "string" or #text < MIN_PASSPHRASE or #text > MAX_PASSPHRASE then
    return ("expected a text of %d to %d bytes"):format(MIN_PASSPHRASE, MAX_PASSPHRASE)
  end
end

local function is_whole(value, most)
  return type(value) == "number" and value % 1 == 0 and value >= 1 and value <= most
end

--- Derives the root key that a header tells of. Returns it, or nil and a message.
local function root_of(kdf, secrets)
  local salt = type(kdf) == "table" and type(kdf.salt) == "string" and crypto.hex_decode(kdf.salt)
  if not salt or #salt ~= SALT_BYTES then return nil, "the header of the backup does not say how its key is made" end
  if kdf.name == "master" then return crypto.hmac("sha256", secrets.master, "veloflux backup" .. salt) end
  if kdf.name ~= "argon2id" or not is_whole(kdf.passes, MAX_PASSES) or
    not is_whole(kdf.memory_kib, MAX_MEMORY_KIB) then
    return nil, "the key of the backup is made in a way that this version does not know"
  end
  if not secrets.passphrase then return nil, "the backup is encrypted with a passphrase, and none was given" end
  local rc = C.vf_password_derive(secrets.passphrase, #secrets.passphrase, salt, #salt, kdf.passes, kdf.memory_kib,
    key_room)
  if rc ~= 0 then return nil, ("the key of the backup cannot be derived (error %d)"):format(-rc) end
  return ffi.string(key_room, KEY_BYTES)
end

local function ciphers_of(root)
  return assert(crypto.aes_gcm(keys.derive(root, "archive"))), assert(crypto.aes_gcm(keys.derive(root, "secrets")))
end

--- What the tag of a chunk covers beside the chunk.
local function label(header, index, is_last)
  return crypto.hash("sha256", header) .. pack(index) .. (is_last and "\1" or "\0")
end

-- Writing -------------------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

--- Begins an archive.
-- @param secrets {passphrase} or {master = the node's key}: the passphrase counts when there is one
-- @return the writer, or nil and a message
function M.writer(secrets)
  local kdf = { name = "master", salt = crypto.hex_encode(crypto.random_bytes(SALT_BYTES)) }
  if secrets.passphrase then kdf.name, kdf.passes, kdf.memory_kib = "argon2id", PASSES, MEMORY_KIB end
  local root, problem = root_of(kdf, secrets)
  if not root then return nil, problem end
  local header = json.encode { cipher = "aes-256-gcm", kdf = kdf }
  local cipher, inner = ciphers_of(root)
  return setmetatable({ header = header, cipher = cipher, inner = inner, lines = {}, bytes = 0, count = 0,
    parts = { MAGIC, pack(#header), header } }, Writer)
end

--- Seals a secret within a line. Returns hexadecimal text.
function Writer:seal(text) return crypto.hex_encode(self.inner:seal(text)) end

local function flush(self, is_last)
  self.count = self.count + 1
  local sealed = self.cipher:seal(table.concat(self.lines), label(self.header, self.count, is_last))
  table.insert(self.parts, pack(#sealed))
  table.insert(self.parts, sealed)
  self.lines, self.bytes = {}, 0
end

--- Adds a line, without its end.
function Writer:add(line)
  self.lines[#self.lines + 1] = line .. "\n"
  self.bytes = self.bytes + #line + 1
  if self.bytes >= CHUNK_BYTES then flush(self, false) end
end

--- Returns the archive.
function Writer:finish()
  flush(self, true)
  table.insert(self.parts, pack(0))
  local body = table.concat(self.parts)
  return body .. crypto.hash("sha256", body)
end

-- Reading -------------------------------------------------------------------------------------------

local function refusal(code, message) return nil, { code = code, message = message } end

--- Finds the pieces of an archive. Returns the header and a list of chunks, or nil and {code, message}.
local function split(bytes)
  if bytes:sub(1, #MAGIC) ~= MAGIC:sub(1, #bytes) or bytes == "" then
    return refusal("format", "this is no backup, or its first bytes are damaged")
  end
  local truncated = "the backup is truncated, or one of its lengths is damaged"
  local at, pieces = #MAGIC + 1, {}
  while true do
    local length = unpack_length(bytes, at)
    if not length then return refusal("truncated", truncated) end
    at = at + LENGTH_BYTES
    if length == 0 then break end
    if at + length - 1 > #bytes then return refusal("truncated", truncated) end
    pieces[#pieces + 1] = bytes:sub(at, at + length - 1)
    at = at + length
  end
  if #bytes < at + DIGEST_BYTES - 1 then return refusal("truncated", truncated) end
  if #bytes > at + DIGEST_BYTES - 1 then return refusal("damaged", "something stands behind the end of the backup") end
  if crypto.hash("sha256", bytes:sub(1, at - 1)) ~= bytes:sub(at) then
    return refusal("damaged", "the backup is damaged: its checksum does not fit")
  end
  if #pieces < 2 or #pieces[1] > MAX_HEADER then return refusal("format", "the backup has no header or no content") end
  return table.remove(pieces, 1), pieces
end

local function open_chunks(cipher, header, chunks)
  for i, chunk in ipairs(chunks) do
    local text = cipher:open(chunk, label(header, i, i == #chunks))
    if not text then
      return refusal(i == 1 and "wrong_key" or "damaged", i == 1 and
        "the backup is encrypted with another passphrase or master key" or "a part of the backup is forged or missing")
    end
    chunks[i] = text
  end
  return table.concat(chunks)
end

--- Opens an archive, all of which is verified first.
-- @param bytes of it
-- @param secrets {passphrase = text or nil, master = the node's key}
-- @return iterator over its lines, and unseal(hexadecimal text) -> text or nil; or nil and {code, message}: code is
-- format, truncated, damaged or wrong_key
function M.open(bytes, secrets)
  local header, chunks = split(bytes)
  if not header then return nil, chunks end
  local fields = json.decode(header)
  if type(fields) ~= "table" or fields.cipher ~= "aes-256-gcm" then
    return refusal("format", "the backup is encrypted in a way that this version does not know")
  end
  local root, problem = root_of(fields.kdf, secrets)
  if not root then return refusal("wrong_key", problem) end
  local cipher, inner = ciphers_of(root)
  local text, failure = open_chunks(cipher, header, chunks)
  if not text then return nil, failure end
  return text:gmatch "([^\n]*)\n", function(hex)
    local sealed = crypto.hex_decode(hex)
    return sealed and (inner:open(sealed))
  end
end

return M

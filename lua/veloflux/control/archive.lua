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
local contents = require "veloflux.content"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local keys = require "veloflux.keys"
local slices = require "veloflux.slices"

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

--- Sends bytes of the archive on. The first fault stays.
local function put(self, bytes)
  if self.failure then return end
  self.size = self.size + #bytes
  self.whole:update(bytes)
  local ok, failure = self.sink(bytes)
  if not ok then self.failure = failure end
end

--- Puts bytes that the checksum at the end is of.
local function put_body(self, bytes)
  self.body:update(bytes)
  put(self, bytes)
end

--- Begins an archive.
-- @param secrets {passphrase} or {master = the node's key}: the passphrase counts when there is one
-- @param sink function(bytes) that takes the archive piece by piece: it returns true, or nil and a failure
-- @return the writer, or nil and a message
function M.writer(secrets, sink)
  local kdf = { name = "master", salt = crypto.hex_encode(crypto.random_bytes(SALT_BYTES)) }
  if secrets.passphrase then kdf.name, kdf.passes, kdf.memory_kib = "argon2id", PASSES, MEMORY_KIB end
  local root, problem = root_of(kdf, secrets)
  if not root then return nil, problem end
  local header = json.encode { cipher = "aes-256-gcm", kdf = kdf }
  local cipher, inner = ciphers_of(root)
  local self = setmetatable({ header = header, cipher = cipher, inner = inner, lines = {}, bytes = 0, count = 0,
    size = 0, sink = sink, body = crypto.hasher "sha256", whole = crypto.hasher "sha256" }, Writer)
  put_body(self, MAGIC .. pack(#header) .. header)
  return self
end

--- Seals a secret within a line. Returns hexadecimal text.
function Writer:seal(text) return crypto.hex_encode(self.inner:seal(text)) end

local function flush(self, is_last)
  self.count = self.count + 1
  local sealed = self.cipher:seal(table.concat(self.lines), label(self.header, self.count, is_last))
  put_body(self, pack(#sealed) .. sealed)
  self.lines, self.bytes = {}, 0
end

--- Adds a line, without its end.
function Writer:add(line)
  self.lines[#self.lines + 1] = line .. "\n"
  self.bytes = self.bytes + #line + 1
  if self.bytes >= CHUNK_BYTES then flush(self, false) end
end

--- Ends the archive.
-- @return {size, checksum}: of all of it, the latter "sha256:" and hexadecimal; or nil and the failure of the sink
function Writer:finish()
  flush(self, true)
  put_body(self, pack(0))
  put(self, self.body:final())
  if self.failure then return nil, self.failure end
  return { size = self.size, checksum = "sha256:" .. crypto.hex_encode(self.whole:final()) }
end

-- Reading -------------------------------------------------------------------------------------------

local function refusal(code, message) return nil, { code = code, message = message } end

-- Reads an archive from its beginning to its end, and checksums what it reads.
local Cursor = {}
Cursor.__index = Cursor

local function cursor_of(content)
  return setmetatable({ content = content, size = contents.size(content), at = 0, hasher = crypto.hasher "sha256" },
    Cursor)
end

--- Returns the next bytes, nil when there are not so many.
function Cursor:take(len)
  if self.at + len > self.size then return nil end
  local bytes = contents.piece(self.content, self.at, len)
  self.at = self.at + len
  if bytes then self.hasher:update(bytes) end
  return bytes
end

--- Passes over the next bytes. Returns where they begin, nil when there are not so many.
function Cursor:pass(len)
  local first = self.at
  while len > 0 do
    slices.look()
    local count = math.min(len, CHUNK_BYTES)
    if not self:take(count) then return nil end
    len = len - count
  end
  return first
end

--- Returns the places of the pieces; nil when they do not come to their end.
local function pieces_of(cursor)
  local pieces = {}
  while true do
    local length = unpack_length(cursor:take(LENGTH_BYTES) or "", 1)
    if not length then return nil end
    if length == 0 then return pieces end
    local first = cursor:pass(length)
    if not first then return nil end
    pieces[#pieces + 1] = { first = first, len = length }
  end
end

--- Finds the pieces of an archive. Returns the header and a list of the places of chunks; or nil and {code, message}.
local function split(content)
  local cursor = cursor_of(content)
  local magic = cursor:take(math.min(#MAGIC, cursor.size))
  if not magic or magic == "" or magic ~= MAGIC:sub(1, #magic) then
    return refusal("format", "this is no backup, or its first bytes are damaged")
  end
  local pieces = pieces_of(cursor)
  local sum = pieces and cursor.hasher:final()
  local digest = pieces and cursor:take(DIGEST_BYTES)
  if not digest then return refusal("truncated", "the backup is truncated, or one of its lengths is damaged") end
  if cursor.at < cursor.size then return refusal("damaged", "something stands behind the end of the backup") end
  if digest ~= sum then return refusal("damaged", "the backup is damaged: its checksum does not fit") end
  if #pieces < 2 or pieces[1].len > MAX_HEADER then
    return refusal("format", "the backup has no header or no content")
  end
  local place = table.remove(pieces, 1)
  return contents.piece(content, place.first, place.len), pieces
end

--- Decrypts chunks one by one. `open(i)` returns the text of one, or nil.
local function opener_of(content, cipher, header, chunks)
  return function(i)
    local sealed = contents.piece(content, chunks[i].first, chunks[i].len)
    return sealed and cipher:open(sealed, label(header, i, i == #chunks))
  end
end

--- Verifies all chunks. Returns true; or nil and {code, message}.
local function verify(open, count)
  for i = 1, count do
    slices.look()
    if not open(i) then
      return refusal(i == 1 and "wrong_key" or "damaged", i == 1 and
        "the backup is encrypted with another passphrase or master key" or "a part of the backup is forged or missing")
    end
  end
  return true
end

--- Returns an iterator over the lines of chunks, of which each ends with a line.
local function lines_of(open, count)
  local index, lines = 0, nil
  return function()
    while true do
      local line = lines and lines()
      if line then return line end
      index = index + 1
      local text = index <= count and open(index)
      if not text then return nil end
      lines = text:gmatch "([^\n]*)\n"
    end
  end
end

--- Opens an archive, all of which is verified first. Nothing is held of it but a chunk at a time.
-- @param content of it (content.lua), which stays as it is while the lines are read
-- @param secrets {passphrase = text or nil, master = the node's key}
-- @return iterator over its lines, and unseal(hexadecimal text) -> text or nil; or nil and {code, message}: code is
-- format, truncated, damaged or wrong_key
function M.open(content, secrets)
  local header, chunks = split(content)
  if not header then return nil, chunks end
  local fields = json.decode(header)
  if type(fields) ~= "table" or fields.cipher ~= "aes-256-gcm" then
    return refusal("format", "the backup is encrypted in a way that this version does not know")
  end
  local root, problem = root_of(fields.kdf, secrets)
  if not root then return refusal("wrong_key", problem) end
  local cipher, inner = ciphers_of(root)
  local open = opener_of(content, cipher, header, chunks)
  local ok, failure = verify(open, #chunks)
  if not ok then return nil, failure end
  return lines_of(open, #chunks), function(hex)
    local sealed = crypto.hex_decode(hex)
    return sealed and (inner:open(sealed))
  end
end

return M

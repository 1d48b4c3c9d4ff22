--- The bootstrap administrator: the one account that is there without a store.
-- Its password is admin.auth.password, or one that was made at the first start, shown once and kept as
-- an Argon2id hash in data_dir/admin-password. A hash is compared on a thread, once: what was right is
-- remembered as an HMAC under a key of this process.
local ffi = require "ffi"
local log = require "veloflux.admin.log"
local crypto = require "veloflux.pdk.crypto"

ffi.cdef [[
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
]]
local C = ffi.C

local M = {}
local Administrator = {}
Administrator.__index = Administrator

local KEY_BYTES = 32
local PRIVATE = tonumber("600", 8)
local ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789" -- 32 characters that are not mistaken for others
local PASSWORD_CHARACTERS = 24                      -- 120 bits
M.FILE = "admin-password"

local function hmac(key, text) return crypto.hmac("sha256", key, text) end

--- Makes the account.
-- @param verify function(encoded, password) -> true, false, or nil when too many are under way; may yield
function M.new(verify)
  return setmetatable({ verify = verify, key = crypto.random_bytes(KEY_BYTES), epoch = 0 }, Administrator)
end

local function make_password()
  local bytes, text = crypto.random_bytes(PASSWORD_CHARACTERS), {}
  for i = 1, #bytes do
    local at = bytes:byte(i) % #ALPHABET + 1
    text[#text + 1] = ALPHABET:sub(at, at)
    if i % 6 == 0 and i < #bytes then text[#text + 1] = "-" end
  end
  return table.concat(text)
end

local function read_hash(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text and text:match "^(%$argon2id%$%S+)%s*$" or ""
end

--- Makes, keeps and shows a password.
local function generate(path, username)
  local password = make_password()
  local encoded, problem = crypto.password_hash(password)
  if not encoded then return nil, problem end
  local text = encoded .. "\n"
  local rc = C.vf_file_create(path, text, #text, PRIVATE)
  if rc ~= 0 then return nil, ("%s: cannot be created (error %d)"):format(path, -rc) end
  log.write("warn", "admin.password_generated", { "username", username, "password", password,
    "note", "shown once; to get another, delete " .. path .. " and reload" })
  return encoded
end

local function keep(path, username)
  local encoded, message = read_hash(path), nil
  if encoded == nil then
    encoded, message = generate(path, username)
  elseif encoded == "" then
    encoded, message = nil, path .. ": not an Argon2id hash"
  end
  if message then log.write("error", "admin.no_password", { "message", message }) end
  return encoded
end

--- Takes over the settings of a configuration; makes a password when there is to be one and is none.
-- @param auth the record admin.auth
-- @param data_dir absolute path
-- `epoch` is another number when the name or the password is another one than before.
function Administrator:configure(auth, data_dir)
  local is_renamed = self.username ~= auth.username
  self.username = auth.username
  self.plain = auth.password ~= "" and auth.password or nil
  self.encoded = nil
  if auth.enabled and not self.plain then self.encoded = keep(data_dir .. "/" .. M.FILE, auth.username) end
  local secret = self.plain or self.encoded or ""
  local is_new = not self.secret or not crypto.equals(hmac(self.key, self.secret), hmac(self.key, secret))
  if is_new then self.known = nil end
  if is_new or is_renamed then self.epoch = self.epoch + 1 end
  self.secret = secret
end

--- Returns true when somebody could log in.
function Administrator:is_usable() return (self.plain or self.encoded) ~= nil end

function Administrator:is_password(password)
  local digest = hmac(self.key, password)
  if self.plain then return crypto.equals(digest, hmac(self.key, self.plain)) end
  if self.known and crypto.equals(digest, self.known) then return true end
  local secret = self.secret
  local right = self.verify(self.encoded, password)
  if right and secret == self.secret then self.known = digest end
  return right
end

--- Checks a name and password; the time does not tell which of the two was wrong. May yield.
-- @return true, false, or nil when too many attempts are under way
function Administrator:check(username, password)
  local is_name = crypto.equals(hmac(self.key, username), hmac(self.key, self.username))
  local is_password = self:is_password(password)
  if is_password == nil then return nil end
  return is_name and is_password
end

return M

--- Compares passwords with what a table holds of them (docs/decisions/0010-credentials.md).
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local task = require "veloflux.runtime.task"

ffi.cdef [[
struct vf_password_check;
struct vf_password_check *vf_password_check_start(struct vf_task *task, const char *encoded, size_t encoded_len,
                                                  const char *password, size_t len);
int vf_password_check_result(const struct vf_password_check *check);
void vf_password_check_free(struct vf_password_check *check);
]]
local C = ffi.C

local M = {}

local EACCES = -13

--- How many passwords that were right are remembered: twice as many at most, the newer half and the older.
M.KEPT = 4096

local key = crypto.random_bytes(32) -- of this process
local newer, older, n = {}, {}, 0

local function remember(mark)
  if n >= M.KEPT then older, newer, n = newer, {}, 0 end
  newer[mark] = true
  n = n + 1
end

--- Compares with an Argon2id hash on a thread, once for each password that is right.
local function verify_slowly(stored, password)
  local mark = crypto.hmac("sha256", key, #stored .. ":" .. stored .. password)
  if newer[mark] then return true end
  if older[mark] then
    remember(mark)
    return true
  end
  if task.obstacle() then task.wait() end -- says why
  local check = C.vf_password_check_start(task.run.task, stored, #stored, password, #password)
  if check == nil then return nil, "too many passwords are being compared" end
  ffi.gc(check, C.vf_password_check_free)
  task.wait()
  local rc = C.vf_password_check_result(check)
  C.vf_password_check_free(ffi.gc(check, nil))
  if rc == 0 then remember(mark) end
  if rc == 0 or rc == EACCES then return rc == 0 end
  return nil, ("the password cannot be compared: error %d"):format(-rc)
end

local SLOW = "$argon2id$"
local QUICK = "$hmac-sha256$" -- and 32 digits of salt, "$", 64 digits of hash
local NOBODY = QUICK .. ("0"):rep(32) .. "$" .. ("0"):rep(64) -- the password that nobody has

local function verify_quickly(stored, password)
  local is_quick = #stored == #NOBODY and stored:sub(1, #QUICK) == QUICK
  local salt = is_quick and crypto.hex_decode(stored:sub(#QUICK + 1, #QUICK + 32))
  local hash = salt and crypto.hex_decode(stored:sub(#QUICK + 34))
  if not hash then return nil, "the hash is of an unknown kind" end
  return crypto.equals(crypto.hmac("sha256", salt, password), hash)
end

--- Compares a password with what a table holds of it. May wait: the first time for "$argon2id$...", and whenever the
-- answer is no and there is a decoy. So no takes as long for those whose password is held in the quick form, and for
-- those who do not exist, as it does for the others.
---@param stored string? the field of the credential that its type calls the password; nil: nobody is known by that name
---@param password string what the client says
---@param decoy string? an Argon2id hash that no password has, where some of the type are held so
---@return boolean? is_right nil when it cannot be said now
---@return string? err
function M.verify(stored, password, decoy)
  if stored and stored:sub(1, #SLOW) == SLOW then return verify_slowly(stored, password) end
  local is_right, err = verify_quickly(stored or NOBODY, password)
  if is_right ~= false or not decoy then return is_right, err end
  is_right, err = verify_slowly(decoy, password)
  if is_right == nil then return nil, err end
  return false
end

return M

--- Memory for what C functions write and Lua copies out at once: one buffer of a state, reused. What a
-- module gets is its own until it calls something else; bigger needs get memory that goes with them.
local ffi = require "ffi"

local M = {}

local KEPT = 16 * 1024 -- covers tokens, digests and most fields
local MOST = 2 ^ 30 -- what the C functions can count
local bytes_type = ffi.typeof "uint8_t[?]"
local kept = bytes_type(KEPT)

--- Returns room for `n` bytes as uint8_t[?].
---@param n integer
---@return ffi.cdata*
function M.bytes(n)
  if n <= KEPT then return kept end
  if n > MOST then error("too long: more than 1 GiB", 0) end
  return bytes_type(n)
end

return M

--- Tokens whose signature was good, so that the next request with one costs a look instead of a computation. Whether
-- the key is still the right one and the times still hold is asked each time.
local M = {}

--- How many are kept: twice as many at most, the newer half and the older.
M.KEPT = 512

local MAX_BYTES = 2048 -- of one: larger ones are read each time

local newer, older, n = {}, {}, 0

--- Keeps a token.
---@param text string
---@param token table
function M.keep(text, token)
  if #text > MAX_BYTES or newer[text] then return end
  if n >= M.KEPT then newer, older, n = {}, newer, 0 end
  newer[text], n = token, n + 1
end

--- Finds one that was kept.
---@param text string
---@return table|nil token
function M.find(text)
  local token = newer[text]
  if token then return token end
  token = older[text]
  if token then M.keep(text, token) end
  return token
end

return M

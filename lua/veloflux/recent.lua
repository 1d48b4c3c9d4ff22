--- A map that forgets what was not used for long: for what is made from text that others choose, and
-- worth keeping. It has two generations; what is found in the old one moves to the young one, and a
-- full young one becomes the old one. So it holds the last `most` values used, and at most twice as many.
local M = {}

---@class veloflux.Recent
local Recent = {}
Recent.__index = Recent

--- Makes one.
---@param most integer values a generation holds
---@return veloflux.Recent
function M.new(most)
  return setmetatable({ young = {}, old = {}, n = 0, most = most }, Recent)
end

--- Keeps a value; not nil.
function Recent:put(key, value)
  if self.n >= self.most then self.old, self.young, self.n = self.young, {}, 0 end
  if self.young[key] == nil then self.n = self.n + 1 end
  self.young[key] = value
end

--- Returns the value of `key`, or nil.
function Recent:get(key)
  local value = self.young[key]
  if value ~= nil then return value end
  value = self.old[key]
  if value ~= nil then self:put(key, value) end
  return value
end

return M

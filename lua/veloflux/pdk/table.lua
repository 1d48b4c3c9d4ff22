--- Tables made and emptied without growing step by step.
local new, clear = require "table.new", require "table.clear"

---@class pdk.table
local M = {}

--- Makes a table with room for so many list elements and other keys.
---@param narr integer|nil
---@param nrec integer|nil
---@return table
function M.new(narr, nrec) return new(narr or 0, nrec or 0) end

--- Empties a table, keeping its memory.
---@param tab table
function M.clear(tab) clear(tab) end

--- Returns a new table with the keys of both; the second wins. nil stands for an empty table.
---@param first table|nil
---@param second table|nil
---@return table
function M.merge(first, second)
  local merged = {}
  for key, value in pairs(first or {}) do merged[key] = value end
  for key, value in pairs(second or {}) do merged[key] = value end
  return merged
end

return M

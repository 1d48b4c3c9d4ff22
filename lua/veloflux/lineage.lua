--- What a table was copied from, and which of its keys were set since: of two tables with thousands of keys, of which
-- one became the other in a few steps, the difference is known without a look at all keys.
local M = {}

local MAX_STEPS = 16

local origins = setmetatable({}, { __mode = "k" }) -- copy -> {from, keys}
local BY_VALUE = { __mode = "v" }                  -- what a copy came from is not kept for it

local clone
do
  local is_there, found = pcall(require, "table.clone") -- not every LuaJIT has it
  clone = is_there and found or function(original)
    local copy = {}
    for key, value in pairs(original) do copy[key] = value end
    return copy
  end
end

--- Returns a copy of a table of strings or numbers as keys, without its metatable.
function M.copy(original)
  local copy = clone(original)
  origins[copy] = { origin = setmetatable({ from = original }, BY_VALUE), keys = {} }
  return copy
end

--- Says that a key of a copy is set, or was.
function M.note(copy, key)
  local keys = origins[copy].keys
  keys[#keys + 1] = key
end

--- Returns the keys that may differ from one table to another that came from it, perhaps more than once each; nil when
-- it did not, or nobody knows any more.
function M.difference(before, after)
  local keys = {}
  for _ = 1, MAX_STEPS do
    if after == before then return keys end
    local step = origins[after]
    if not step or not step.origin.from then return nil end
    for _, key in ipairs(step.keys) do keys[#keys + 1] = key end
    after = step.origin.from
  end
  return nil
end

return M

--- Sorts long lists on a loop, in slices (slices.lua): some at a time by table.sort, which cannot be interrupted, and
-- then merged.
local slices = require "veloflux.slices"

local new_table = require "table.new"

local M = {}

local SOME = 2048 -- that are sorted in one go: a millisecond

local function sort_part(list, first, last)
  local part = new_table(last - first + 1, 0)
  for i = first, last do part[i - first + 1] = list[i] end
  table.sort(part)
  for i = first, last do list[i] = part[i - first + 1] end
end

--- Merges two neighbours, [first, middle) and [middle, last), of `from` into `to`.
local function merge(from, to, first, middle, last)
  local left, right = first, middle
  for at = first, last - 1 do
    slices.pause()
    if right >= last or left < middle and from[left] <= from[right] then
      to[at], left = from[left], left + 1
    else
      to[at], right = from[right], right + 1
    end
  end
end

--- Sorts a list of texts or numbers. It may pause: nobody else may have the list yet.
-- @return the list in order: this one, or another
function M.sort(list)
  local n = #list
  if n <= SOME then
    table.sort(list)
    return list
  end
  for first = 1, n, SOME do
    slices.look()
    sort_part(list, first, math.min(first + SOME - 1, n))
  end
  local from, to, width = list, new_table(n, 0), SOME
  while width < n do
    for first = 1, n, 2 * width do
      merge(from, to, first, math.min(first + width, n + 1), math.min(first + 2 * width, n + 1))
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

return M

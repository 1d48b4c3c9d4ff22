--- Which instances of plugins run, and in which order. Plain tables in, plain tables out: control resolves
-- the chains of routes with it, workers those of consumers at run time.
--
-- An item is a table:
--   name, as   together the key: the narrowest item of a key replaces those of wider scopes
--   priority   the higher runs first; equal ones by name, then `as`
--   enabled    false: nothing of this key runs
--   order      {before = names, after = names}: of plugins, or what instances are called
--   config     plain table, complete
--   merge      field -> mode (plugin/merge.lua), and `own`: those of these fields that were said, or nil: such
--              fields are combined with the next wider one instead of replacing it
-- and whatever the caller has besides.
local merge = require "veloflux.plugin.merge"

local M = {}

--- Combines an item with one of a wider scope: the narrow one, with a configuration of its own.
function M.combine(wide, narrow)
  local item = {}
  for key, value in pairs(narrow) do item[key] = value end
  item.config, item.own = merge.config(narrow.merge, wide, narrow), merge.own(narrow.merge, wide, narrow)
  item.wide = wide
  return item
end

-- Order ---------------------------------------------------------------------------------------------

local function goes_before(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  if a.name ~= b.name then return a.name < b.name end
  return a.as < b.as
end

--- Says whether `name` is that of an item.
local function is_called(item, name) return item.name == name or item.as == name end

--- Lists, by position, who has to come after whom.
local function edges_of(items)
  local after, n_before = {}, {}
  local function add(first, second)
    if first == second or after[first][second] then return end
    after[first][second] = true
    n_before[second] = n_before[second] + 1
  end
  for i = 1, #items do after[i], n_before[i] = {}, 0 end
  local function each(names, visit)
    for _, name in ipairs(names or {}) do
      for k, other in ipairs(items) do
        if is_called(other, name) then visit(k) end
      end
    end
  end
  for i, item in ipairs(items) do
    local order = item.order or {}
    each(order.before, function(k) add(i, k) end)
    each(order.after, function(k) add(k, i) end)
  end
  return after, n_before
end

--- Follows from one that is stuck to one that it waits for until one comes again: that is the circle.
local function circle_of(items, after, is_placed)
  local at, seen, path
  for i = 1, #items do
    if not is_placed[i] then at = i break end
  end
  seen, path = {}, {}
  while not seen[at] do
    path[#path + 1], seen[at] = at, #path + 1
    for first = 1, #items do
      if not is_placed[first] and after[first][at] then at = first break end
    end
  end
  local circle = {}
  for i = #path, seen[at], -1 do circle[#circle + 1] = items[path[i]] end
  return circle
end

local function has_order(items)
  for _, item in ipairs(items) do
    local order = item.order
    if order and (order.before and order.before[1] or order.after and order.after[1]) then return true end
  end
  return false
end

--- Returns the first and the last position of an item that one of `names` means, other than at `self`.
local function span_of(items, names, self)
  local first, last
  for i, item in ipairs(items) do
    for _, name in ipairs(i ~= self and names or {}) do
      if is_called(item, name) then first, last = first or i, i end
    end
  end
  return first, last
end

--- Moves the first item that does not stand where it wants to. Returns false when all do.
local function move_one(items)
  for i, item in ipairs(items) do
    local order = item.order or {}
    local first = span_of(items, order.before or {}, i)
    local _, last = span_of(items, order.after or {}, i)
    if first and first < i then
      table.insert(items, first, table.remove(items, i))
      return true
    elseif last and last > i then
      table.insert(items, last, table.remove(items, i))
      return true
    end
  end
  return false
end

--- Any order that satisfies everybody, near the present one; or nil and a circle.
local function sort_strictly(items)
  local after, n_before = edges_of(items)
  local sorted, is_placed = {}, {}
  for _ = 1, #items do
    local free
    for i = 1, #items do
      if not is_placed[i] and n_before[i] == 0 then free = i break end
    end
    if not free then return nil, circle_of(items, after, is_placed) end
    is_placed[free], sorted[#sorted + 1] = true, items[free]
    for later in pairs(after[free]) do n_before[later] = n_before[later] - 1 end
  end
  return sorted
end

--- Puts items in order: by priority, name and `as`; who wants to stand elsewhere is then moved just so
-- far, and where that does not come to an end everybody is.
-- @return the list; or nil and a list of those that want to run before one another in a circle
function M.sort(items)
  table.sort(items, goes_before)
  if not has_order(items) then return items end
  for _ = 1, #items * #items do
    if not move_one(items) then return items end
  end
  table.sort(items, goes_before)
  return sort_strictly(items)
end

-- The whole -----------------------------------------------------------------------------------------

--- Resolves lists of items, from the widest scope to the narrowest.
-- @param combine function(wide, narrow) -> item, for items with merge fields (M.combine)
-- @return the items that run, in their order; or nil and those whose order goes in a circle
function M.resolve(lists, combine)
  combine = combine or M.combine
  local by_key, keys = {}, {}
  for _, list in ipairs(lists) do
    for _, item in ipairs(list) do
      local key = item.name .. "\0" .. item.as
      local wide = by_key[key]
      if not wide then keys[#keys + 1] = key end
      if wide and wide.enabled and item.enabled and item.merge and next(item.merge) then
        item = combine(wide, item)
      end
      by_key[key] = item
    end
  end
  local items = {}
  for _, key in ipairs(keys) do
    if by_key[key].enabled then items[#items + 1] = by_key[key] end
  end
  return M.sort(items)
end

return M

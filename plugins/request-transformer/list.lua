--- Named values in order, as queries, forms and multipart bodies have them. What nobody changes keeps its
-- bytes. An item is { name, raw }; how it is written is the business of a format:
--   make(name, value) -> raw;  rename(item, new_name): changes the item
local M = {}

local List = {}
List.__index = List

--- Makes a list of items; `is_changed` says later whether it has been edited.
function M.new(format, items) return setmetatable({ format = format, items = items, is_changed = false }, List) end

--- Returns where the first item of a name is, or nil.
function List:find(name)
  local items = self.items
  for i = 1, #items do
    if items[i].name == name then return i end
  end
end

--- Removes all items of a name, from the index `from` (1) on.
function List:remove(name, from)
  local items, kept = self.items, (from or 1) - 1
  for i = kept + 1, #items do
    local item = items[i]
    if item.name ~= name then
      kept = kept + 1
      items[kept] = item
    end
  end
  for i = #items, kept + 1, -1 do
    items[i], self.is_changed = nil, true
  end
end

--- Gives the items called `name` another name, instead of those that have it.
function List:rename(name, new_name)
  if name == new_name or not self:find(name) then return end
  self:remove(new_name)
  self.is_changed = true
  for _, item in ipairs(self.items) do
    if item.name == name then
      item.name = new_name
      self.format.rename(item, new_name)
    end
  end
end

--- Gives an item that is there one value.
function List:replace(name, value)
  local at = self:find(name)
  if not at then return end
  self.items[at] = { name = name, raw = self.format.make(name, value), is_new = true }
  self:remove(name, at + 1)
  self.is_changed = true
end

--- Adds an item at the end.
function List:append(name, value)
  self.items[#self.items + 1] = { name = name, raw = self.format.make(name, value), is_new = true }
  self.is_changed = true
end

--- Adds an item unless there is one of that name.
function List:add(name, value)
  if not self:find(name) then self:append(name, value) end
end

return M

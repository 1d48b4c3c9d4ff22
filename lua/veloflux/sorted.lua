--- The names of a map in their order: what is written comes out the same whoever writes it.
local M = {}

--- Returns the keys of a map, all of one type, sorted.
function M.names(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Returns the keys of a map that may be of several types, sorted as texts.
function M.as_texts(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

return M

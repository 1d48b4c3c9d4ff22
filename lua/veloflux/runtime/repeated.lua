--- Names that may occur several times (header fields, arguments, form fields): one value stands by itself,
-- several are a list.
local M = {}

--- Adds a value under a name.
function M.add(into, name, value)
  local seen = into[name]
  if seen == nil then
    into[name] = value
  elseif type(seen) == "table" then
    seen[#seen + 1] = value
  else
    into[name] = { seen, value }
  end
end

return M

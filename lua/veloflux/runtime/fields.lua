--- Tables of header fields, as plugins write them: from names to values or lists of values.
local M = {}

local PLAIN = { string = true, number = true, boolean = true }

local function problem_of(name, value)
  if PLAIN[type(value)] then return nil end
  if type(value) ~= "table" then
    return ("header %q: expected a string, number, boolean or list of them, got %s"):format(name, type(value))
  end
  for _, single in ipairs(value) do
    if not PLAIN[type(single)] then
      return ("header %q: expected a list of strings, got a %s in it"):format(name, type(single))
    end
  end
end

--- Says what is wrong with the types in a table of header fields, before one is set.
-- @return message, or nil
function M.problem(headers)
  for name, value in pairs(headers) do
    if type(name) ~= "string" then return "expected string keys" end
    local problem = problem_of(name, value)
    if problem then return problem end
  end
end

return M

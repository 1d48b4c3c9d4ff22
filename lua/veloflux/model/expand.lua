--- References inside scalars: ${NAME}, ${NAME:-default} and $${ for a literal ${.
-- They are expanded after parsing, so a value never adds structure. A default may hold references.
local M = {}

local function value_of(braces, env)
  local name, operator, default = braces:match "^{([%a_][%w_]*)(:?%-?)(.*)}$"
  if not name or not (operator == "" and default == "" or operator == ":-") then
    return nil, ("expected ${NAME} or ${NAME:-default}, got $%s"):format(braces)
  end
  local value = env(name)
  if operator == ":-" and (value == nil or value == "") then return M.expand(default, env) end
  if value == nil then return nil, ("the environment variable %s is not set"):format(name) end
  return value
end

--- Expands `text`.
-- @param env function(name) -> string or nil
-- @return the expanded text, or nil and a message
function M.expand(text, env)
  local parts, at = {}, 1
  while true do
    local first, brace, dollars = text:find("(%$+){", at)
    if not first then break end
    if #dollars > 1 then -- $${ is literal
      parts[#parts + 1] = text:sub(at, first - 1) .. dollars:sub(2) .. "{"
      at = brace + 1
    else
      local braces = text:match("^%b{}", brace)
      if not braces then return nil, "a ${ without its }: write $${ for a literal ${" end
      local value, problem = value_of(braces, env)
      if not value then return nil, problem end
      parts[#parts + 1] = text:sub(at, first - 1) .. value
      at = brace + #braces
    end
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts)
end

--- Returns `text` so that expanding it gives `text` again.
function M.escape(text)
  if not text:find("${", 1, true) then return text end
  return (text:gsub("%$+{", "$%0"))
end

return M

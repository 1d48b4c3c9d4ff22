--- Names and passwords as header fields carry them (RFC 7617 section 2).
local encoding = require("veloflux.pdk").encoding

local M = {}

--- Where logins may be; the first that has one counts.
M.HEADERS = { "proxy-authorization", "authorization" }

local SCHEME = "basic "
local SPACE, DELETE = 32, 127

local function has_control_characters(text)
  for i = 1, #text do
    local byte = text:byte(i)
    if byte < SPACE or byte == DELETE then return true end
  end
  return false
end

local function is_space(text, at) return text:byte(at) == SPACE end

-- What stands between the spaces around it.
local function trim(text)
  local first, last = 1, #text
  while first <= last and is_space(text, first) do first = first + 1 end
  while last >= first and is_space(text, last) do last = last - 1 end
  return text:sub(first, last)
end

--- Reads the value of a header field.
---@param value string
---@return string|nil username nil when it has no name and password
---@return string|nil password
function M.parse(value)
  if value:sub(1, #SCHEME):lower() ~= SCHEME then return nil end
  local decoded = encoding.base64_decode(trim(value:sub(#SCHEME + 1)), true)
  if not decoded or has_control_characters(decoded) then return nil end
  local colon = decoded:find(":", 1, true)
  if not colon or colon == 1 then return nil end
  return decoded:sub(1, colon - 1), decoded:sub(colon + 1)
end

return M

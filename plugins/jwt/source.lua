--- Where tokens are in a request: header fields with the scheme Bearer (RFC 6750 section 2.1), query, cookies.
local request = require("veloflux.pdk").request

local M = {}

local SCHEME = "bearer "
local SPACE = 32

-- Collects tokens: the same one twice is one.
local function add(found, token)
  if token == "" or found.token == token then return end
  found.is_ambiguous = found.token ~= nil
  found.token = token
end

-- What stands between the spaces around it.
local function trim(text)
  local first, last = 1, #text
  while text:byte(first) == SPACE do first = first + 1 end
  while last >= first and text:byte(last) == SPACE do last = last - 1 end
  return text:sub(first, last)
end

local function in_header(found, name)
  local nth = 1
  local value = request.get_header_at(name, nth)
  while value and not found.is_ambiguous do
    if value:sub(1, #SCHEME):lower() == SCHEME then add(found, trim(value:sub(#SCHEME + 1))) end
    nth = nth + 1
    value = request.get_header_at(name, nth)
  end
end

-- A query that names nothing like it, escapes included, is not decoded.
local function in_query(found, names)
  local query = request.get_raw_query()
  if query == "" then return end
  local may_have = query:find("%", 1, true) ~= nil or query:find("+", 1, true) ~= nil
  for i = 1, #names do may_have = may_have or query:find(names[i], 1, true) ~= nil end
  if not may_have then return end
  local arguments = request.get_query(1000)
  for i = 1, #names do
    local value = arguments[names[i]]
    for _, token in ipairs(type(value) == "table" and value or { value }) do
      if type(token) == "string" and not found.is_ambiguous then add(found, token) end
    end
  end
end

local function in_cookies(found, names)
  local wanted = {}
  for _, name in ipairs(names) do wanted[name] = true end
  local nth = 1
  local field = request.get_header_at("cookie", nth)
  while field do
    for name, value in field:gmatch "%s*([^=;%s]+)=([^;]*)" do
      if wanted[name] and not found.is_ambiguous then add(found, trim(value)) end
    end
    nth = nth + 1
    field = request.get_header_at("cookie", nth)
  end
end

--- Finds the token.
---@param conf table
---@return string|nil token
---@return string|nil problem there are several; without one there is none
function M.find(conf)
  local found = { token = nil, is_ambiguous = false }
  for i = 1, #conf.header_names do in_header(found, conf.header_names[i]) end
  if conf.uri_param_names[1] then in_query(found, conf.uri_param_names) end
  if conf.cookie_names[1] then in_cookies(found, conf.cookie_names) end
  if found.is_ambiguous then return nil, "Multiple tokens provided" end
  return found.token
end

return M

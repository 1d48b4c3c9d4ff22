--- Queries and forms: application/x-www-form-urlencoded (WHATWG URL, section 5) and multipart/form-data
-- (RFC 7578), and the names of groups in patterns.
local encoding = require "veloflux.pdk.encoding"
local add = require("veloflux.runtime.repeated").add

local M = {}

local EQUALS = 61 -- an argument without a name is none

local function byte_of(digits) return string.char(tonumber(digits, 16)) end

-- Most arguments have nothing to decode: that is looked for without patterns, which LuaJIT does not compile.
local function decode(text)
  if not text:find("%", 1, true) and not text:find("+", 1, true) then return text end
  return (text:gsub("+", " "):gsub("%%(%x%x)", byte_of))
end
M.unescape = decode

--- Returns the argument that begins at `at`, as it stands, and where the next one begins.
local function pair_at(text, at)
  local stop = text:find("&", at, true) or #text + 1
  return text:sub(at, stop - 1), stop + 1
end

--- Returns name and value of an argument, decoded; the value is true when there is no `=`.
local function split(pair)
  local equals = pair:find("=", 1, true)
  if not equals then return decode(pair), true end
  return decode(pair:sub(1, equals - 1)), decode(pair:sub(equals + 1))
end

--- Decodes a query.
-- @return table from name to string, true (no value) or a list of them; and "truncated" beyond `max`
function M.decode(text, max)
  local arguments, count, at = {}, 0, 1
  text = text or ""
  while at <= #text do
    local pair, next_at = pair_at(text, at)
    at = next_at
    if pair ~= "" and pair:byte(1) ~= EQUALS then
      count = count + 1
      if count > max then return arguments, "truncated" end
      add(arguments, split(pair))
    end
  end
  return arguments
end

--- Returns the first value of `wanted` in a query: a string, true or nil.
function M.first(text, wanted)
  local at = 1
  text = text or ""
  while at <= #text do
    local pair, next_at = pair_at(text, at)
    at = next_at
    if pair ~= "" and pair:byte(1) ~= EQUALS then
      local name, value = split(pair)
      if name == wanted then return value end
    end
  end
end

--- Writes a table as a query, names in byte order.
-- @return string, or nil and a message
function M.encode(arguments)
  local names, parts = {}, {}
  for name in pairs(arguments) do
    if type(name) ~= "string" then return nil, "expected string keys" end
    names[#names + 1] = name
  end
  table.sort(names)
  local function put(name, value)
    local key = encoding.url_encode(name)
    if value == true then
      parts[#parts + 1] = key
    elseif type(value) == "string" or type(value) == "number" then
      parts[#parts + 1] = key .. "=" .. encoding.url_encode(tostring(value))
    elseif value ~= false then
      return nil, ("argument %s: expected a string, number, boolean or list"):format(name)
    end
    return true
  end
  for _, name in ipairs(names) do
    local value = arguments[name]
    for _, single in ipairs(type(value) == "table" and value or { value }) do
      local ok, problem = put(name, single)
      if not ok then return nil, problem end
    end
  end
  return table.concat(parts, "&")
end

--- Decodes multipart/form-data: a table from the parts' names to their contents.
-- @return table, or nil and a message
function M.multipart(body, content_type)
  local boundary = content_type:match 'boundary="([^"]+)"' or content_type:match "boundary=([^;%s]+)"
  if not boundary then return nil, "multipart without a boundary" end
  local parts, delimiter = {}, "--" .. boundary
  local at = body:find(delimiter, 1, true)
  while at do
    local start = at + #delimiter
    if body:sub(start, start + 1) == "--" then return parts end
    local head_end, content_start = body:find("\r\n\r\n", start, true)
    local next_at = head_end and body:find("\r\n" .. delimiter, content_start + 1 - 2, true)
    if not next_at then return nil, "multipart body ends within a part" end
    local head = body:sub(start, head_end)
    local name = head:match '[;%s]name="([^"]*)"' or head:match "[;%s]name=([^;%s]+)"
    if name then add(parts, name, body:sub(content_start + 1, next_at - 1)) end
    at = next_at + 2
  end
  return nil, "multipart body without a part"
end

--- Returns the names of the groups of a pattern by their number: "(?<id>\\d+)" gives {"id"}.
function M.group_names(pattern)
  local names, group, at, in_class = {}, 0, 1, false
  while at <= #pattern do
    local c = pattern:sub(at, at)
    if c == "\\" then
      at = at + 1
    elseif in_class then
      in_class = c ~= "]"
    elseif c == "[" then
      in_class = true
      if pattern:find("^%^?%]", at + 1) then at = at + 1 end
    elseif c == "(" then
      local name = pattern:match("^%(%?P?<([%a_][%w_]*)>", at) or pattern:match("^%(%?'([%a_][%w_]*)'", at)
      if name or pattern:sub(at + 1, at + 1) ~= "?" and pattern:sub(at + 1, at + 1) ~= "*" then
        group = group + 1
        names[group] = name
      end
    end
    at = at + 1
  end
  return names
end

return M

--- JSON as the admin address answers it (RFC 8259): keys sorted, empty lists as [], text made valid.
local buffer = require "string.buffer"

local M = {}

--- Stands for null in tables.
M.null = setmetatable({}, { __tostring = function() return "null" end })

local LIST = {}

--- Returns a list that stays one in JSON when it is empty.
function M.list(values) return setmetatable(values or {}, LIST) end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end

-- Lead byte range, and how many continuation bytes follow; the second byte of some is limited
-- (RFC 3629 section 4).
local FORMS = {
  "^[\194-\223][\128-\191]", "^\224[\160-\191][\128-\191]", "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]", "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]", "^\244[\128-\143][\128-\191][\128-\191]",
}

local function character_at(text, at)
  for _, form in ipairs(FORMS) do
    local first, last = text:find(form, at)
    if first then return last end
  end
end

--- Replaces every byte that is not part of UTF-8 by U+FFFD.
local function make_utf8(text)
  local out, at = {}, 1
  while at <= #text do
    local high = text:find("[\128-\255]", at)
    if not high then break end
    out[#out + 1] = text:sub(at, high - 1)
    local last = character_at(text, high)
    out[#out + 1] = last and text:sub(high, last) or "\239\191\189"
    at = (last or high) + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

local function put_text(out, text)
  if text:find "[\128-\255]" then text = make_utf8(text) end
  if text:find '[%c"\\\127]' then text = text:gsub('[%c"\\]', escape) end
  out:put('"', text, '"')
end

local put

local function put_list(out, list)
  out:put "["
  for i = 1, #list do
    if i > 1 then out:put "," end
    put(out, list[i])
  end
  out:put "]"
end

local function put_map(out, map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  out:put "{"
  for i, key in ipairs(keys) do
    if i > 1 then out:put "," end
    put_text(out, key)
    out:put ":"
    put(out, map[key])
  end
  out:put "}"
end

local function put_number(out, value)
  if value ~= value or value == math.huge or value == -math.huge then
    out:put "null"
  elseif value % 1 ~= 0 then
    out:putf("%.15g", value)
  elseif value < 1e14 and value > -1e14 then
    out:put(value)
  else
    out:putf("%.0f", value)
  end
end

function put(out, value)
  local kind = type(value)
  if kind == "string" then
    put_text(out, value)
  elseif kind == "number" then
    put_number(out, value)
  elseif kind == "table" and value ~= M.null then
    if value[1] ~= nil or getmetatable(value) == LIST then put_list(out, value) else put_map(out, value) end
  elseif kind == "boolean" then
    out:put(value and "true" or "false")
  else
    out:put "null"
  end
end

--- Returns `value` as JSON. Tables are maps from strings, or lists: what has an element 1 or was made by
-- `list`. What JSON has no word for is null.
function M.encode(value)
  local out = buffer.new()
  put(out, value)
  return out:tostring()
end

return M

--- Content and tables: what a Content-Type says about how one becomes the other. JSON, forms
-- (application/x-www-form-urlencoded) and multipart/form-data (RFC 7578).
local encoding = require "veloflux.pdk.encoding"
local query = require "veloflux.runtime.query"

local M = {}

local JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"

local function kind_of(content_type) return content_type:match("^%s*([^;%s]*)"):lower() end

local function decode_json(body)
  local value = require("veloflux.pdk.json").decode(body)
  if type(value) == "table" then return value end
  return nil, "invalid json body"
end

--- Returns the media type that content is decoded as, or nil: application/json-seq counts as application/json.
local function decoder_of(kind)
  for _, known in ipairs { FORM, JSON, MULTIPART } do
    if kind:sub(1, #known) == known then return known end
  end
  return kind:find "%+json$" and JSON or nil
end

--- Decodes content.
-- @param read function() that returns the content, or nil and a message
-- @param content_type text of a field Content-Type
-- @param max_args integer: so many fields of a form
-- @return table, nil and the media type; or nil, a message and the media type
function M.decode(read, content_type, max_args)
  local kind = decoder_of(kind_of(content_type))
  if not kind then return nil, ("unsupported content type '%s'"):format(content_type), kind_of(content_type) end
  local body, err = read()
  if not body then return nil, err, kind end
  local value
  if kind == FORM then
    value = query.decode(body, max_args)
  elseif kind == MULTIPART then
    value, err = query.multipart(body, content_type)
  else
    value, err = decode_json(body)
  end
  return value, err, kind
end

-- Writing ------------------------------------------------------------------------------------------

--- Returns a delimiter that is in none of the values.
local function boundary_for(args)
  while true do
    local boundary = encoding.hex_encode(require("veloflux.pdk.crypto").random_bytes(16))
    local is_free = true
    for _, value in pairs(args) do is_free = is_free and not tostring(value):find(boundary, 1, true) end
    if is_free then return boundary end
  end
end

-- Names as RFC 7578 section 2 and the HTML standard have them.
local ESCAPES = { ['"'] = "%22", ["\r"] = "%0D", ["\n"] = "%0A" }

local function part_of(name, value, boundary)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    return nil, ("field %s: expected a string, number or boolean, got %s"):format(name, kind)
  end
  return ('--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'):format(boundary,
    name:gsub('["\r\n]', ESCAPES), tostring(value))
end

local function encode_multipart(args, content_type)
  local given = content_type:match 'boundary="([^"]+)"' or content_type:match "boundary=([^;%s]+)"
  local names, parts = {}, {}
  for name in pairs(args) do
    if type(name) ~= "string" then return nil, "expected string keys" end
    names[#names + 1] = name
  end
  table.sort(names)
  local boundary = given or boundary_for(args)
  for i, name in ipairs(names) do
    local part, problem = part_of(name, args[name], boundary)
    if not part then return nil, problem end
    if given and tostring(args[name]):find("--" .. given, 1, true) then
      return encode_multipart(args, MULTIPART) -- the value would end the part: another delimiter
    end
    parts[i] = part
  end
  parts[#parts + 1] = "--" .. boundary .. "--\r\n"
  return table.concat(parts), MULTIPART .. "; boundary=" .. boundary
end

local ENCODERS = {
  [JSON] = function(args, content_type)
    local text, problem = require("veloflux.pdk.json").encode(args)
    return text, text and content_type or problem
  end,
  [FORM] = function(args, content_type)
    local text, problem = query.encode(args)
    return text, text and content_type or problem
  end,
  [MULTIPART] = encode_multipart,
}

--- Says whether tables can be written as this media type.
function M.can_encode(content_type) return ENCODERS[kind_of(content_type)] ~= nil end

--- Encodes a table.
-- @param content_type text of a field Content-Type that can_encode
-- @return content and its Content-Type; or nil and a message
function M.encode(args, content_type) return ENCODERS[kind_of(content_type)](args, content_type) end

return M

--- The parts of multipart/form-data (RFC 7578), in order. `raw` of one is what stands between two
-- delimiters. Read strictly: what two parsers could see differently is no multipart body here.
local lists = require "veloflux.plugins.request-transformer.list"

local M = {}

local MOST = 1000
local BOUNDARY = "[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]"
local DISPOSITION = "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Dd][Ii][Ss][Pp][Oo][Ss][Ii][Tt][Ii][Oo][Nn]:"
local FILENAME, QUOTED_FILENAME = '^%s*;%s*filename%*?=[^;%s"]+%s*$', '^%s*;%s*filename="[^"\\]*"%s*$'

local function boundary_of(content_type)
  local boundary, rest = content_type:match(";%s*" .. BOUNDARY .. '="([^"\\]*)"(.*)$')
  if not boundary then boundary, rest = content_type:match(";%s*" .. BOUNDARY .. '=([^;%s"]+)(.*)$') end
  if not boundary or #boundary == 0 or #boundary > 70 or boundary:find "[^%w'()+_,%-./:=? ]" then return nil end
  return not rest:find(BOUNDARY) and boundary or nil
end

--- Finds the name in the Content-Disposition of a part's head.
-- @return the name and its place in `head`; nil when there is none, or more than one could be meant
local function name_of(head)
  local name, from, at = nil, nil, 1
  while at <= #head do
    local stop = head:find("\r\n", at, true)
    local line = head:sub(at, stop - 1)
    if line:find "[%z\1-\8\10-\31]" then return nil end
    if line:find(DISPOSITION) then
      local start, found, rest = line:match '^[^:]+:%s*form%-data%s*;%s*name="()([^"\\]*)"(.*)$'
      if name or not found then return nil end
      if rest ~= "" and not rest:find(FILENAME) and not rest:find(QUOTED_FILENAME) then return nil end
      name, from = found, at + start - 1
    end
    at = stop + 2
  end
  return name, from
end

local function quoted(name) return (name:gsub('[%c"\\]', function(c) return ("%%%02X"):format(c:byte()) end)) end

local FORMAT = {}

function FORMAT.make(name, value)
  return ('Content-Disposition: form-data; name="%s"\r\n\r\n%s'):format(quoted(name), value)
end

--- The other fields of a part, such as a file's, stay.
function FORMAT.rename(item, new_name)
  item.raw = item.raw:sub(1, item.from - 1) .. quoted(new_name) .. item.raw:sub(item.to)
end

local function read_part(raw)
  local head = raw:match "^(.-\r\n)\r\n"
  local name, from = nil, nil
  if head then name, from = name_of(head) end
  if not name then return nil end
  return { name = name, raw = raw, from = from, to = from + #name }
end

--- Reads a body.
-- @param content_type the value of Content-Type
-- @return a list (list.lua) with its boundary; or nil when it is not well-formed
function M.parse(body, content_type)
  local boundary = boundary_of(content_type)
  if not boundary then return nil end
  local delimiter, items = "\r\n--" .. boundary, {}
  local text, at = "\r\n" .. body, #delimiter + 1
  if text:sub(1, #delimiter) ~= delimiter then return nil end
  while text:sub(at, at + 1) == "\r\n" do
    local stop = text:find(delimiter, at, true)
    local part = stop and #items < MOST and read_part(text:sub(at + 2, stop - 1))
    if not part then return nil end
    items[#items + 1], at = part, stop + #delimiter
  end
  if text:sub(at, at + 1) ~= "--" or not text:find("^[\r\n]*$", at + 2) then return nil end
  local list = lists.new(FORMAT, items)
  list.boundary = boundary
  return list
end

--- Writes the body. Returns nil when a value that was put in has the delimiter in it.
function M.format(list)
  local out, delimiter = {}, "--" .. list.boundary
  for _, part in ipairs(list.items) do
    if part.is_new and part.raw:find(delimiter, 1, true) then return nil end
    out[#out + 1] = delimiter .. "\r\n" .. part.raw .. "\r\n"
  end
  out[#out + 1] = delimiter .. "--\r\n"
  return table.concat(out)
end

return M

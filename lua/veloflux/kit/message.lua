--- HTTP/1.1 as the clients and hosts of a spec speak it: simple, and as literal as the spec wants it.
local sorted = require "veloflux.sorted"

local M = {}

local REASONS = { [200] = "OK", [201] = "Created", [204] = "No Content", [301] = "Moved Permanently", [302] = "Found",
  [304] = "Not Modified", [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
  [429] = "Too Many Requests", [500] = "Internal Server Error", [502] = "Bad Gateway", [503] = "Service Unavailable",
  [504] = "Gateway Timeout" }

function M.reason(status) return REASONS[status] or "Unknown" end

-- Headers: names in any case; a repeated field is a list, as in pdk.request.get_headers
local Headers = {
  __index = function(self, name)
    return type(name) == "string" and rawget(self, (name:lower():gsub("_", "-"))) or nil
  end,
}

--- Returns the headers of a list of {name, value}: a table that finds names in any case.
function M.headers_of(fields)
  local headers = {}
  for _, field in ipairs(fields) do
    local name, value = field[1]:lower(), field[2]
    local known = headers[name]
    if type(known) == "table" then
      known[#known + 1] = value
    else
      headers[name] = known and { known, value } or value
    end
  end
  return setmetatable(headers, Headers)
end

local function parse_fields(text)
  local fields = {}
  for line in (text .. "\r\n"):gmatch "(.-)\r\n" do
    local name, value = line:match "^([^:]+):%s*(.-)%s*$"
    if name then fields[#fields + 1] = { name, value } end
  end
  return fields
end

--- Reads a head.
-- @return first line, headers, fields; or nil, why, and what has come of it
function M.read_head(wire)
  local text, why, rest = wire:read_to "\r\n\r\n"
  if not text then return nil, why, rest end
  local line, more = text:match "^(.-)\r\n(.*)$"
  local fields = parse_fields(more or "")
  return line or text, M.headers_of(fields), fields
end

local function read_chunks(wire)
  local parts = {}
  while true do
    local line, why = wire:read_to "\r\n"
    local size = line and tonumber(line:match "^%x+", 16)
    if not size then return nil, why or "malformed", table.concat(parts) end
    if size == 0 then break end
    local data, rest
    data, why, rest = wire:read(size)
    if not data then return nil, why, table.concat(parts) .. rest end
    parts[#parts + 1] = data
    wire:read(2)
  end
  repeat
    local line, why = wire:read_to "\r\n" -- trailers
    if not line then return nil, why, table.concat(parts) end
  until line == ""
  return table.concat(parts)
end

local function read_all(wire)
  local parts = {}
  while true do
    local data, why = wire:receive()
    if not data and why == "reset" then return nil, why, table.concat(parts) end
    if not data then return table.concat(parts) end
    parts[#parts + 1] = data
  end
end

--- Reads the body that a head announces.
-- @param to_end without any framing it goes to the end of the connection
-- @return the body; or nil, why, and what has come of it
function M.read_body(wire, headers, to_end)
  local coding, length = headers["transfer-encoding"], headers["content-length"]
  if coding then return read_chunks(wire) end
  if length then return wire:read(tonumber(length)) end
  return to_end and read_all(wire) or ""
end

-- Writing -------------------------------------------------------------------------------------------

--- Makes a list of fields of what a spec says: a map from name to value or list, or a list of {name, value}.
function M.fields_of(headers)
  local fields = {}
  for _, field in ipairs(headers or {}) do fields[#fields + 1] = { field[1], tostring(field[2]) } end
  for _, name in ipairs(sorted.names(headers or {})) do
    if type(name) == "string" then
      local values = headers[name]
      for _, value in ipairs(type(values) == "table" and values or { values }) do
        fields[#fields + 1] = { name, tostring(value) }
      end
    end
  end
  return fields
end

function M.has(fields, name)
  for _, field in ipairs(fields) do
    if field[1]:lower() == name then return true end
  end
  return false
end

function M.head(first_line, fields)
  local lines = { first_line }
  for _, field in ipairs(fields) do lines[#lines + 1] = field[1] .. ": " .. field[2] end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- Puts a head in front of the pieces of its body.
-- @param together the first piece comes with the head
function M.join(head, pieces, together)
  local parts = { head }
  for i, piece in ipairs(pieces) do
    if i == 1 and together then parts[1] = head .. piece else parts[#parts + 1] = piece end
  end
  return parts
end

--- Writes a piece of a chunked body.
function M.chunk(piece) return ("%x\r\n%s\r\n"):format(#piece, piece) end

M.LAST_CHUNK = "0\r\n\r\n"

--- Makes what is sent of a body: its pieces, and adds the field that announces it.
-- @param body text, or a list of pieces
-- @param options {chunked, random (of kit/pieces.lua) or nil: in one piece}
-- @return list of texts
function M.body(body, fields, options)
  local pieces = type(body) == "table" and body or options.random and options.random:cut(body) or { body }
  local chunked = options.chunked
  if chunked then
    if not M.has(fields, "transfer-encoding") then fields[#fields + 1] = { "Transfer-Encoding", "chunked" } end
    local coded = {}
    for _, piece in ipairs(pieces) do
      if piece ~= "" then coded[#coded + 1] = M.chunk(piece) end
    end
    coded[math.max(1, #coded)] = (coded[#coded] or "") .. M.LAST_CHUNK
    return options.random and type(body) == "string" and options.random:cut(table.concat(coded)) or coded
  end
  local length = #table.concat(pieces)
  if not M.has(fields, "content-length") and (length > 0 or options.announce_empty) then
    fields[#fields + 1] = { "Content-Length", tostring(length) }
  end
  return pieces
end

return M

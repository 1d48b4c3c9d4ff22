--- A strict HTTP/1.1 message reader (RFC 9112) for specs. It shares nothing with the product, keeps every raw byte, and
-- reports anything that is not exactly well-formed instead of repairing it.
--
-- A message is a table:
--   start_line                string without CRLF
--   method, target | status, reason; version ("1.1")
--   head                      the raw header section, start line and empty line included
--   fields                    list of { name, value, raw } in order of arrival, names as sent
--   framing                   "none", "length", "chunked", "close" (responses) or "tunnel" (after 101)
--   body                      decoded content; nil until read_body
--   chunks                    list of { size, extension } when chunked
--   trailers                  list like fields
--   complete                  true when the body came in full; otherwise `fault` says what happened
local M = {}

local Message = {}
Message.__index = Message

local function values_of(fields, name)
  local found = {}
  for _, field in ipairs(fields) do
    if field.name:lower() == name:lower() then found[#found + 1] = field.value end
  end
  return found
end

--- Returns the values of all fields called `name` (any case), in order.
function Message:all(name) return values_of(self.fields, name) end

--- Returns the values of the fields called `name` joined by ", ", or nil when there is none.
function Message:get(name)
  local found = values_of(self.fields, name)
  return #found > 0 and table.concat(found, ", ") or nil
end

--- Returns the trailer fields called `name` joined by ", ", or nil.
function Message:trailer(name)
  local found = values_of(self.trailers or {}, name)
  return #found > 0 and table.concat(found, ", ") or nil
end

local TOKEN = "^[!#$%%&'*+%-.^_`|~%w]+$"

local function parse_field(line)
  local name, value = line:match "^([^:]*):[ \t]*(.-)[ \t]*$"
  if not name then return nil, ("field line without colon: %q"):format(line) end
  if not name:match(TOKEN) then return nil, ("field name is no token: %q"):format(line) end
  if value:find "[%z\1-\8\10-\31\127]" then return nil, ("control character in field: %q"):format(line) end
  return { name = name, value = value, raw = line }
end

-- Splits a section whose lines all end in CRLF, up to and including its empty line.
local function parse_lines(section)
  local lines = {}
  for line in section:gmatch "(.-)\r\n" do
    if line:find "[\r\n]" then return nil, ("bare CR or LF: %q"):format(line) end
    if line == "" then break end
    lines[#lines + 1] = line
  end
  return lines
end

local function parse_fields(lines, first)
  local fields = {}
  for i = first, #lines do
    local field, fault = parse_field(lines[i])
    if not field then return nil, fault end
    fields[#fields + 1] = field
  end
  return fields
end

local function parse_request_line(line, message)
  message.method, message.target, message.version = line:match "^([^ ]+) ([^ ]+) HTTP/(%d%.%d)$"
  if not message.method or not message.method:match(TOKEN) then return ("request line: %q"):format(line) end
end

local function parse_status_line(line, message)
  local version, status, reason = line:match "^HTTP/(%d%.%d) (%d%d%d) (.*)$"
  if not version then return ("status line: %q"):format(line) end
  message.version, message.status, message.reason = version, tonumber(status), reason
end

-- The framing of a message, RFC 9112 section 6.3.
local function framing_of(message, request_method)
  local codings, lengths = message:all "transfer-encoding", message:all "content-length"
  if #codings > 0 and #lengths > 0 then return nil, "both Transfer-Encoding and Content-Length" end
  if #lengths > 1 then return nil, "several Content-Length" end
  local is_response = message.status ~= nil
  if is_response then
    if message.status == 101 or (request_method == "CONNECT" and message.status < 300) then return "tunnel" end
    local without = message.status < 200 or message.status == 204
    if without and (#codings > 0 or #lengths > 0) then return nil, "framing fields in 1xx or 204" end
    if without or message.status == 304 or request_method == "HEAD" then return "none" end
  end
  if #codings > 0 then
    local coding = table.concat(codings, ", ")
    if coding:lower() ~= "chunked" then return nil, "Transfer-Encoding: " .. coding end
    if message.version == "1.0" then return nil, "Transfer-Encoding in HTTP/1.0" end
    return "chunked"
  end
  if #lengths == 1 then
    if not lengths[1]:match "^%d+$" then return nil, "Content-Length: " .. lengths[1] end
    return "length", tonumber(lengths[1])
  end
  return is_response and "close" or "none"
end

--- Reads one header section.
-- @param stream support.stream
-- @param kind "request" or "response"
-- @param request_method for responses: the method that was asked, decides about the body
-- @return a message without body; or nil and why: "eof" or another end of the stream before the first byte, or a
--   description that starts with "cut short" or "malformed"
function M.read_head(stream, kind, request_method)
  local section, ended = stream:read_until("\r\n\r\n", "the head of a " .. kind)
  if not section then
    local rest = stream:peek()
    if rest == "" then return nil, ended end
    return nil, ("cut short by %s: %q"):format(ended, rest:sub(1, 200))
  end
  local lines, fault = parse_lines(section)
  if not lines then return nil, "malformed: " .. fault end
  local message = setmetatable({ head = section, start_line = lines[1] or "" }, Message)
  fault = (kind == "request" and parse_request_line or parse_status_line)(message.start_line, message)
  if fault then return nil, "malformed: " .. fault end
  message.fields, fault = parse_fields(lines, 2)
  if not message.fields then return nil, "malformed: " .. fault end
  message.framing, message.length = framing_of(message, request_method)
  if not message.framing then return nil, "malformed: " .. message.length end
  return message
end

local function read_length(stream, message)
  local body, ended = stream:read_exact(message.length, "a body of known length")
  if body then
    message.body, message.complete = body, true
  else
    message.body, message.fault = stream:read_rest(), "cut short by " .. ended
  end
end

local function read_trailers(stream, message)
  local lines = {}
  while true do
    local line, ended = stream:read_until("\r\n", "trailers")
    if not line then return "cut short by " .. ended end
    if line == "\r\n" then break end
    line = line:sub(1, -3)
    if line:find "[\r\n]" then return ("malformed: bare CR or LF in trailer: %q"):format(line) end
    lines[#lines + 1] = line
  end
  local trailers, fault = parse_fields(lines, 1)
  if not trailers then return "malformed: " .. fault end
  message.trailers = trailers
end

-- Reads one chunk into parts. Returns its size, or nil and the fault.
local function read_chunk(stream, message, parts)
  local line, ended = stream:read_until("\r\n", "a chunk size")
  if not line then return nil, "cut short by " .. ended end
  local digits, extension = line:match "^(%x+)([^\r\n]*)\r\n$"
  if not digits or (extension ~= "" and not extension:match "^[ \t]*;") then
    return nil, ("malformed: chunk size line %q"):format(line)
  end
  local size = tonumber(digits, 16)
  message.chunks[#message.chunks + 1] = { size = size, extension = extension }
  if size == 0 then return 0 end
  local data
  data, ended = stream:read_exact(size, "chunk data")
  if not data then
    parts[#parts + 1] = stream:read_rest()
    return nil, "cut short by " .. ended
  end
  parts[#parts + 1] = data
  local tail = stream:read_exact(2, "the end of a chunk")
  if not tail then return nil, "cut short in the end of a chunk" end
  if tail ~= "\r\n" then return nil, ("malformed: %q after chunk data"):format(tail) end
  return size
end

local function read_chunked(stream, message)
  local parts = {}
  message.chunks = {}
  local size, fault = read_chunk(stream, message, parts)
  while size and size > 0 do size, fault = read_chunk(stream, message, parts) end
  fault = fault or read_trailers(stream, message)
  message.body, message.fault, message.complete = table.concat(parts), fault, fault == nil
end

local function read_to_close(stream, message)
  local body, ended = stream:read_rest "a body that ends with the connection"
  message.body, message.complete = body, ended == "eof"
  if not message.complete then message.fault = "cut short by " .. ended end
end

--- Reads the body of a message in place; sets body, complete, and fault, chunks, trailers where they apply.
-- @return the message
function M.read_body(stream, message)
  if message.body then return message end
  if message.framing == "length" then
    read_length(stream, message)
  elseif message.framing == "chunked" then
    read_chunked(stream, message)
  elseif message.framing == "close" then
    read_to_close(stream, message)
  else
    message.body, message.complete = "", true
  end
  return message
end

return M

--- A raw WebSocket client: says exactly the bytes it is told to, and reads frames strictly (RFC 6455).
--
--     local client = websockets.open(server.ports.admin, "/api/ws/status")
--     client:send_text '{"type":"ping"}'
--     local message = client:read_json()
--     client:close(1000)
local bit = require "bit"
local cjson = require "cjson"
local clients = require "support.client"

local M = {}
local Client = {}
Client.__index = Client

M.CONTINUATION, M.TEXT, M.BINARY, M.CLOSE, M.PING, M.PONG = 0, 1, 2, 8, 9, 10
M.KEY, M.ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" -- of RFC 6455 section 1.3

local function big_endian(value, n)
  local bytes = {}
  for i = n, 1, -1 do
    bytes[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes)
end

--- Masks or unmasks.
local function mask(data, key)
  local out = {}
  for i = 1, #data do out[i] = string.char(bit.bxor(data:byte(i), key:byte((i - 1) % 4 + 1))) end
  return table.concat(out)
end

--- Returns the bytes of a frame.
-- @param options table or nil: more = true (not the last fragment), rsv = bits (1 to 7), unmasked = true, length =
-- what the header says, form = 7, 16 or 64 (bits of the length)
function M.frame(opcode, data, options)
  options = options or {}
  local length = options.length or #data
  local form = options.form or (length < 126 and 7 or length < 65536 and 16 or 64)
  local masked = options.unmasked and 0 or 128
  local first = (options.more and 0 or 128) + (options.rsv or 0) * 16 + opcode
  local head = string.char(first, masked + (form == 7 and length or form == 16 and 126 or 127))
  if form ~= 7 then head = head .. big_endian(length, form / 8) end
  if options.unmasked then return head .. data end
  local key = "\55\250\33\61" -- of the examples in section 5.7
  return head .. key .. mask(data, key)
end

--- Returns the payload of a close frame.
function M.reason(code, text) return big_endian(code, 2) .. (text or "") end

--- The fields of a good handshake.
-- @param fields map of further ones; false takes one away
function M.fields(fields)
  local all = { Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
    ["Sec-WebSocket-Key"] = M.KEY }
  for name, value in pairs(fields or {}) do all[name] = value or nil end
  return all
end

--- Asks for an upgrade and reads the answer.
-- @param options table or nil: fields, behind (bytes sent behind the request), connect (of support.stream), unread =
-- true: the answer is left for read_head
-- @return the client, and the answer's head; its body is read when it is not 101
function M.connect(port, path, options)
  options = options or {}
  local http = clients.connect(port, options.connect)
  local lines = { ("GET %s HTTP/1.1"):format(path), "Host: localhost" }
  for name, value in pairs(M.fields(options.fields)) do lines[#lines + 1] = ("%s: %s"):format(name, value) end
  assert(http:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.behind or "")))
  local self = setmetatable({ http = http, stream = http.stream }, Client)
  return self, not options.unread and self:read_head() or nil
end

--- Reads the answer to the handshake; its body, too, when it is not 101.
function Client:read_head()
  local head = assert(self.http:read_head())
  if head.status ~= 101 then self.http:read_body(head) end
  return head
end

--- The same, and fails the spec unless the answer is 101.
function M.open(port, path, options)
  local client, head = M.connect(port, path, options)
  assert(not head or head.status == 101, "no upgrade: " .. (head and head.status or ""))
  return client, head
end

function Client:send(bytes) return self.http:send(bytes) end

function Client:send_text(text) return self:send(M.frame(M.TEXT, text)) end

function Client:send_json(value) return self:send_text(cjson.encode(value)) end

local function number_of(bytes)
  local value = 0
  for i = 1, #bytes do value = value * 256 + bytes:byte(i) end
  return value
end

--- Reads one frame. Returns {opcode, is_final, data}; or nil and how the stream ended. What a server may not send
-- fails the spec.
function Client:read_frame()
  local head, reason = self.stream:read_exact(2, "a frame")
  if not head then return nil, reason end
  local first, second = head:byte(1, 2)
  assert(first % 128 < 16, "reserved bits are set")
  assert(second < 128, "a server does not mask")
  local length = second
  if second >= 126 then length = number_of(assert(self.stream:read_exact(second == 126 and 2 or 8, "a length"))) end
  assert(second < 126 or length > (second == 126 and 125 or 65535), "a length in a long form")
  local data = length > 0 and assert(self.stream:read_exact(length, "a payload")) or ""
  return { opcode = first % 16, is_final = first >= 128, data = data }
end

--- Reads frames until one has the opcode; others of `skipped` (set of opcodes) are dropped.
function Client:read(opcode, skipped)
  while true do
    local frame, reason = self:read_frame()
    if not frame then error("the connection ended: " .. tostring(reason), 2) end
    if frame.opcode == opcode then return frame end
    if not (skipped and skipped[frame.opcode]) then
      error(("expected opcode %d, got %d: %s"):format(opcode, frame.opcode, frame.data), 2)
    end
  end
end

--- Reads a text, all its fragments; pings are answered.
function Client:read_text()
  local parts = {}
  while true do
    local frame, reason = self:read_frame()
    if not frame then error("the connection ended: " .. tostring(reason), 2) end
    if frame.opcode == (parts[1] and M.CONTINUATION or M.TEXT) then
      parts[#parts + 1] = frame.data
      if frame.is_final then return table.concat(parts) end
    elseif frame.opcode == M.PING then
      self:send(M.frame(M.PONG, frame.data))
    else
      error(("expected a text, got opcode %d: %q"):format(frame.opcode, frame.data), 2)
    end
  end
end

--- Reads a text and decodes it.
function Client:read_json() return cjson.decode(self:read_text()) end

--- Reads texts until one has the type.
function Client:read_type(kind)
  while true do
    local message = self:read_json()
    if message.type == kind then return message end
  end
end

--- Awaits the end. Returns the code and the reason of the server's close frame (nil: there was none), and how the
-- stream ended. Texts and pings before it are dropped; the close frame is answered when `answers`.
function Client:expect_close(answers)
  local code, text
  while true do
    local frame, reason = self:read_frame()
    if not frame then return code, text, reason end
    if frame.opcode == M.CLOSE then
      code, text = #frame.data >= 2 and number_of(frame.data:sub(1, 2)) or 1005, frame.data:sub(3)
      if answers then self:send(M.frame(M.CLOSE, frame.data:sub(1, 2))) end
    end
  end
end

--- Closes as a good client does: sends a close frame, awaits the server's and the end. Returns the server's code.
function Client:close(code)
  self:send(M.frame(M.CLOSE, code and M.reason(code) or ""))
  local answered = self:expect_close()
  self.http:close()
  return answered
end

return M

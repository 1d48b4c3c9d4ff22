--- A raw HTTP/2 client: sends exactly the frames it is given and reads what comes back. HPACK of answers is decoded by
-- nghttp2; header blocks that are sent are literals, or bytes of the spec's own.
--
--     local client = http2.open(server.ports.http)
--     client:send(http2.headers(1, http2.get "/", { ends = true }))
--     local answer = client:answer(1)          -- { status, fields, body, trailers, reset }
local ffi = require "ffi"
local stream = require "support.stream"
local bit = require "bit"

ffi.cdef [[
typedef struct { uint8_t *name, *value; size_t namelen, valuelen; uint8_t flags; } test_h2_nv;
typedef struct test_h2_inflater test_h2_inflater;
int nghttp2_hd_inflate_new(test_h2_inflater **);
void nghttp2_hd_inflate_del(test_h2_inflater *);
ssize_t nghttp2_hd_inflate_hd2(test_h2_inflater *, test_h2_nv *, int *, const uint8_t *, size_t, int);
int nghttp2_hd_inflate_end_headers(test_h2_inflater *);
]]
local nghttp2 = ffi.load "libnghttp2.so.14"

local M = {}

M.PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
M.DATA, M.HEADERS, M.PRIORITY, M.RST_STREAM, M.SETTINGS = 0, 1, 2, 3, 4
M.PUSH_PROMISE, M.PING, M.GOAWAY, M.WINDOW_UPDATE, M.CONTINUATION = 5, 6, 7, 8, 9
M.END_STREAM, M.ACK, M.END_HEADERS, M.PADDED, M.HAS_PRIORITY = 1, 1, 4, 8, 32
M.CODES = { NO_ERROR = 0, PROTOCOL_ERROR = 1, INTERNAL_ERROR = 2, FLOW_CONTROL_ERROR = 3, SETTINGS_TIMEOUT = 4,
  STREAM_CLOSED = 5, FRAME_SIZE_ERROR = 6, REFUSED_STREAM = 7, CANCEL = 8, COMPRESSION_ERROR = 9,
  ENHANCE_YOUR_CALM = 11 }

local function be(value, bytes)
  local out = {}
  for i = bytes - 1, 0, -1 do out[#out + 1] = string.char(math.floor(value / 256 ^ i) % 256) end
  return table.concat(out)
end
M.be = be

local function number(text, from, bytes)
  local value = 0
  for i = from, from + bytes - 1 do value = value * 256 + text:byte(i) end
  return value
end

-- Frames ------------------------------------------------------------------------------------------

--- Any frame: `length` lies when it is given.
function M.frame(kind, flags, id, payload, length)
  return be(length or #payload, 3) .. string.char(kind, flags) .. be(id, 4) .. payload
end

--- An integer of HPACK with a prefix of so many bits (RFC 7541 section 5.1).
local function integer(value, bits, first)
  local max = 2 ^ bits - 1
  if value < max then return string.char(first + value) end
  local out = { string.char(first + max) }
  value = value - max
  while value >= 128 do
    out[#out + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  out[#out + 1] = string.char(value)
  return table.concat(out)
end
M.integer = integer

--- A field as a literal without indexing (RFC 7541 section 6.2.2).
function M.literal(name, value)
  return "\0" .. integer(#name, 7, 0) .. name .. integer(#value, 7, 0) .. value
end

--- A header block of { name, value } pairs; a string is bytes as they are.
function M.block(fields)
  if type(fields) == "string" then return fields end
  local out = {}
  for _, field in ipairs(fields) do
    out[#out + 1] = type(field) == "string" and field or M.literal(field[1], field[2])
  end
  return table.concat(out)
end

--- The fields of a request, further pairs behind them. `change` maps names to values, or to false: left out.
function M.request(method, path, more, change)
  local out = {}
  for _, field in ipairs { { ":method", method }, { ":scheme", "http" }, { ":authority", "localhost" },
    { ":path", path } } do
    local value = change and change[field[1]]
    if value == nil then value = field[2] end
    if value then out[#out + 1] = { field[1], value } end
  end
  for _, field in ipairs(more or {}) do out[#out + 1] = field end
  return out
end

function M.get(path, more, change) return M.request("GET", path, more, change) end

--- HEADERS. options: ends (END_STREAM), open (no END_HEADERS), pad (bytes), flags (more of them), before (payload in
-- front of the block)
function M.headers(id, fields, options)
  options = options or {}
  local flags = (options.ends and M.END_STREAM or 0) + (options.open and 0 or M.END_HEADERS) + (options.flags or 0)
  local payload = (options.before or "") .. M.block(fields)
  if options.pad then
    flags = flags + M.PADDED
    payload = string.char(options.pad) .. payload .. ("\0"):rep(options.pad)
  end
  return M.frame(M.HEADERS, flags, id, payload)
end

function M.continuation(id, fields, ends) return M.frame(M.CONTINUATION, ends and M.END_HEADERS or 0, id,
  M.block(fields)) end

function M.data(id, bytes, ends) return M.frame(M.DATA, ends and M.END_STREAM or 0, id, bytes) end

--- SETTINGS of { id, value } pairs.
function M.settings(pairs_of)
  local out = {}
  for i, pair in ipairs(pairs_of or {}) do out[i] = be(pair[1], 2) .. be(pair[2], 4) end
  return M.frame(M.SETTINGS, 0, 0, table.concat(out))
end

M.SETTINGS_ACK = M.frame(M.SETTINGS, M.ACK, 0, "")
function M.ping(bytes) return M.frame(M.PING, 0, 0, bytes or "pingpong") end
function M.rst(id, code) return M.frame(M.RST_STREAM, 0, id, be(code, 4)) end
function M.window(id, by) return M.frame(M.WINDOW_UPDATE, 0, id, be(by, 4)) end
function M.goaway(last, code) return M.frame(M.GOAWAY, 0, 0, be(last, 4) .. be(code, 4)) end

-- The connection ----------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

--- Wraps a connected stream (support.stream).
function M.wrap(conn)
  local inflater = ffi.new "test_h2_inflater *[1]"
  assert(nghttp2.nghttp2_hd_inflate_new(inflater) == 0)
  return setmetatable({ stream = conn, inflater = ffi.gc(inflater[0], nghttp2.nghttp2_hd_inflate_del), streams = {},
    frames = {} }, Client)
end

--- Connects and greets. options: bare = true sends nothing; settings = pairs
function M.open(port, options)
  options = options or {}
  local conn, err = stream.connect(port)
  if not conn then error(("cannot connect to port %d: %s"):format(port, err), 2) end
  local self = M.wrap(conn)
  if not options.bare then self:send(M.PREFACE .. M.settings(options.settings)) end
  return self
end

function Client:send(...)
  for _, bytes in ipairs { ... } do self.stream:write(bytes) end
end

function Client:inflate(block)
  local fields, field, flags = {}, ffi.new "test_h2_nv", ffi.new "int[1]"
  local at, left = ffi.cast("const uint8_t *", block), #block
  while true do
    local n = tonumber(nghttp2.nghttp2_hd_inflate_hd2(self.inflater, field, flags, at, left, 1))
    assert(n >= 0, "the answer's header block is malformed")
    at, left = at + n, left - n
    if bit.band(flags[0], 2) ~= 0 then
      fields[#fields + 1] = { ffi.string(field.name, field.namelen), ffi.string(field.value, field.valuelen) }
    end
    if bit.band(flags[0], 1) ~= 0 then break end
  end
  nghttp2.nghttp2_hd_inflate_end_headers(self.inflater)
  return fields
end

--- Reads the next frame: { kind, flags, id, payload }; nil and why when the connection ended.
function Client:read_frame()
  local head, why = self.stream:read_exact(9)
  if not head then return nil, why end
  local length = number(head, 1, 3)
  local payload = ""
  if length > 0 then
    payload, why = self.stream:read_exact(length)
    if not payload then return nil, why end
  end
  local frame = { kind = head:byte(4), flags = head:byte(5), id = number(head, 6, 4), payload = payload }
  self.frames[#self.frames + 1] = frame
  self:note(frame)
  return frame
end

local function stream_of(self, id)
  local found = self.streams[id] or { body = {}, interim = {} }
  self.streams[id] = found
  return found
end

local function note_headers(self, found, frame)
  local fields = self:inflate(frame.payload)
  local status = fields[1] and fields[1][1] == ":status" and tonumber(fields[1][2])
  if status and status < 200 then
    found.interim[#found.interim + 1] = { status = status, fields = fields }
  elseif status then
    found.status, found.fields = status, fields
  else
    found.trailers = fields
  end
end

--- Keeps what a frame says of its stream.
function Client:note(frame)
  if frame.kind == M.GOAWAY then
    self.goaway = { last = number(frame.payload, 1, 4), code = number(frame.payload, 5, 4) }
  elseif frame.kind == M.SETTINGS and bit.band(frame.flags, M.ACK) == 0 then
    self.has_settings = true
    self:send(M.SETTINGS_ACK)
  end
  if frame.id == 0 then return end
  local found = stream_of(self, frame.id)
  if frame.kind == M.HEADERS then
    assert(bit.band(frame.flags, M.END_HEADERS) ~= 0, "a header block in pieces")
    note_headers(self, found, frame)
  elseif frame.kind == M.DATA then
    found.body[#found.body + 1] = frame.payload
  elseif frame.kind == M.RST_STREAM then
    found.reset = number(frame.payload, 1, 4)
  end
  if (frame.kind == M.HEADERS or frame.kind == M.DATA) and bit.band(frame.flags, M.END_STREAM) ~= 0 then
    found.ended = true
  end
end

--- Reads until `done(self)` is true or the connection ends. Returns true, or nil and why.
function Client:read_until(done)
  while not done(self) do
    local frame, why = self:read_frame()
    if not frame then return nil, why end
  end
  return true
end

--- Awaits the end of a stream: { status, fields, body, trailers, interim, reset }; nil and why without one.
function Client:answer(id)
  local found = stream_of(self, id)
  local ok, why = self:read_until(function() return found.ended or found.reset end)
  if not ok then return nil, why end
  return { status = found.status, fields = found.fields, body = table.concat(found.body), trailers = found.trailers,
    interim = found.interim, reset = found.reset, ended = found.ended }
end

--- Awaits the end of the connection. Returns the code of GOAWAY, or nil, and "eof" or "reset".
function Client:expect_end()
  local _, why = self:read_until(function() return false end)
  return self.goaway and self.goaway.code, why
end

--- Reads a frame of one kind, others before it are noted.
function Client:expect_frame(kind, id)
  local found
  local ok, why = self:read_until(function()
    local last = self.frames[#self.frames]
    if last and last.kind == kind and (not id or last.id == id) and last ~= self.last_found then found = last end
    return found
  end)
  self.last_found = found
  return ok and found, why
end

--- The value of a field of an answer; several are joined by ", ".
function M.field(fields, name)
  local values = {}
  for _, field in ipairs(fields or {}) do
    if field[1] == name then values[#values + 1] = field[2] end
  end
  return #values > 0 and table.concat(values, ", ") or nil
end

function Client:close() self.stream:close() end

return M

--- Origin servers that speak HTTP/2 frame by frame (RFC 9113), as specs script them.
--
--     local origin = h2_origins.start(function(call)
--       call:head(200, { { "content-type", "text/plain" } })
--       call:data("hello", true)
--     end)
--
-- The handler runs once per request, in a coroutine, when the request's head came; call:body() awaits the rest.
-- Header blocks are read by nghttp2's HPACK, and written as literals.
local bit = require "bit"
local ffi = require "ffi"
local loop = require "support.loop"
local origins = require "support.origin"

ffi.cdef [[
typedef struct h2o_inflater h2o_inflater;
typedef struct { uint8_t *name; uint8_t *value; size_t namelen; size_t valuelen; uint8_t flags; } h2o_nv;
int nghttp2_hd_inflate_new(h2o_inflater **out);
void nghttp2_hd_inflate_del(h2o_inflater *inflater);
ssize_t nghttp2_hd_inflate_hd2(h2o_inflater *inflater, h2o_nv *out, int *flags, const uint8_t *data, size_t len,
  int is_final);
int nghttp2_hd_inflate_end_headers(h2o_inflater *inflater);
]]
local nghttp2 = ffi.load "libnghttp2.so.14"

local M = {}

M.TYPES = { DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
  WINDOW_UPDATE = 8, CONTINUATION = 9 }
local NAMES = {}
for name, number in pairs(M.TYPES) do NAMES[number] = name end
M.END_STREAM, M.END_HEADERS, M.ACK = 1, 4, 1
local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

local function u32(n)
  return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
    bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

local function read_u32(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return ((a % 128 * 256 + b) * 256 + c) * 256 + d
end

--- A frame as bytes.
-- @param kind name of a type, or its number
function M.frame(kind, flags, stream, payload)
  payload = payload or ""
  return u32(#payload):sub(2) .. string.char(M.TYPES[kind] or kind, flags) .. u32(stream) .. payload
end

local function integer(n, prefix)
  local most = 2 ^ prefix - 1
  if n < most then return string.char(n) end
  local out = { string.char(most) }
  n = n - most
  while n >= 128 do
    out[#out + 1] = string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return table.concat(out) .. string.char(n)
end

--- A header block: literals that are not indexed (RFC 7541 section 6.2.2).
-- @param fields list of { name, value }
function M.block(fields)
  local out = {}
  for _, field in ipairs(fields) do
    out[#out + 1] = "\0" .. integer(#field[1], 7) .. field[1] .. integer(#field[2], 7) .. field[2]
  end
  return table.concat(out)
end

--- SETTINGS.
-- @param values map from number to value
function M.settings(values)
  local out = {}
  for id, value in pairs(values or {}) do out[#out + 1] = string.char(0, id) .. u32(value) end
  return M.frame("SETTINGS", 0, 0, table.concat(out))
end

function M.goaway(last, code) return M.frame("GOAWAY", 0, 0, u32(last) .. u32(code)) end
function M.reset(stream, code) return M.frame("RST_STREAM", 0, stream, u32(code)) end
function M.window(stream, bytes) return M.frame("WINDOW_UPDATE", 0, stream, u32(bytes)) end

--- A request and what is answered to it.
local Call = {}
Call.__index = Call

--- Sends the head of an answer.
-- @param fields list of { name, value }, or nil
-- @param ends true when nothing follows
function Call:head(status, fields, ends)
  local all = { { ":status", tostring(status) } }
  for _, field in ipairs(fields or {}) do all[#all + 1] = field end
  self:frame("HEADERS", M.END_HEADERS + (ends and M.END_STREAM or 0), M.block(all))
end

--- Sends content, in frames as large as the proxy's windows allow; awaits them. Returns false when that was in vain.
function Call:data(bytes, ends)
  local link, at = self.link, 1
  repeat
    local size = math.min(#bytes - at + 1, 16384)
    if size > 0 then
      self.origin.changed:wait("a window", function()
        return self.code or link.ended or (self.room > 0 and link.room > 0)
      end)
      if self.code or link.ended then return false end
      size = math.min(size, self.room, link.room)
      self.room, link.room = self.room - size, link.room - size
    end
    local piece = bytes:sub(at, at + size - 1)
    at = at + size
    self:frame("DATA", ends and at > #bytes and M.END_STREAM or 0, piece)
  until at > #bytes
  return true
end

function Call:trailers(fields) self:frame("HEADERS", M.END_HEADERS + M.END_STREAM, M.block(fields)) end

function Call:frame(kind, flags, payload) self.conn:write(M.frame(kind, flags, self.stream, payload)) end

function Call:reset(code) self.conn:write(M.reset(self.stream, code)) end

--- A field of the request, or nil.
function Call:get(name)
  for _, field in ipairs(self.fields) do
    if field[1] == name then return field[2] end
  end
end

--- Awaits the end of the request. Returns its content.
function Call:body()
  self.origin.changed:wait("the end of a request", function() return self.ended or self.code end)
  return table.concat(self.pieces)
end

--- Awaits that the proxy resets the stream. Returns the code.
function Call:wait_reset()
  return self.origin.changed:wait("RST_STREAM", function() return self.code end)
end

local function inflate(inflater, block)
  local data, at, fields = ffi.cast("const uint8_t *", block), 0, {}
  local nv, flags = ffi.new "h2o_nv", ffi.new "int[1]"
  while true do
    local n = tonumber(nghttp2.nghttp2_hd_inflate_hd2(inflater, nv, flags, data + at, #block - at, 1))
    assert(n >= 0, "a header block that is none")
    at = at + n
    if bit.band(flags[0], 2) ~= 0 then
      fields[#fields + 1] = { ffi.string(nv.name, nv.namelen), ffi.string(nv.value, nv.valuelen) }
    end
    if bit.band(flags[0], 1) ~= 0 then break end
  end
  nghttp2.nghttp2_hd_inflate_end_headers(inflater)
  return fields
end

local function read_frame(conn)
  local head = conn:read_exact(9, "a frame")
  if not head then return nil end
  local size = read_u32("\0" .. head:sub(1, 3), 1)
  local payload = size == 0 and "" or conn:read_exact(size, "a frame's payload")
  return { kind = NAMES[head:byte(4)], flags = head:byte(5), stream = read_u32(head, 6), payload = payload }
end

local handlers = {}

function handlers.HEADERS(self, link, frame)
  local payload = frame.payload
  while bit.band(frame.flags, M.END_HEADERS) == 0 do -- in pieces
    local more = read_frame(link.conn)
    payload, frame.flags = payload .. more.payload, bit.bor(frame.flags, bit.band(more.flags, M.END_HEADERS))
  end
  local fields = inflate(link.inflater, payload)
  local call = link.calls[frame.stream]
  if call then
    call.trailing = fields
  else
    call = setmetatable({ origin = self, conn = link.conn, link = link, stream = frame.stream, fields = fields,
      pieces = {}, room = link.first_room }, Call)
    link.calls[frame.stream] = call
    self.calls[#self.calls + 1] = call
    call.ended = bit.band(frame.flags, M.END_STREAM) ~= 0
    loop.spawn_in(self.inner.scope, self.handler, call)
  end
  call.ended = bit.band(frame.flags, M.END_STREAM) ~= 0
end

function handlers.DATA(self, link, frame)
  local call = link.calls[frame.stream]
  call.pieces[#call.pieces + 1] = frame.payload
  call.ended = bit.band(frame.flags, M.END_STREAM) ~= 0
  if #frame.payload > 0 and not self.is_stingy then
    link.conn:post(M.window(0, #frame.payload))
    if not call.ended then link.conn:post(M.window(frame.stream, #frame.payload)) end
  end
end

function handlers.RST_STREAM(_, link, frame)
  local call = link.calls[frame.stream]
  if call then call.code = read_u32(frame.payload, 1) end
end

function handlers.SETTINGS(self, link, frame)
  for at = 1, #frame.payload, 6 do
    if frame.payload:sub(at, at + 1) == "\0\4" then link.first_room = read_u32(frame.payload, at + 2) end
  end
  if bit.band(frame.flags, M.ACK) == 0 and not self.is_silent then link.conn:post(M.frame("SETTINGS", M.ACK, 0)) end
end

function handlers.PING(self, link, frame)
  self.pings = self.pings + 1
  local is_answer = bit.band(frame.flags, M.ACK) ~= 0
  if not is_answer and not self.is_mute then link.conn:post(M.frame("PING", M.ACK, 0, frame.payload)) end
end

function handlers.WINDOW_UPDATE(_, link, frame)
  local call = link.calls[frame.stream]
  local owner = frame.stream == 0 and link or call
  if owner then owner.room = owner.room + read_u32(frame.payload, 1) end
end

function handlers.GOAWAY(_, link, frame) link.goaway = read_u32(frame.payload, 5) end

local function serve(self, conn)
  local holder = ffi.new "h2o_inflater *[1]"
  assert(nghttp2.nghttp2_hd_inflate_new(holder) == 0)
  local link = { conn = conn, calls = {}, room = 65535, first_room = 65535,
    inflater = ffi.gc(holder[0], nghttp2.nghttp2_hd_inflate_del) }
  self.links[#self.links + 1] = link
  local preface = conn:read_exact(#PREFACE, "the preface")
  if preface ~= PREFACE then
    self.faults[#self.faults + 1] = "no preface"
    return
  end
  if not self.is_silent then conn:write(M.settings(self.settings)) end
  for frame in read_frame, conn do
    local handler = handlers[frame.kind]
    if handler then handler(self, link, frame) end
    self.changed:notify()
  end
  link.ended = true
  self.changed:notify()
end

--- Starts one on an ephemeral port. The scope closes it.
-- @param handler function(call)
-- @param options table or nil: settings (map from number to value), is_silent (says nothing of its own), is_stingy
--   (gives no window back), is_mute (does not answer PING), port
-- @return port, address, accepted (through inner), calls, links (connections, each with calls by stream, goaway: the
--   code of the proxy's GOAWAY, ended), pings, faults
function M.start(handler, options)
  local self = { handler = handler, calls = {}, links = {}, faults = {}, pings = 0, changed = loop.condition() }
  for key, value in pairs(options or {}) do self[key] = value end
  self.inner = origins.start(nil, { preface = function(conn) serve(self, conn) end, host = self.host,
    port = self.port })
  self.port, self.address = self.inner.port, self.inner.address
  function self.wait_calls(_, count)
    return self.changed:wait(("%d calls"):format(count), function() return self.calls[count] end)
  end
  function self.wait(_, what, is_so) return self.changed:wait(what, is_so) end
  return self
end

return M

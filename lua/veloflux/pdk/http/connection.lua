--- One request and its answer on one connection: what the C side (src/http/h1_client.h) does step by step, with the
-- waiting in between.
local ffi = require "ffi"
local headers = require "veloflux.pdk.http.headers"
local network = require "veloflux.runtime.network"
local streams = require "veloflux.runtime.stream"

ffi.cdef [[
struct vf_h1_client;
struct vf_h1_client *vf_h1_client_new(uint64_t header_bytes, uint64_t header_count);
void vf_h1_client_free(struct vf_h1_client *client);
int vf_h1_client_begin(struct vf_h1_client *client, const char *method, size_t method_len, const char *target,
                       size_t target_len, const char *host, size_t host_len);
int vf_h1_client_field(struct vf_h1_client *client, const char *name, size_t name_len, const char *value,
                       size_t value_len);
int vf_h1_client_write_head(struct vf_h1_client *client, struct vf_socket *socket, int64_t length);
int vf_h1_client_read_head(struct vf_h1_client *client, struct vf_socket *socket, uint64_t timeout_ms);
int vf_h1_client_read_body(struct vf_h1_client *client, struct vf_socket *socket, bool whole, uint64_t max_bytes,
                           uint64_t timeout_ms);
void vf_h1_client_take_body(struct vf_h1_client *client, struct vf_str *out);
bool vf_h1_client_is_done(const struct vf_h1_client *client);
bool vf_h1_client_may_keep(const struct vf_h1_client *client);
bool vf_h1_client_has_begun(const struct vf_h1_client *client);
uint32_t vf_h1_client_status(const struct vf_h1_client *client, struct vf_str *reason);
uint32_t vf_h1_client_n_fields(const struct vf_h1_client *client, bool trailers);
void vf_h1_client_field_at(const struct vf_h1_client *client, bool trailers, uint32_t index, struct vf_str *name,
                           struct vf_str *value);
const char *vf_h1_client_rule(const struct vf_h1_client *client);
]]
local C = ffi.C
local PENDING, EOF, MALFORMED, TOO_LARGE = network.PENDING, network.EOF, network.MALFORMED, network.TOO_LARGE

local HEADER_BYTES, HEADER_COUNT = 65536, 256 -- of an answer
local CHUNKED, NO_CONTENT = -1, -2 -- VF_H1_CLIENT_*
local ENDS = { closed = true, reset = true } -- the peer does not listen to the rest of the request
local PIECE_BYTES = 65536 -- of content, when it is read piece by piece

local name_view, value_view = ffi.new "struct vf_str", ffi.new "struct vf_str"

local Connection = {}
Connection.__index = Connection

local M = {}

--- Prepares a request without a connection, so that what is wrong with it is said first.
-- @param request { method, target, host_header, fields (list of { name, value }) }
-- @return connection, or nil, message, code
function M.prepare(request)
  local client = C.vf_h1_client_new(HEADER_BYTES, HEADER_COUNT)
  if client == nil then return nil, "out of memory", "memory" end
  local self = setmetatable({ client = ffi.gc(client, C.vf_h1_client_free), method = request.method }, Connection)
  local method, target, host = request.method, request.target, request.host_header
  local rc = C.vf_h1_client_begin(client, method, #method, target, #target, host, #host)
  if rc < 0 then return nil, ffi.string(C.vf_h1_client_rule(client)), "invalid" end
  for _, field in ipairs(request.fields) do
    rc = C.vf_h1_client_field(client, field[1], #field[1], field[2], #field[2])
    if rc < 0 then
      return nil, ("header %s: %s"):format(field[1]:gsub("[^%w_-]", "?"), ffi.string(C.vf_h1_client_rule(client))),
        "invalid"
    end
  end
  return self
end

-- What is left of the total time, in milliseconds, but at most `limit_ms`.
local function time_left(self, limit_ms)
  if not self.deadline then return limit_ms end
  local left = self.deadline - network.now_ms()
  if left <= 0 then return nil end
  return math.min(left, limit_ms)
end

local function timed_out(what) return nil, what .. ": timed out", "timeout" end

-- The failure of a read as results.
local function failed(self, rc, what)
  if rc == MALFORMED or rc == TOO_LARGE then
    local rule = ffi.string(C.vf_h1_client_rule(self.client))
    if rule ~= "" then return nil, what .. ": " .. rule, network.code(rc) end
  end
  if rc == EOF then return nil, what .. ": the server closed the connection", "closed" end
  local _, err, code = streams.failed(self.stream, rc)
  return nil, what .. ": " .. err, code
end

-- Runs a read of the C side until it is done.
local function finish(self, read, limit_ms, what)
  while true do
    local ms = time_left(self, limit_ms)
    if not ms then return timed_out(what) end
    local rc = read(ms)
    if rc == PENDING then
      rc = streams.await(self.stream, C.vf_socket_reading(self.stream.socket))
      if not self.stream.socket then return failed(self, network.CANCELLED, what) end
      if rc == network.TIMED_OUT then return timed_out(what) end
    elseif rc < 0 then
      return failed(self, rc, what)
    else
      return true
    end
  end
end

-- Sends the pieces of an iterator as chunks. Returns true, false when the server answered before the end, or nil,
-- message, code.
local function send_chunks(self, head, next_piece)
  local parts, n = head, #head
  while true do
    local ok, piece, fault = pcall(next_piece)
    if not ok or piece ~= nil and type(piece) ~= "string" then
      self:close()
      error(ok and "body: expected strings from the function, got a " .. type(piece) or piece, 0)
    end
    if piece == nil and fault ~= nil then return nil, "request content: " .. tostring(fault), "aborted" end
    if piece == nil then
      parts[n + 1] = "0\r\n\r\n"
      n = n + 1
    elseif piece ~= "" then
      parts[n + 1], parts[n + 2], parts[n + 3] = ("%x\r\n"):format(#piece), piece, "\r\n"
      n = n + 3
    end
    local ms = time_left(self, self.send_ms)
    if not ms then return timed_out "request" end
    self.stream.send_ms = ms
    local sent, err, code = self.stream:send_all(parts, n, true)
    if not sent then return nil, err, code end
    if C.vf_socket_unsent(self.stream.socket) > 0 then return false end
    if piece == nil then return true end
    parts, n = {}, 0
  end
end

-- Sends content of a known length behind the head.
local function send_text(self, text)
  local ms = time_left(self, self.send_ms)
  if not ms then return timed_out "request" end
  self.stream.send_ms = ms
  local sent, err, code = self.stream:send_all({ text }, 1, true)
  if not sent then return nil, err, code end
  return C.vf_socket_unsent(self.stream.socket) == 0
end

--- Sends the request on `stream`, which the connection owns from here on.
-- @param body string, iterator function (returns strings, then nil) or nil
-- @return true, or nil, message, code
function Connection:send(stream, body)
  self.stream = stream
  local length = NO_CONTENT
  if type(body) == "function" then
    length = CHUNKED
  elseif body or self.method == "POST" or self.method == "PUT" or self.method == "PATCH" then
    length = #(body or "") -- RFC 9110 section 8.6
  end
  local rc = C.vf_h1_client_write_head(self.client, stream.socket, length)
  if rc < 0 then return nil, "out of memory", "memory" end
  local sent, err, code
  if length == CHUNKED then
    sent, err, code = send_chunks(self, {}, body)
  else
    sent, err, code = send_text(self, body or "")
  end
  if sent == nil and not ENDS[code] then return nil, err, code end
  self.is_sent = sent or false -- if not, an answer may have come all the same; the connection ends with it
  return true
end

local function copy(text) return ffi.string(text.data, text.len) end

local function read_fields(self, trailers)
  local fields = headers.new()
  for i = 0, C.vf_h1_client_n_fields(self.client, trailers) - 1 do
    C.vf_h1_client_field_at(self.client, trailers, i, name_view, value_view)
    headers.add(fields, copy(name_view), copy(value_view))
  end
  return fields
end

--- Reads the head of the answer.
-- @return status, reason, fields; or nil, message, code
function Connection:read_head()
  local ok, err, code = finish(self, function(ms)
    return C.vf_h1_client_read_head(self.client, self.stream.socket, ms)
  end, self.response_ms, "response")
  if not ok then return nil, err, code end
  local status = C.vf_h1_client_status(self.client, value_view)
  return status, copy(value_view), read_fields(self, false)
end

local function take(self)
  C.vf_h1_client_take_body(self.client, value_view)
  return value_view.len > 0 and copy(value_view) or ""
end

--- Reads content: all of it, or the next piece.
-- @return string ("" when there is no more), or nil, message, code
function Connection:read_body(whole, max_bytes)
  local ok, err, code = finish(self, function(ms)
    return C.vf_h1_client_read_body(self.client, self.stream.socket, whole, whole and max_bytes or PIECE_BYTES, ms)
  end, self.read_ms, "response content")
  if not ok then
    if code == "too_large" then err = ("response content: larger than %d bytes"):format(max_bytes) end
    return nil, err, code
  end
  return take(self)
end

--- True once the whole answer was read.
function Connection:is_done() return C.vf_h1_client_is_done(self.client) end

function Connection:trailers() return read_fields(self, true) end

--- True when the connection failed before any byte of an answer came: it may have been closed while it was kept.
function Connection:is_stale() return not C.vf_h1_client_has_begun(self.client) end

--- Gives the stream away for reuse when the answer lets it, else closes it.
-- @param give function(stream)
function Connection:release(give)
  local stream = self.stream
  self.stream = nil
  if not stream then return end
  if self.is_sent and C.vf_h1_client_may_keep(self.client) then
    give(stream)
  else
    stream:close()
  end
end

function Connection:close()
  if self.stream then self.stream:close() end
  self.stream = nil
end

return M

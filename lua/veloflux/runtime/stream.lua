--- Connections that Lua pulls at: connecting, receiving, sending, keeping for reuse. What pdk.socket,
-- pdk.http and pdk.redis stand on; the C side is src/net/socket.h.
--
-- A stream belongs to the task that made it and is closed with it. Results are values, or nil, a
-- message and a code (network.lua).
local ffi = require "ffi"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

ffi.cdef [[
struct vf_socket *vf_socket_new(struct vf_sockets *sockets);
void vf_socket_close(struct vf_socket *socket);
struct vf_op *vf_socket_reading(struct vf_socket *socket);
struct vf_op *vf_socket_writing(struct vf_socket *socket);
int vf_socket_connect(struct vf_socket *socket, const char *host, size_t len, int port, uint64_t timeout_ms);
bool vf_socket_may_retry(const struct vf_socket *socket);
const char *vf_socket_why(const struct vf_socket *socket, int rc);
void vf_socket_set_max_input(struct vf_socket *socket, size_t bytes);
int vf_socket_receive(struct vf_socket *socket, int want, const char *delimiter, size_t n, uint64_t timeout_ms);
void vf_socket_take(struct vf_socket *socket, struct vf_str *out);
void vf_socket_add(struct vf_socket *socket, const char *data, size_t len);
int vf_socket_send(struct vf_socket *socket, uint64_t timeout_ms, bool until_input);
size_t vf_socket_unsent(const struct vf_socket *socket);
int vf_socket_shutdown(struct vf_socket *socket);
int vf_socket_park(struct vf_socket *socket, uint64_t idle_ms);
bool vf_socket_unpark(struct vf_socket *socket);
bool vf_socket_is_open(const struct vf_socket *socket);
int vf_socket_name(const struct vf_socket *socket, bool peer, char *out);
]]
local C = ffi.C
local PENDING, CANCELLED, code_of = network.PENDING, network.CANCELLED, network.code
local to_string = ffi.string

local Stream = {}
Stream.__index = Stream

--- What to receive (enum vf_socket_want).
local ANY, BYTES, UNTIL, ALL = 0, 1, 2, 3
local PIECE = 256 * 1024 -- VF_SOCKET_SEND_BYTES: what may wait here to be sent
local MOST_ADDRESSES = 4 -- of one name, tried by one connect
local CONNECT_S, SEND_S, RECEIVE_S = 3, 60, 60

local view = ffi.new "struct vf_str"
local name_buffer = ffi.new "char[46]"

local M = {}

-- The failure of an operation as results.
local function failed(self, rc)
  if not self.socket then return nil, "the socket was closed meanwhile", "cancelled" end
  return nil, to_string(C.vf_socket_why(self.socket, rc)), code_of(rc)
end
M.failed = failed

--- Makes a stream without a socket: that comes when it connects.
-- @param is_plugins as for `new`
function M.unconnected(is_plugins)
  return setmetatable({
    reused = 0, is_plugins = is_plugins or false,
    connect_ms = CONNECT_S * 1000, send_ms = SEND_S * 1000, receive_ms = RECEIVE_S * 1000,
  }, Stream)
end

--- Makes an unconnected stream with its socket.
-- @param is_plugins true: the plugin has to close it
-- @return stream, or nil, message, code
function M.new(is_plugins)
  local sockets = network.sockets()
  if sockets == nil then return nil, "the process ends", "cancelled" end
  local socket = C.vf_socket_new(sockets)
  if socket == nil then return nil, "too many sockets are open", "too_many" end
  local hold = network.hold_socket(socket, is_plugins or false)
  if not hold then return nil, "out of memory", "memory" end
  local self = M.unconnected(is_plugins)
  self.socket, self.hold = socket, hold
  return self
end

--- Makes a stream of a socket that is connected, or connects, and takes it over.
-- @return stream, or nil, message, code: then it is closed
function M.adopt(socket)
  local hold = network.hold_socket(socket, false)
  if not hold then return nil, "out of memory", "memory" end
  local self = M.unconnected(false)
  self.socket, self.hold = socket, hold
  return self
end

local function drop(self)
  network.free(self.hold)
  self.socket, self.hold = nil, nil
end

-- Waits for an operation of the socket, which another task may close meanwhile, by its own end as well.
local function await(self, op)
  local socket = self.socket
  local rc = network.await(op)
  if self.socket ~= socket or rc == 0 and not C.vf_socket_is_open(socket) then return CANCELLED end
  return rc
end
M.await = await

-- Takes the place of a connection that failed: the next address of the name wants a new one.
local function renew(self)
  if self.socket then drop(self) end
  local fresh, err, code = M.new(self.is_plugins)
  if not fresh then return nil, err, code end
  self.socket, self.hold = fresh.socket, fresh.hold
  if self.max_input then C.vf_socket_set_max_input(self.socket, self.max_input) end
  return true
end

--- Connects.
-- @param host an address or a name; the path of a unix socket when `port` is nil
-- @return true, or nil, message, code
function Stream:connect(host, port)
  if not self.socket then
    local ok, err, code = renew(self)
    if not ok then return nil, err, code end
  end
  self.label = port and host .. ":" .. port or "unix:" .. host
  for attempt = 1, MOST_ADDRESSES do
    local rc = C.vf_socket_connect(self.socket, host, #host, port or -1, self.connect_ms)
    if rc == PENDING then rc = await(self, C.vf_socket_writing(self.socket)) end
    if rc == 0 then return true end
    local _, why, code = failed(self, rc)
    if not self.socket then return nil, why, code end
    if attempt == MOST_ADDRESSES or not C.vf_socket_may_retry(self.socket) then
      drop(self)
      return nil, self.label .. ": " .. why, code
    end
    local ok, err, renew_code = renew(self)
    if not ok then return nil, err, renew_code end
  end
end

local NOT_VERIFIABLE = -2 -- UV_ENOENT

--- Begins TLS on a connection that has just been made.
-- @param name of the peer: asked for, and in its certificate when that is verified
-- @return true, or nil, message, code
function Stream:secure(name, verify)
  local socket = self.socket
  if not socket then return nil, "the socket is not connected", "closed" end
  local rc = C.vf_network_secure(task.run.task, socket, name, #name, verify, self.connect_ms)
  if rc == PENDING then rc = await(self, C.vf_socket_writing(socket)) end
  if rc == 0 then return true end
  if rc == NOT_VERIFIABLE then
    return nil, "this system has no list of authorities to verify the server with", "tls"
  end
  local _, why, code = failed(self, rc)
  if rc == network.TLS and self.socket then why = "TLS: " .. to_string(C.vf_network_tls_why(socket)) end
  return nil, (self.label and self.label .. ": " or "") .. why, code
end

local function not_open() return nil, "the socket is not connected", "closed" end

-- Sends one string in pieces, so that little waits here when the peer is slow.
local function send_long(self, data, until_input)
  local bytes = ffi.cast("const char *", data)
  for at = 0, #data - 1, PIECE do
    local socket = self.socket
    C.vf_socket_add(socket, bytes + at, math.min(PIECE, #data - at))
    local rc = C.vf_socket_send(socket, self.send_ms, until_input)
    if rc == PENDING then rc = await(self, C.vf_socket_writing(socket)) end
    if rc ~= 0 then return failed(self, rc) end
    if until_input and C.vf_socket_unsent(socket) > 0 then return 0 end
  end
  return #data
end

--- Sends strings, together when they are short.
-- @param until_input true: stop when the peer says something meanwhile
-- @return bytes, or nil, message, code; 0 when it stopped
function Stream:send_all(parts, n, until_input)
  if not self.socket then return not_open() end
  local socket, total, queued = self.socket, 0, 0
  until_input = until_input or false
  for i = 1, n do
    local part = parts[i]
    if #part > PIECE then
      local sent, err, code = send_long(self, part, until_input)
      if not sent then return nil, err, code end
      if sent == 0 then return 0 end
      queued = 0
    else
      C.vf_socket_add(socket, part, #part)
      queued = queued + #part
    end
    total = total + #part
    if queued >= PIECE or i == n then
      local rc = C.vf_socket_send(socket, self.send_ms, until_input)
      if rc == PENDING then rc = await(self, C.vf_socket_writing(socket)) end
      if rc ~= 0 then return failed(self, rc) end
      if until_input and C.vf_socket_unsent(socket) > 0 then return 0 end
      queued = 0
    end
  end
  return total
end

-- Receives; after a failure what came before it is the fourth result.
local function receive(self, want, delimiter, n)
  local socket = self.socket
  if not socket then return not_open() end
  local rc = C.vf_socket_receive(socket, want, delimiter, n, self.receive_ms)
  if rc == PENDING then rc = await(self, C.vf_socket_reading(socket)) end
  if rc == 0 then
    C.vf_socket_take(socket, view)
    return to_string(view.data, view.len)
  end
  local _, err, code = failed(self, rc)
  if not self.socket then return nil, err, code end
  C.vf_socket_take(socket, view)
  return nil, err, code, view.len > 0 and to_string(view.data, view.len) or ""
end

function Stream:receive_bytes(n) return receive(self, BYTES, nil, n) end
function Stream:receive_any(most) return receive(self, ANY, nil, most) end
function Stream:receive_all() return receive(self, ALL, nil, 0) end
function Stream:receive_until(delimiter) return receive(self, UNTIL, delimiter, #delimiter) end

--- Bounds what may wait here to be received.
function Stream:set_max_input(bytes)
  self.max_input = bytes
  if self.socket then C.vf_socket_set_max_input(self.socket, bytes) end
end

--- Sends end of file; receiving goes on. Returns true, or nil, message, code.
function Stream:shutdown()
  if not self.socket then return not_open() end
  local rc = C.vf_socket_shutdown(self.socket)
  if rc < 0 then return failed(self, rc) end
  return true
end

--- Gives the socket away, open or not. Returns it; nil when there is none.
function Stream:release()
  local socket = self.socket
  if socket then network.release(self.hold) end
  self.socket, self.hold = nil, nil
  return socket
end

--- Closes at once; may be repeated.
function Stream:close()
  if self.socket then drop(self) end
end

--- Keeps it idle for reuse by any task. Returns false when it was not fit for that; it is closed then.
function Stream:park(idle_ms)
  if not self.socket then return false end
  if C.vf_socket_park(self.socket, idle_ms) < 0 then
    drop(self)
    return false
  end
  network.disown(self.hold)
  return true
end

--- Wakes an idle one for the task that runs. Returns false when it has closed meanwhile.
function Stream:unpark()
  if not C.vf_socket_unpark(self.socket) then
    drop(self)
    return false
  end
  network.own(self.hold, self.is_plugins)
  self.reused = self.reused + 1
  return true
end

function Stream:is_open() return self.socket ~= nil and C.vf_socket_is_open(self.socket) end

--- The address and port of the peer, or our own.
-- @return address, port ("unix" and 0 for unix sockets); or nil, message, code
function Stream:address(of_peer)
  if not self.socket then return not_open() end
  local port = C.vf_socket_name(self.socket, of_peer, name_buffer)
  if port < 0 then return failed(self, port) end
  return to_string(name_buffer), port
end

return M

--- Sockets for plugins: TCP and unix streams, UDP. Calls look as if they blocked; while they wait, only
-- the request (or timer) that made them does.
--
--     local sock = socket.tcp()
--     local ok, err, code = sock:connect("cache.internal", 11211)
--     if not ok then return pdk.log.err(err) end
--     sock:send("get greeting\r\n")
--     local line, err = sock:receive("*l")
--     sock:set_keepalive()
--
-- What fails at run time returns nil, a message for people and a stable code: "timeout", "closed" (the
-- peer has sent end of file, or the socket is not connected), "reset", "refused", "unreachable",
-- "resolve" (the name has no address), "too_large", "too_many", "busy" (another task waits on it),
-- "cancelled", "memory", "invalid", "failed". A value of the wrong type raises.
--
-- Sockets belong to the task that made them: one that it leaves open is closed when it ends, and the
-- log says so once for each plugin (socket.left_open).
local network = require "veloflux.runtime.network"
local streams = require "veloflux.runtime.stream"
local pool = require "veloflux.runtime.stream_pool"
local udp = require "veloflux.runtime.udp"

local IDLE_S, POOL_SIZE = 60, 32

local MAX_INPUT_BYTES = 64 * 1024 * 1024
local MAX_DELIMITER_BYTES = 256 -- VF_SOCKET_UNTIL_BYTES
local CONNECT_S, SEND_S, RECEIVE_S = 3, 60, 60

---@class pdk.socket
local M = {}

---@class pdk.socket.tcp
local Tcp = {}
Tcp.__index = Tcp
Tcp.__metatable = false -- its methods serve all plugins

local function expect(kind, value, name)
  if type(value) ~= kind then error(("%s: expected a %s, got %s"):format(name, kind, type(value)), 3) end
end

local function expect_port(port, name)
  if type(port) ~= "number" or port % 1 ~= 0 or port < 1 or port > 65535 then
    error(name .. ": expected a port from 1 to 65535, got " .. tostring(port), 3)
  end
end

--- Makes an unconnected TCP or unix stream socket.
---@return pdk.socket.tcp? sock
---@return string? err
---@return string? code
function M.tcp()
  network.check "socket.tcp"
  local stream, err, code = streams.new(true)
  if not stream then return nil, err, code end
  return setmetatable({ stream = stream }, Tcp)
end

--- Makes a TCP socket and connects it.
---@async
---@param host string
---@param port? integer
---@param options? { pool?: string }
---@return pdk.socket.tcp? sock
---@return string? err
---@return string? code
function M.connect(host, port, options)
  local sock, err, code = M.tcp()
  if not sock then return nil, err, code end
  local ok, why, why_code = sock:connect(host, port, options)
  if not ok then return nil, why, why_code end
  return sock
end

-- The key under which a connection waits: not shared with other plugins, who may speak otherwise.
local function pool_key(host, port, options)
  local name = options and options.pool or port and host .. ":" .. port or host
  return ("socket %s %s"):format(network.plugin_name(), name)
end

--- Connects, or takes a connection that was kept (set_keepalive) for the same peer by this plugin.
-- A name is looked up by the proxy's resolver; when an address refuses, the next one is tried.
---@async
---@param host string IPv4 or IPv6 address, name, or "unix:/path"
---@param port? integer not for unix sockets
---@param options? { pool?: string } the name under which it is kept; default: host and port
---@return true? ok
---@return string? err "HOST:PORT: why"
---@return string? code
function Tcp:connect(host, port, options)
  expect("string", host, "connect")
  local path = host:match "^unix:(.+)$"
  if not path then expect_port(port, "connect") end
  if self.stream:is_open() then return nil, "the socket is connected already", "busy" end
  self.key = pool_key(host, not path and port or nil, options)
  local kept = pool.take(self.key)
  if kept then
    local fresh = self.stream
    kept.connect_ms, kept.send_ms, kept.receive_ms = fresh.connect_ms, fresh.send_ms, fresh.receive_ms
    kept:set_max_input(fresh.max_input or 1024 * 1024)
    fresh:close()
    self.stream = kept
    return true
  end
  return self.stream:connect(path or host, not path and port or nil)
end

--- Begins TLS on a connection that has just been made. The peer is verified by the system's authorities and by name.
-- On a connection that was kept with TLS of the same name it does nothing; one that was not verified does not pass
-- for one that has to be. Keep connections whose TLS differs under different names (`pool` of `connect`).
---@async
---@param server_name string asked for, and verified
---@param options? { verify?: boolean } false: any certificate will do
---@return true? ok
---@return string? err
---@return string? code "tls": the handshake failed, or the certificate is not good
function Tcp:start_tls(server_name, options)
  expect("string", server_name, "start_tls")
  local stream, verify = self.stream, not (options and options.verify == false)
  if stream.tls_name and stream:is_open() then
    if stream.tls_name == server_name and (stream.tls_verified or not verify) then return true end
    return nil, ("the connection has TLS with %s already%s"):format(stream.tls_name,
      stream.tls_verified and "" or ", not verified"), "tls"
  end
  local ok, err, code = stream:secure(server_name, verify)
  if ok then stream.tls_name, stream.tls_verified = server_name, verify end
  return ok, err, code
end

--- Sets the time limits, in seconds; nil leaves one at its default.
---@param connect_s? number 3: name look-up and connection
---@param send_s? number 60: until the kernel has taken what one send gives it
---@param receive_s? number 60: until one receive has all that it wants
function Tcp:set_timeouts(connect_s, send_s, receive_s)
  self.stream.connect_ms = network.milliseconds(connect_s, CONNECT_S, "set_timeouts")
  self.stream.send_ms = network.milliseconds(send_s, SEND_S, "set_timeouts")
  self.stream.receive_ms = network.milliseconds(receive_s, RECEIVE_S, "set_timeouts")
end

--- Sets one time limit for all three.
---@param seconds number
function Tcp:set_timeout(seconds) self:set_timeouts(seconds, seconds, seconds) end

--- Bounds the bytes that one receive may gather: 1 MiB unless set, at most 64 MiB.
---@param bytes integer
function Tcp:set_max_input(bytes)
  expect("number", bytes, "set_max_input")
  if bytes < 1 or bytes > MAX_INPUT_BYTES then error("set_max_input: expected 1 to 67108864 bytes", 2) end
  self.stream:set_max_input(bytes)
end

local function parts_of(data)
  if type(data) == "table" then
    local parts = {}
    for i, part in ipairs(data) do
      if type(part) ~= "string" and type(part) ~= "number" then expect("string", part, "send: part " .. i) end
      parts[i] = tostring(part)
    end
    return parts, #parts
  end
  if type(data) == "number" then data = tostring(data) end
  expect("string", data, "send")
  return { data }, 1
end

--- Sends everything, waiting while the peer is slow.
---@async
---@param data string|number|(string|number)[] a list is sent as one
---@return integer? bytes
---@return string? err
---@return string? code
function Tcp:send(data) return self.stream:send_all(parts_of(data)) end

local function receive_line(stream)
  local line, err, code, partial = stream:receive_until("\n")
  if not line then return nil, err, code, partial end
  return line:byte(-1) == 13 and line:sub(1, -2) or line
end

--- Receives.
---@async
---@param what? integer|"*l"|"*a" that many bytes; a line, without its line break (the default); or all
-- until the peer's end of file
---@return string? data
---@return string? err
---@return string? code
---@return string? partial what came before the failure; it is not received again
function Tcp:receive(what)
  if what == nil or what == "*l" then return receive_line(self.stream) end
  if what == "*a" then return self.stream:receive_all() end
  if type(what) ~= "number" or what < 0 or what % 1 ~= 0 then
    error("receive: expected a number of bytes, \"*l\" or \"*a\", got " .. tostring(what), 2)
  end
  if what == 0 then return "" end
  return self.stream:receive_bytes(what)
end

--- Receives what has come, waiting for the first byte.
---@async
---@param most? integer bytes, 65536 unless given
---@return string? data
---@return string? err
---@return string? code
function Tcp:receive_any(most)
  most = most or 65536
  expect("number", most, "receive_any")
  if most < 1 then error("receive_any: expected at least 1 byte", 2) end
  return self.stream:receive_any(most)
end

--- Receives up to a delimiter, which is taken and not returned.
---@async
---@param delimiter string plain text of 1 to 256 bytes
---@return string? data
---@return string? err
---@return string? code
---@return string? partial
function Tcp:receive_until(delimiter)
  expect("string", delimiter, "receive_until")
  if #delimiter < 1 or #delimiter > MAX_DELIMITER_BYTES then
    error("receive_until: expected a delimiter of 1 to 256 bytes", 2)
  end
  return self.stream:receive_until(delimiter)
end

--- Sends end of file; what the peer still says can be received.
---@async
---@return true? ok
---@return string? err
---@return string? code
function Tcp:shutdown() return self.stream:shutdown() end

--- Keeps the connection for the next `connect` of this plugin to the same peer, instead of closing it.
-- The socket is unconnected afterwards. A connection that has unread input, or whose peer has closed,
-- is closed.
---@param idle_s? number seconds that it may wait, 60 unless given
---@param size? integer how many may wait for this peer, 32 unless given
---@return true? ok
---@return string? err
---@return string? code
function Tcp:set_keepalive(idle_s, size)
  local idle_ms = network.milliseconds(idle_s, IDLE_S, "set_keepalive")
  if not self.stream:is_open() then return nil, "the socket is not connected", "closed" end
  local kept = pool.give(self.key, self.stream, idle_ms, size or POOL_SIZE)
  self.stream = streams.unconnected(true)
  if not kept then return nil, "the connection is not fit for reuse", "closed" end
  return true
end

--- Returns how often this connection was taken from those that were kept.
---@return integer
function Tcp:get_reused_times() return self.stream.reused end

--- Returns the address and the port of the peer ("unix" and 0 for unix sockets).
---@return string? address
---@return integer|string port_or_err
---@return string? code
function Tcp:get_peer() return self.stream:address(true) end

--- Returns our own address and port.
---@return string? address
---@return integer|string port_or_err
---@return string? code
function Tcp:get_local() return self.stream:address(false) end

--- Closes the connection; may be repeated.
function Tcp:close() self.stream:close() end

---@class pdk.socket.udp
local Udp = {}
Udp.__index = Udp
Udp.__metatable = false

--- Makes a UDP socket without a peer.
---@return pdk.socket.udp? sock
---@return string? err
---@return string? code
function M.udp()
  network.check "socket.udp"
  local raw, err, code = udp.new()
  if not raw then return nil, err, code end
  return setmetatable({ raw = raw }, Udp)
end

--- Sets the peer: datagrams go to it, and only its own are received.
---@async
---@param host string address, name, or "unix:/path" (a datagram socket)
---@param port? integer
---@return true? ok
---@return string? err
---@return string? code
function Udp:set_peer(host, port)
  expect("string", host, "set_peer")
  local path = host:match "^unix:(.+)$"
  if not path then expect_port(port, "set_peer") end
  return self.raw:connect(path or host, not path and port or nil)
end

--- Sets the time limits in seconds: 3 for looking up the peer's name, 60 for one receive.
---@param connect_s? number
---@param receive_s? number
function Udp:set_timeouts(connect_s, receive_s)
  self.raw.connect_ms = network.milliseconds(connect_s, CONNECT_S, "set_timeouts")
  self.raw.receive_ms = network.milliseconds(receive_s, RECEIVE_S, "set_timeouts")
end

--- Sends one datagram, at once or not at all.
---@param data string|number
---@return true? ok
---@return string? err
---@return string? code "too_large" for what no datagram can hold
function Udp:send(data)
  if type(data) == "number" then data = tostring(data) end
  expect("string", data, "send")
  return self.raw:send(data)
end

--- Receives one datagram.
---@async
---@return string? data
---@return string? err
---@return string? code
function Udp:receive() return self.raw:receive() end

--- Closes it; may be repeated.
function Udp:close() self.raw:close() end

return M

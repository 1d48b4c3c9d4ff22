--- A server by its address, as the target of a request. Its connections are kept by the proxy's own upstream pool
-- (src/proxy/lending.h), together with those that requests of clients use there (service.set_target).
--
-- A target, this or a pool (pool.lua), has
--   connect(call)          -> stream, nil, nil, whether it was kept; or nil, message, code
--   sent(), answered(status), passed(bytes sent, bytes received), failed(code, has_begun)    what becomes of it
--   keep(stream, idle_ms)  gives a connection back for reuse
--   finish()               nothing more comes; may be repeated
local ffi = require "ffi"
local network = require "veloflux.runtime.network"
local streams = require "veloflux.runtime.stream"

ffi.cdef [[
struct vf_peer;
struct vf_peer *vf_lending_target(struct vf_upstreams *upstreams, const char *address, size_t len);
struct vf_socket *vf_lend_kept(struct vf_peer *peer, struct vf_sockets *sockets, uint64_t tls_id);
void vf_lend_new(struct vf_peer *peer, struct vf_socket *socket, uint64_t tls_id);
void vf_lend_failed(struct vf_peer *peer);
bool vf_lending_make_room(struct vf_upstreams *upstreams);
void vf_lend_back(struct vf_socket *socket, uint64_t idle_ms);
]]
local C = ffi.C

local M = {}

local PLAIN, SECURE = 0, 1 -- whether connections in the pool are alike

local Address = {}
Address.__index = Address

--- Makes a target.
-- @param url of url.lua
-- @param unix_socket path, or nil
-- @param tls {name, verify} of what is asked for by https; name may be nil, then it is the URL's host
function M.new(url, unix_socket, tls)
  local host = url.host:match "^%[(.*)%]$" or url.host
  local self = setmetatable({ host = unix_socket or url.host, port = not unix_socket and url.port or nil,
    key = unix_socket or ("%s:%d"):format(host, url.port), tls_id = PLAIN }, Address)
  if url.scheme == "https" then
    self.name, self.verify = tls.name or host, tls.verify
    -- a place of its own in the pool: nobody else speaks TLS of this kind there
    self.key = ("https %s %s %s"):format(self.key, self.name, tostring(self.verify))
    self.tls_id = SECURE
  end
  return self
end

-- What the pool knows of it. It may forget that while a task waits, so it is asked for each time.
local function peer_of(self)
  local upstreams = network.upstreams()
  if upstreams == nil then return nil end
  local peer = C.vf_lending_target(upstreams, self.key, #self.key)
  return peer ~= nil and peer or nil
end

--- What is left of a call's total time for connecting, in milliseconds; nil: nothing.
function M.connect_ms(call)
  if not call.deadline then return call.connect_ms end
  local left = call.deadline - network.now_ms()
  return left > 0 and math.min(left, call.connect_ms) or nil
end

-- Returns a stream of a kept connection, or nil.
local function kept(self, call)
  local peer, sockets = not call.fresh and peer_of(self), network.sockets()
  if not peer or sockets == nil then return nil end
  local socket = C.vf_lend_kept(peer, sockets, self.tls_id)
  return socket ~= nil and streams.adopt(socket) or nil
end

-- Makes a stream. One that is kept gives way when there are too many.
local function new_stream()
  local stream, err, code = streams.new()
  local upstreams = code == "too_many" and network.upstreams() or nil
  if upstreams ~= nil and C.vf_lending_make_room(upstreams) then return streams.new() end
  return stream, err, code
end

-- Shakes hands, within the time that a call may take to connect.
local function secure(self, stream, call)
  stream.connect_ms = M.connect_ms(call)
  if not stream.connect_ms then
    stream:close()
    return nil, "connect: timed out", "timeout"
  end
  local ok, err, code = stream:secure(self.name, self.verify)
  if not ok then stream:close() end
  return ok, err, code
end

function Address:connect(call)
  local kept_one = kept(self, call)
  if kept_one then return kept_one, nil, nil, true end
  local stream, err, code = new_stream()
  if not stream then return nil, err, code end
  stream.connect_ms = M.connect_ms(call)
  if not stream.connect_ms then
    stream:close()
    return nil, "connect: timed out", "timeout"
  end
  local ok
  ok, err, code = stream:connect(self.host, self.port)
  if ok and self.name then ok, err, code = secure(self, stream, call) end
  local peer = peer_of(self)
  if not ok then
    if peer then C.vf_lend_failed(peer) end
    return nil, err, code
  end
  if peer then C.vf_lend_new(peer, stream.socket, self.tls_id) end
  return stream
end

--- Gives a stream back to the pool that it came from.
function M.keep(stream, idle_ms)
  local socket = stream:release()
  if socket then C.vf_lend_back(socket, idle_ms) end
end

function Address.keep(_, stream, idle_ms) M.keep(stream, idle_ms) end

-- Who else asks there is nobody's business.
function Address.sent() end
function Address.answered() end
function Address.passed() end
function Address.failed() end
function Address.finish() end

return M

--- A byte stream over one TCP connection, for both ends of an exchange: what arrives is kept exactly as it came, reads
-- await bytes, and the connection can be ended in every way TCP knows.
--
-- Reads return nil and the reason when the stream ends first: "eof" (the peer sent FIN), "reset" (RST) or a libuv name.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"

ffi.cdef "int getsockopt(int fd, int level, int name, void *value, uint32_t *length);"
local SOL_SOCKET, SO_ERROR, ECONNRESET = 1, 4, 104

local M = {}
local Stream = {}
Stream.__index = Stream

local ENDED_BY = { ECONNRESET = "reset", EPIPE = "reset", ECONNABORTED = "reset" }

local function reason_of(err)
  local name = err:match "^(%u+)" or err
  return ENDED_BY[name] or name
end

-- libuv reports a reset that arrives together with the last bytes as end of file; the socket knows better.
local function is_reset(tcp)
  local fd, value = tcp:fileno(), ffi.new("int[1]")
  local length = ffi.new("uint32_t[1]", ffi.sizeof(value))
  return fd and ffi.C.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length) == 0 and value[0] == ECONNRESET
end

function Stream:on_read(err, data)
  if err then
    self.ended = reason_of(err)
  elseif data == nil then
    self.ended = self.ended or is_reset(self.tcp) and "reset" or "eof"
  else
    self.log[#self.log + 1] = data
    self.chunks[#self.chunks + 1] = data
    self.size = self.size + #data
  end
  self.changed:notify()
end

--- Wraps a connected uv_tcp and starts to read. The scope closes it.
-- @param tcp uv_tcp_t, owned by the stream from here on
-- @param name string for the watchdog
-- @param options table or nil: paused = true reads nothing until resume()
function M.wrap(tcp, name, options)
  local self = setmetatable({
    tcp = tcp, name = name, log = {}, chunks = {}, size = 0, ended = nil, changed = loop.condition(),
  }, Stream)
  tcp:nodelay(true)
  if not (options and options.paused) then self:resume() end
  return self
end

--- Connects to 127.0.0.1 (or options.host).
-- @return the stream, or nil and the error's name
function M.connect(port, options)
  options = options or {}
  local tcp = uv.new_tcp()
  if options.receive_buffer then uv.recv_buffer_size(tcp, options.receive_buffer) end
  if options.from then assert(tcp:bind(options.from, 0)) end
  local host = options.host or "127.0.0.1"
  local err = loop.await(("a connection to %s:%d"):format(host, port), function(settle)
    tcp:connect(host, port, settle)
  end)
  if err then
    tcp:close()
    return nil, err:match "^(%u+)" or err
  end
  local self = M.wrap(tcp, options.name or "client", options)
  loop.defer(function() self:close() end)
  return self
end

--- Everything received so far, consumed or not.
function Stream:received() return table.concat(self.log) end

--- What has arrived and was not consumed yet.
function Stream:peek()
  if #self.chunks > 1 then self.chunks = { table.concat(self.chunks) } end
  return self.chunks[1] or ""
end

local function consume(self, length)
  local all = self:peek()
  self.chunks = length < #all and { all:sub(length + 1) } or {}
  self.size = #all - length
  return all:sub(1, length)
end

--- Puts bytes back in front of what is unread.
function Stream:unread(bytes)
  table.insert(self.chunks, 1, bytes)
  self.size = self.size + #bytes
end

--- Waits until more than `size` unread bytes are there. Returns true, or nil and why the stream ended.
function Stream:fill(size, what)
  self.changed:wait(("%s on %s (%d bytes unread)"):format(what or "bytes", self.name, self.size), function()
    return self.size > size or self.ended
  end)
  if self.size > size then return true end
  return nil, self.ended
end

--- Reads exactly `length` bytes. Returns them, or nil and the reason; what came stays unread.
function Stream:read_exact(length, what)
  if length > 0 then
    local ok, reason = self:fill(length - 1, what)
    if not ok then return nil, reason end
  end
  return consume(self, length)
end

--- Reads up to and including `delimiter` (plain). Returns the bytes, or nil and the reason; what came stays unread.
function Stream:read_until(delimiter, what)
  local from = 1
  while true do
    local _, last = self:peek():find(delimiter, from, true)
    if last then return consume(self, last) end
    from = math.max(1, self.size - #delimiter + 2)
    local ok, reason = self:fill(self.size, what)
    if not ok then return nil, reason end
  end
end

--- Reads whatever is there, awaiting at least one byte. Returns it, or nil and the reason.
function Stream:read_some(what)
  local ok, reason = self:fill(0, what)
  if not ok then return nil, reason end
  return consume(self, self.size)
end

--- Reads to the end of the stream. Returns the bytes and how it ended.
function Stream:read_rest(what)
  while not self.ended do self:fill(self.size, what or "the end") end
  return consume(self, self.size), self.ended
end

--- Writes bytes and awaits that the kernel took them. Returns true, or nil and the reason.
function Stream:write(bytes)
  if self.closed then return nil, "closed" end
  local err = loop.await(("a write of %d bytes on %s"):format(#bytes, self.name), function(settle)
    local ok, fault = self.tcp:write(bytes, settle)
    if not ok then settle(fault) end
  end)
  if err then return nil, reason_of(err) end
  return true
end

--- Writes without waiting; errors show when reading.
function Stream:post(bytes)
  if not self.closed then self.tcp:write(bytes) end
end

--- Sends FIN; reading goes on. Returns true, or nil and the reason.
function Stream:shutdown()
  if self.closed then return nil, "closed" end
  local err = loop.await("a half-close of " .. self.name, function(settle)
    local ok, fault = self.tcp:shutdown(settle)
    if not ok then settle(fault) end
  end)
  if err then return nil, reason_of(err) end
  return true
end

--- Stops reading: the receive window closes, which the peer feels as back pressure.
function Stream:pause() self.tcp:read_stop() end

--- Reads (again).
function Stream:resume()
  self.tcp:read_start(function(err, data) self:on_read(err, data) end)
end

local function on_closed(self)
  self.closed = true
  self.ended = self.ended or "closed"
  self.changed:notify()
end

--- Closes both directions.
function Stream:close()
  if self.closed or self.tcp:is_closing() then return end
  self.tcp:close()
  on_closed(self)
end

--- Closes with RST.
function Stream:reset()
  if self.closed or self.tcp:is_closing() then return end
  self.tcp:close_reset()
  on_closed(self)
end

return M

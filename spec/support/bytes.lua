--- Servers of bytes without a protocol: each connection is handed to a function.
--
--     local server = bytes.start(bytes.mirror)
--     server.address, server.connections[1]
local loop = require "support.loop"
local ports = require "support.ports"
local stream = require "support.stream"
local uv = require "luv"

local M = {}
local Server = {}
Server.__index = Server

--- Sends back what comes, and the end.
function M.mirror(conn)
  while true do
    local data = conn:read_some "bytes to send back"
    if not data or not conn:write(data) then break end
  end
  conn:shutdown()
end

--- Starts a server on an ephemeral port of 127.0.0.1. The scope closes it and its connections.
-- @param talk function(conn): a support.stream; it runs in a coroutine of its own
-- @param options table or nil: paused = true starts connections without reading; port
-- @return server: port, address, connections
function M.start(talk, options)
  options = options or {}
  local self = setmetatable({ connections = {}, changed = loop.condition() }, Server)
  local scope = loop.current_scope()
  self.listener = uv.new_tcp()
  assert(self.listener:bind("127.0.0.1", options.port or 0))
  assert(self.listener:listen(1024, function(err)
    assert(not err, err)
    local tcp = uv.new_tcp()
    self.listener:accept(tcp)
    local conn = stream.wrap(tcp, ("server connection %d"):format(#self.connections + 1), options)
    self.connections[#self.connections + 1] = conn
    self.changed:notify()
    loop.spawn_in(scope, talk, conn)
  end))
  self.port = self.listener:getsockname().port
  self.address = "127.0.0.1:" .. self.port
  loop.defer(function() self:shut() end)
  return self
end

--- Awaits that `count` connections were accepted in all. Returns the last of them.
function Server:wait_connections(count)
  return self.changed:wait(("%d connections"):format(count), function() return self.connections[count] end)
end

--- Stops listening: further connections are refused, as the port is nobody else's until the scope ends; those that
-- stand go on.
function Server:refuse()
  if self.listener:is_closing() then return end
  self.listener:close()
  ports.hold(self.port)
end

--- Closes everything, and leaves the port to others.
function Server:shut()
  if not self.listener:is_closing() then self.listener:close() end
  for _, conn in ipairs(self.connections) do conn:close() end
end

--- An address on which nobody listens: connections there are refused.
function M.nobody()
  local server = M.start(function() end)
  server:refuse()
  return server.address
end

return M

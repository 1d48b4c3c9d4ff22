--- TCP peers for specs of the network modules: `script(conn)` says byte by byte what happens on each connection
-- (conn is a support.stream).
local uv = require "luv"
local loop = require "support.loop"
local ports = require "support.ports"
local stream = require "support.stream"

local M = {}

--- Listens on an ephemeral port of 127.0.0.1. The scope closes everything.
-- @param script function(conn, number), run as a coroutine for each connection; the connection closes at its end
--   unless it returns true
-- @param options table or nil: paused (nothing is read until conn:resume())
-- @return { port, accepted, conns }
function M.tcp(script, options)
  local self = { accepted = 0, conns = {}, scope = loop.current_scope() }
  local listener = uv.new_tcp()
  assert(listener:bind("127.0.0.1", 0))
  assert(listener:listen(1024, function(err)
    assert(not err, err)
    local tcp = uv.new_tcp()
    listener:accept(tcp)
    self.accepted = self.accepted + 1
    local number = self.accepted
    local conn = stream.wrap(tcp, "peer " .. number, options)
    self.conns[number] = conn
    loop.spawn_in(self.scope, function()
      if not script(conn, number) then conn:close() end
    end)
  end))
  self.port = listener:getsockname().port
  --- Stops listening: connections are refused until the scope ends.
  function self.refuse()
    if listener:is_closing() then return end
    listener:close()
    ports.hold(self.port)
  end
  loop.defer(function()
    if not listener:is_closing() then listener:close() end
    for _, conn in pairs(self.conns) do conn:close() end
  end)
  return self
end

return M

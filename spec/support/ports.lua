--- Ports that stay a spec's own while nobody listens on them: bound by a socket that does not listen, which hinders
-- neither those who do (with SO_REUSEADDR, as all do) nor the refusal of those who connect. A port that was only
-- closed is anybody's, who may listen on it by the time that a spec expects to be refused, or wants it back.
--
--     ports.hold(port)             -- of a listener that was closed: connections to it are refused
--     local port = ports.reserve() -- for somebody who listens later, perhaps again and again
local uv = require "luv"
local loop = require "support.loop"

local M = {}

--- Holds a port until the scope ends.
-- @param port integer, 0 for one that is free
-- @param host of the port, 127.0.0.1 by default
-- @return the port; nil when somebody else has it
function M.hold(port, host)
  local tcp = uv.new_tcp()
  if not tcp:bind(host or "127.0.0.1", port) then
    tcp:close()
    return nil
  end
  loop.defer(function() tcp:close() end)
  return tcp:getsockname().port
end

--- Returns a port that is free, and held.
function M.reserve() return assert(M.hold(0)) end

return M

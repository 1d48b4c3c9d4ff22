--- A redis-server of the spec's own: on a unix socket and an ephemeral port, in a fresh folder, without persistence;
-- or a Sentinel. The port is the spec's also while no server listens there.
local loop = require "support.loop"
local ports = require "support.ports"
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}

--- Starts one and awaits that it listens; the scope ends it.
-- @param options table or nil: args (list), port, dir (of one that was started before: its data), sentinel (the text of
-- a Sentinel's configuration: it is one)
-- @return { port, path, dir, args, process }
function M.start(options)
  options = options or {}
  local dir = options.dir or tempdir.new()
  local self = { port = options.port or ports.reserve(), path = dir .. "/redis.sock", dir = dir, args = options.args }
  local args = { "--port", tostring(self.port), "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no" }
  if options.sentinel then
    tempdir.write(dir .. "/sentinel.conf", options.sentinel)
    args = { dir .. "/sentinel.conf", "--sentinel", unpack(args) }
  else
    for _, arg in ipairs { "--unixsocket", self.path, "--save", "", "--appendonly", "no" } do args[#args + 1] = arg end
  end
  for _, arg in ipairs(options.args or {}) do args[#args + 1] = arg end
  self.process = process.spawn("/usr/bin/redis-server", args)
  loop.defer(function() self.process:kill() end)
  local ready = self.process:wait_line(self.process.stdout,
    options.sentinel and "Sentinel ID is" or "[Rr]eady to accept connections")
  if not ready[1] then error("redis-server ended:\n" .. table.concat(self.process.stdout, "\n")) end
  return self
end

return M

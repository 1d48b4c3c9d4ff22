--- A redis-server of the spec's own: on a unix socket and an ephemeral port, in a fresh folder, without persistence.
local uv = require "luv"
local loop = require "support.loop"
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}

-- A port that is free now.
local function free_port()
  local tcp = uv.new_tcp()
  assert(tcp:bind("127.0.0.1", 0))
  local port = tcp:getsockname().port
  tcp:close()
  return port
end

--- Starts one and awaits that it listens; the scope ends it.
-- @param options table or nil: args (list), port
-- @return { port, path, process }
function M.start(options)
  options = options or {}
  local dir = tempdir.new()
  local self = { port = options.port or free_port(), path = dir .. "/redis.sock" }
  local args = { "--port", tostring(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path, "--save", "",
    "--appendonly", "no", "--dir", dir, "--daemonize", "no" }
  for _, arg in ipairs(options.args or {}) do args[#args + 1] = arg end
  self.process = process.spawn("/usr/bin/redis-server", args)
  loop.defer(function() self.process:kill() end)
  local ready = self.process:wait_line(self.process.stdout, "[Rr]eady to accept connections")
  if not ready[1] then error("redis-server ended:\n" .. table.concat(self.process.stdout, "\n")) end
  return self
end

return M

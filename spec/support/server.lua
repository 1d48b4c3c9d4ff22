--- The real binary, started on a conf of its own in a fresh folder, on ephemeral ports.
--
--     local server = servers.start { conf = { pools = { ... }, routes = { ... } } }
--     clients.get(server.ports.http, "/")
--     server:stop()
--
-- The binary is VF_BINARY, by default build/veloflux. Ports are read from its `listener.open` log lines, and start
-- returns after its `ready` line, so nothing is guessed and nothing is polled.
local uv = require "luv"
local cjson = require "cjson"
local loop = require "support.loop"
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}
local Server = {}
Server.__index = Server

local SANITIZER_REPORTS = { "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:" }

-- What a conf contains unless it says otherwise, key by key at the top level.
local function defaults()
  return {
    data_dir = "data",
    workers = 1,
    listeners = { { name = "http", address = "127.0.0.1:0" } },
    admin = { address = "127.0.0.1:0", auth = { enabled = false } },
    log = { level = "info", format = "text", access = { path = "stdout", format = "json" } },
    timeouts = { drain = "1m", drain_idle = "10ms" },
  }
end

--- The path of the binary under test, absolute.
function M.binary()
  local path = os.getenv "VF_BINARY" or "build/veloflux"
  return uv.fs_realpath(path) or error(path .. " does not exist (set VF_BINARY)", 2)
end

--- Completes a conf with the defaults above and encodes it. An empty table becomes an object: leave empty lists out.
-- @param conf table, or string that is returned as it is
-- @return string, JSON (which is YAML)
function M.encode(conf)
  if type(conf) == "string" then return conf end
  local full = defaults()
  for key, value in pairs(conf) do full[key] = value end
  return cjson.encode(full)
end

--- Parses a text log line: TIME LEVEL EVENT key=value key="quoted value" ...
-- @return table { time, level, event, fields }, or nil
function M.parse_log(line)
  local time, level, event, rest = line:match "^(%S+)%s+(%S+)%s+([%w_.]+)%s*(.*)$"
  if not event then return nil end
  local fields = {}
  for key, value in (rest .. " "):gmatch '([%w_]+)=([^"%s]%S*)%s' do fields[key] = value end
  for key, value in rest:gmatch '([%w_]+)="([^"]*)"' do fields[key] = value end
  return { time = time, level = level:lower(), event = event, fields = fields }
end

--- Runs a command of the binary, such as { "check", "-c", path }.
-- @return exit code, stdout, stderr
function M.command(args, options) return process.run(M.binary(), args, options) end

-- Takes the addresses of the listener.open lines that were not looked at yet.
local function learn_ports(self)
  local lines = self.process.stderr
  while self.lines_read < #lines do
    self.lines_read = self.lines_read + 1
    local entry = M.parse_log(lines[self.lines_read])
    if entry and entry.event == "listener.open" and entry.fields.name then
      self.ports[entry.fields.name] = tonumber((entry.fields.address or ""):match ":(%d+)$")
    end
  end
end

local function sanitizer_report(self)
  for i, line in ipairs(self.process.stderr) do
    for _, mark in ipairs(SANITIZER_REPORTS) do
      if line:find(mark, 1, true) then
        return table.concat(self.process.stderr, "\n", i, math.min(i + 60, #self.process.stderr))
      end
    end
  end
end

--- Starts the binary and awaits that it is ready. Raises, with its log, when it ends before that.
-- @param options table: conf (table or text; see encode), env (map), args (list, after `run -c FILE`), files (map from
--   name to text, written beside the conf)
-- @return server: ports (by listener name, `admin` too), pid, dir, file (the conf)
function M.start(options)
  local dir = tempdir.new()
  local self = setmetatable({ dir = dir, file = dir .. "/veloflux.yaml", ports = {}, lines_read = 0 }, Server)
  for name, text in pairs(options.files or {}) do tempdir.write(dir .. "/" .. name, text) end
  self:write_conf(options.conf)
  local args = { "run", "-c", self.file }
  for _, arg in ipairs(options.args or {}) do args[#args + 1] = arg end
  self.process = process.spawn(M.binary(), args, { env = options.env })
  self.pid = self.process.pid
  loop.defer(function()
    self.process:kill()
    local report = sanitizer_report(self)
    if report then error("the server reported:\n" .. report, 0) end
  end)
  local ready = self.process:wait_line(self.process.stderr, "^%S+%s+%S+%s+ready%s")
  if not ready[1] then
    error("the server ended before it was ready:\n" .. table.concat(self.process.stderr, "\n"), 2)
  end
  learn_ports(self)
  return self
end

--- Replaces the conf file (see encode); reload() makes it live.
function Server:write_conf(conf) tempdir.replace(self.file, M.encode(conf)) end

--- Runs `veloflux reload` on the conf file.
-- @return true when it succeeded, and what it printed
function Server:reload()
  local code, out, err = M.command { "reload", "-c", self.file }
  learn_ports(self)
  return code == 0, out .. err
end

--- The log lines so far (a list of strings).
function Server:log_lines() return self.process.stderr end

--- Awaits a log line that matches a Lua pattern, from line `from` (1) on.
-- @return its number, then its captures; raises when the server ends without it
function Server:wait_log(pattern, from)
  local found = self.process:wait_line(self.process.stderr, pattern, from)
  if not found[1] then error(("the server ended without logging %q"):format(pattern), 2) end
  learn_ports(self)
  return unpack(found)
end

--- The access log so far, decoded (a list of tables).
function Server:access_log()
  local entries = {}
  for i, line in ipairs(self.process.stdout) do
    local ok, entry = pcall(cjson.decode, line)
    entries[i] = ok and entry or error("access log line is not JSON: " .. line, 2)
  end
  return entries
end

--- Awaits that the access log has `count` lines. Returns it.
function Server:wait_access_log(count)
  self.process.changed:wait(("%d access log lines"):format(count), function() return #self.process.stdout >= count end)
  return self:access_log()
end

--- Sends a signal, such as "sighup".
function Server:signal(name) self.process:signal(name) end

--- Sends SIGTERM and awaits the exit. Raises unless it exits with code 0 and no sanitizer had anything to say.
function Server:stop()
  self.process:signal "sigterm"
  local exited = self.process:wait_exit()
  self.process:wait_output()
  if exited.code ~= 0 or exited.signal ~= 0 then
    error(("the server ended with code %d, signal %d:\n%s"):format(exited.code, exited.signal,
      table.concat(self.process.stderr, "\n")), 2)
  end
  local report = sanitizer_report(self)
  if report then error("the server reported:\n" .. report, 2) end
end

--- What servers can do, for modules that add to it.
M.methods = Server

return M

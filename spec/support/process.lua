--- Child processes of specs, with their output as lines that can be awaited.
local uv = require "luv"
local children = require "support.children"
local loop = require "support.loop"
local tempdir = require "support.tempdir"

local M = {}
local Process = {}
Process.__index = Process

local function children_of(pid)
  local text = tempdir.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  local pids = {}
  for child in text:gmatch "%d+" do pids[#pids + 1] = tonumber(child) end
  return pids
end

-- Reads a pipe to its end, appending whole lines to `lines`.
local function collect(self, pipe, lines)
  local rest = ""
  pipe:read_start(function(err, data)
    if err or data == nil then
      if rest ~= "" then lines[#lines + 1] = rest end
      pipe:close()
      self.open_pipes = self.open_pipes - 1
    else
      rest = rest .. data
      local from = 1
      for line, after in rest:gmatch "([^\n]*)\n()" do
        lines[#lines + 1] = line
        from = after
      end
      rest = rest:sub(from)
    end
    self.changed:notify()
  end)
end

-- What a program is started with. Under sanitizers the runner itself is preloaded and looks for no leaks; the programs
-- that it starts are built with them and look for everything.
local function environment(extra)
  local merged, list = uv.os_environ(), {}
  if (merged.VF_ASAN_OPTIONS or "") ~= "" then merged.ASAN_OPTIONS = merged.VF_ASAN_OPTIONS end
  merged.LD_PRELOAD = nil
  for name, value in pairs(extra or {}) do merged[name] = value or nil end
  for name, value in pairs(merged) do list[#list + 1] = name .. "=" .. value end
  return list
end

--- Starts a program. When its scope ends while it still runs, it and its children are killed.
-- @param path string
-- @param args list of strings
-- @param options table or nil: env (map of additions; false removes), cwd
-- @return process: pid, stdout, stderr (lists of lines so far), exited ({ code, signal } once it has ended)
function M.spawn(path, args, options)
  options = options or {}
  local self = setmetatable({ stdout = {}, stderr = {}, open_pipes = 2, changed = loop.condition() }, Process)
  local out, err = uv.new_pipe(false), uv.new_pipe(false)
  local handle, pid = uv.spawn(path, {
    args = args, env = environment(options.env), cwd = options.cwd, stdio = { nil, out, err },
  }, function(code, signal)
    self.exited = { code = code, signal = signal }
    self.handle:close()
    self.changed:notify()
  end)
  if not handle then
    out:close()
    err:close()
    error(("cannot start %s: %s"):format(path, pid), 2)
  end
  self.handle, self.pid, self.pipes = handle, pid, { out, err }
  collect(self, out, self.stdout)
  collect(self, err, self.stderr)
  loop.defer(function() self:kill() end)
  return self
end

--- Runs a program to its end.
-- @return code, stdout, stderr (strings)
function M.run(path, args, options)
  local self = M.spawn(path, args, options)
  local exited = self:wait_exit()
  self:wait_output()
  return exited.code, table.concat(self.stdout, "\n"), table.concat(self.stderr, "\n")
end

--- Awaits the exit. Returns { code, signal }.
function Process:wait_exit()
  return self.changed:wait(("the exit of process %d"):format(self.pid), function() return self.exited end)
end

--- Awaits the end of both output streams, which is after the exit of everybody who holds them.
function Process:wait_output()
  self.changed:wait(("the end of output of process %d"):format(self.pid), function() return self.open_pipes == 0 end)
end

--- Awaits a line that matches, from line `from` (1) on.
-- @param lines self.stdout or self.stderr
-- @param pattern Lua pattern
-- @return { number, captures... } (the line itself without captures); {} when the process has ended without it
function Process:wait_line(lines, pattern, from)
  local looked = (from or 1) - 1
  return self.changed:wait(("a line like %q of process %d"):format(pattern, self.pid), function()
    while looked < #lines do
      looked = looked + 1
      if lines[looked]:find(pattern) then return { looked, lines[looked]:match(pattern) } end
    end
    return self.exited and self.open_pipes == 0 and {}
  end)
end

--- Sends a signal, such as "sigterm". Nothing happens when the process has ended.
function Process:signal(name)
  if not self.exited then uv.kill(self.pid, name) end
end

--- The pids of its children now.
function Process:children() return children_of(self.pid) end

--- Kills it and its children, and awaits the end of all: nothing that they had open is in use any more.
function Process:kill()
  if not self.exited then
    local victims = children_of(self.pid)
    uv.kill(self.pid, "sigkill")
    for _, pid in ipairs(victims) do uv.kill(pid, "sigkill") end
    self:wait_exit()
    for _, pid in ipairs(victims) do children.wait_gone(pid) end -- nobody's of ours to wait for
  end
  for _, pipe in ipairs(self.pipes) do
    if not pipe:is_closing() then pipe:close() end
  end
end

return M

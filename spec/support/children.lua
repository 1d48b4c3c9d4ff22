--- The processes of a running server, and patience for what no signal announces.
local uv = require "luv"
local loop = require "support.loop"
local tempdir = require "support.tempdir"

local M = {}

--- Suspends the calling coroutine for some milliseconds. Only for what cannot be awaited: looking again, or showing
-- that nothing happens.
function M.pause(ms)
  loop.await(("%d ms"):format(ms), function(settle)
    local timer = uv.new_timer()
    timer:start(ms, 0, function()
      timer:close()
      settle()
    end)
  end)
end

--- Looks every few milliseconds until `predicate()` returns something true; the watchdog names `what` if it never does.
-- @return what the predicate returned
function M.eventually(what, predicate)
  while true do
    local found = predicate()
    if found then return found end
    loop.await(what, function(settle)
      local timer = uv.new_timer()
      timer:start(5, 0, function()
        timer:close()
        settle()
      end)
    end)
  end
end

--- The children of a process by role.
-- @return table: worker (map from slot, from 1, to a list of pids), control and checker (lists of pids), count
function M.of(pid)
  local found = { worker = {}, control = {}, checker = {}, count = 0 }
  local list = tempdir.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for child in list:gmatch "%d+" do
    local line = tempdir.read(("/proc/%s/cmdline"):format(child)) or ""
    local role, slot = line:match "%-%-role=(%a+)%z%-%-slot=(%d+)"
    if role then
      local pids = found[role]
      if role == "worker" then
        pids[tonumber(slot)] = pids[tonumber(slot)] or {}
        pids = pids[tonumber(slot)]
      end
      pids[#pids + 1] = tonumber(child)
      found.count = found.count + 1
    end
  end
  return found
end

--- Says whether a process is there and no zombie.
function M.is_alive(pid)
  local stat = tempdir.read(("/proc/%d/stat"):format(pid))
  return stat ~= nil and not stat:find "%) Z"
end

--- A field of /proc/PID/status, such as "Uid".
function M.status(pid, field)
  local text = tempdir.read(("/proc/%d/status"):format(pid)) or ""
  return text:match(field .. ":%s*([^\n]*)")
end

--- Awaits the end of a process.
function M.wait_gone(pid)
  M.eventually(("the end of process %d"):format(pid), function() return not M.is_alive(pid) end)
end

return M

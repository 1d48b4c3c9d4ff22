--- Waiting in a handler of the admin API: for what answers through a callback, at once or later.
local log = require "veloflux.admin.log"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

local M = {}

--- The same for a task, which has its own way to wait.
local function in_task(start)
  local signal, results = network.signal(), nil
  start(function(...)
    if results then return end
    results = { n = select("#", ...), ... }
    network.raise(signal)
  end)
  if not results then network.wait_signal(signal, 0) end
  return unpack(results, 1, results.n)
end

--- Runs a coroutine on; a fault in it is logged.
function M.resume(thread, ...)
  local ok, message = coroutine.resume(thread, ...)
  if not ok then log.write("error", "admin.lua_error", { "err", debug.traceback(thread, message) }) end
end

--- Calls `start(callback)` and returns what the callback gets, once it is called. Yields.
function M.call(start)
  if task.can_wait() then return in_task(start) end
  local thread, results = coroutine.running(), nil
  local has_yielded = false
  start(function(...)
    if results then return end
    results = { n = select("#", ...), ... }
    if has_yielded then M.resume(thread) end
  end)
  if not results then
    has_yielded = true
    coroutine.yield()
  end
  return unpack(results, 1, results.n)
end

return M

--- Waiting in a handler of the admin API: for what answers through a callback, at once or later.
local log = require "veloflux.admin.log"

local M = {}

--- Runs a coroutine on; a fault in it is logged.
function M.resume(thread, ...)
  local ok, message = coroutine.resume(thread, ...)
  if not ok then log.write("error", "admin.lua_error", { "err", debug.traceback(thread, message) }) end
end

--- Calls `start(callback)` and returns what the callback gets, once it is called. Yields.
function M.call(start)
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

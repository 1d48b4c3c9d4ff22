--- Calls code of plugins outside of requests, where no timer watches it: one that does not come to an end
-- is stopped after so many instructions, JIT-compiled ones included. A task in which it happens to be called (a plugin
-- has asked for a reload) is not the code's: what needs one raises, as it does where there is none.
local task = require "veloflux.runtime.task"

local M = {}

local STEPS, LOOKS = 1000000, 50 -- instructions between two looks, and how many looks

local function stopper()
  local looks = 0
  return function()
    looks = looks + 1
    if looks > LOOKS then error("does not come to an end", 0) end
  end
end

--- Takes the task that runs away. Returns a function that gives it back.
local function without_task()
  local run = task.run
  local kept = run.task
  run.task = nil
  return function() run.task = kept end
end

--- Calls fn(...) as pcall does. It must not yield.
function M.call(fn, ...)
  local hook, mask, count = debug.gethook()
  local restore = without_task()
  debug.sethook(stopper(), "", STEPS)
  local function finish(...)
    debug.sethook(hook, mask, count)
    restore()
    return ...
  end
  return finish(pcall(fn, ...))
end

--- Runs fn() in a coroutine of its own.
-- @return true and its value; or false and a message
function M.run(fn)
  local thread = coroutine.create(fn)
  local restore = without_task()
  debug.sethook(thread, stopper(), "", STEPS)
  local ok, value = coroutine.resume(thread)
  debug.sethook(thread)
  restore()
  if not ok then return false, type(value) == "string" and value or "raised an error that is no text" end
  if coroutine.status(thread) ~= "dead" then return false, "yields while it is loaded" end
  return true, value
end

return M

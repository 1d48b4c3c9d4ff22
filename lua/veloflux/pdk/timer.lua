--- Time for plugins: waiting, and functions that run later or again and again.
--
--     timer.sleep(0.5)                                        -- this request waits, others do not
--     timer.after(2, report, "two seconds later")
--     local handle = timer.every({ 30, jitter = 0.1 }, refresh)
--     handle:cancel()
--
-- A timer runs its function as a task of its own, in each worker that started it, with the phase "timer": it may wait,
-- open sockets and so on, but sees no request. An error ends that run, is logged with the plugin's name and counted;
-- `every` goes on. A plugin has at most 1,024 timers (and other background tasks) in a worker. When a reload replaces
-- the plugin's code its timers are cancelled; what runs then finishes. A reload that leaves the code as it is leaves
-- its timers, too: start them in init_worker, which runs once for the code, or keep the handle from one `configure` to
-- the next. Time is kept to some 10 ms.
local background = require "veloflux.runtime.background"
local network = require "veloflux.runtime.network"

local LONGEST_S = 86400 * 365

---@class pdk.timer
local M = {}

---@class pdk.timer.handle
local Handle = {}
Handle.__index = Handle
Handle.__metatable = false -- its methods serve all plugins

local function expect_seconds(seconds, least, name)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < least or seconds > LONGEST_S then
    error(("%s: expected a number of seconds from %g on, got %s"):format(name, least, tostring(seconds)), 3)
  end
end

local function milliseconds(seconds) return math.max(1, math.ceil(seconds * 1000)) end

--- Returns the time of a clock that never jumps, for how long things take: seconds, with fractions, since
-- some moment in the past.
---@return number
function M.now() return network.now_ms() / 1000 end

--- Waits.
---@async
---@param seconds number 0 or more; 0 lets others run
function M.sleep(seconds)
  network.check "timer.sleep"
  expect_seconds(seconds, 0, "timer.sleep")
  network.wait_signal(network.signal(), milliseconds(seconds))
end

-- Waits until time is up. Returns false when the timer was cancelled meanwhile.
local function wait(handle, seconds)
  if handle.is_cancelled then return false end
  network.wait_signal(handle.signal, milliseconds(seconds))
  return not handle.is_cancelled
end

local function run(handle) handle.owner:call(handle.fn, unpack(handle.arguments, 1, handle.arguments.n)) end

local function run_once(handle)
  if wait(handle, handle.seconds) then run(handle) end
  handle.is_over = true
end

-- The time to the next beat. Beats are counted: a long run leaves some out, it does not move the others, and one that
-- came early by its jitter does not come again in its place.
local function to_next(handle, begun)
  local passed = (network.now_ms() - begun) / 1000
  handle.beat = math.max(handle.beat, math.floor(passed / handle.seconds)) + 1
  local spread = handle.jitter * handle.seconds
  return math.max(handle.beat * handle.seconds - passed + (math.random() - 0.5) * spread, 0)
end

local function run_again(handle)
  local begun = network.now_ms()
  handle.beat = 0
  while wait(handle, to_next(handle, begun)) do run(handle) end
  handle.is_over = true
end

local function start(name, loop, handle)
  handle.owner = background.owner(name)
  handle.signal = network.signal()
  setmetatable(handle, Handle)
  local ok, err, code = handle.owner:spawn(loop, handle, Handle.cancel)
  if not ok then return nil, err, code end
  return handle
end

local function expect_function(fn, name)
  if type(fn) ~= "function" then error(("%s: expected a function, got %s"):format(name, type(fn)), 3) end
end

--- Runs a function once, later.
---@param seconds number
---@param fn function
---@param ... any its arguments
---@return pdk.timer.handle? handle
---@return string? err
---@return string? code "too_many", "memory", "cancelled" (the plugin's code has been replaced)
function M.after(seconds, fn, ...)
  expect_seconds(seconds, 0, "timer.after")
  expect_function(fn, "timer.after")
  return start("timer.after", run_once, { seconds = seconds, fn = fn, arguments = { n = select("#", ...), ... } })
end

--- Runs a function again and again, first when the interval has passed once. Runs never overlap: beats that a long run
-- misses are left out.
---@param interval number|{ [1]: number, jitter?: number } seconds; jitter is the share of the interval (0 to 1) over
-- which the beats are spread at random, so that workers and nodes do not all beat at once
---@param fn function
---@param ... any its arguments
---@return pdk.timer.handle? handle
---@return string? err
---@return string? code as for after
function M.every(interval, fn, ...)
  local seconds, jitter = interval, 0
  if type(interval) == "table" then seconds, jitter = interval[1], interval.jitter or 0 end
  expect_seconds(seconds, 0.01, "timer.every")
  if type(jitter) ~= "number" or not (jitter >= 0 and jitter <= 1) then
    error("timer.every: jitter: expected a number from 0 to 1, got " .. tostring(jitter), 2)
  end
  expect_function(fn, "timer.every")
  return start("timer.every", run_again, { seconds = seconds, jitter = jitter, fn = fn,
    arguments = { n = select("#", ...), ... } })
end

--- Cancels: the function is not run any more; a run under way finishes.
---@return boolean was_pending false when it was over already
function Handle:cancel()
  if self.is_cancelled or self.is_over then return false end
  self.is_cancelled = true
  network.raise(self.signal)
  return true
end

return M

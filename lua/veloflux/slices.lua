--- Long work on a loop, in slices: between two of them the loop answers others.
--
--     slices.run(function()
--       for _, route in ipairs(routes) do
--         check(route)
--         slices.pause()     -- goes on at once, or when the loop has had a turn
--       end
--     end)
--
-- What runs elsewhere (the command line, specs) is never interrupted. Work that is takes no part in what others change
-- meanwhile: it reads sets, worlds and models, which are replaced and not changed.
local ffi = require "ffi"

ffi.cdef "uint64_t vf_clock_ns(void);"
local C = ffi.C

local M = {}

local SLICE_NS = 3e6 -- 3 ms: several fit into what a client notices
local SOME = 4       -- calls of `pause` for one look at the clock

local turn, on_fault                                 -- see `open`
local until_ns = 0                                   -- when the slice under way ends
local may_pause = setmetatable({}, { __mode = "k" }) -- coroutine -> true, or how it waits
local own = setmetatable({}, { __mode = "k" })       -- of them, those that `run` made
local calls = 0

local function now_ns() return tonumber(C.vf_clock_ns()) end

--- From here on work is done in slices.
-- @param options {turn = function(fn): calls it after a turn of the loop; nil: there is none, work is done at once,
-- on_fault = function(message): of what was raised in work}
function M.open(options) turn, on_fault = options.turn, options.on_fault end

--- A slice begins: something else has called, such as a request that has come.
function M.begin() until_ns = now_ns() + SLICE_NS end

local function resume(thread)
  M.begin()
  local ok, message = coroutine.resume(thread)
  if not ok then on_fault(debug.traceback(thread, tostring(message))) end
end

--- Lets a coroutine be interrupted by `pause`. Whoever made it resumes it as ever, but not while it pauses.
function M.allow(thread)
  may_pause[thread] = true
  return thread
end

--- The same for a coroutine that has a way of its own to wait, while `work` runs in it: a task.
-- @param wait function(turn): lets the loop turn, by turn(function to be called then), and returns
-- @return what `work` returns; raises what it raises
function M.within(thread, wait, work)
  if not turn then return work() end
  may_pause[thread] = wait
  M.begin()
  local results = { pcall(work) }
  may_pause[thread] = nil
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

--- Does work that may pause. Returns when it is done, or pauses for the first time; within other such work, when it is
-- done.
function M.run(work)
  if not turn or own[coroutine.running() or 0] then return work() end
  local thread = M.allow(coroutine.create(work))
  own[thread] = true
  resume(thread)
end

--- Lets the loop turn when the slice is over. To be called where nothing is half done that others may see: in loops.
function M.pause()
  calls = calls + 1
  if calls < SOME then return end
  calls = 0
  M.look()
end

--- The same, between steps of which each takes long.
function M.look()
  if now_ns() < until_ns or not turn then return end
  local thread = coroutine.running()
  local way = thread and may_pause[thread]
  if not way then return end
  if way ~= true then
    way(turn)
    return M.begin()
  end
  turn(function() resume(thread) end)
  coroutine.yield()
end

return M

--- What surrounds the gateway of a spec: tasks that play its clients and hosts, and time, which passes when all of
-- them wait. Tasks run in the order in which they began, so that a spec runs in the same way every time.
local ffi = require "ffi"
local failures = require "veloflux.kit.failure"
local native = require "veloflux.kit.native"

local C = native.C

local M = {}

local World = {}
World.__index = World

local NS_PER_MS = 1e6
local LONGEST_MS = 24 * 3600 * 1000 -- that one call may take; by the clock of the kit

local running -- the task that runs: {co, world, ready}

--- Makes a world around a gateway.
-- @param kit struct vf_kit *
-- @param on_arrival function(arrival): the gateway has connected to a host
function M.new(kit, on_arrival)
  return setmetatable({ kit = kit, tasks = {}, on_arrival = on_arrival,
    arrival = ffi.new "struct vf_wire_arrival" }, World)
end

--- Returns the time in milliseconds; it has no particular beginning.
function M.now_ms() return tonumber(C.vf_clock_ns()) / NS_PER_MS end

--- Waits in a task until `ready()`; outside of one, raises.
function M.wait(ready)
  local task = running
  if not task or coroutine.running() ~= task.co then error("only hosts and clients of a gateway wait", 3) end
  task.ready = ready
  coroutine.yield()
end

--- Lets the gateway run on until it waits.
function M.pass()
  local task, turn = running, running.world.n_turns
  M.wait(function() return task.world.n_turns > turn end)
end

--- Is the code that runs now a task?
function M.in_task() return running ~= nil and coroutine.running() == running.co end

--- Waits in a task for a time.
function M.sleep(seconds)
  local due = M.now_ms() + seconds * 1000
  running.due = due
  M.wait(function() return M.now_ms() >= due - 1e-3 end)
  if running then running.due = nil end
end

--- Starts a task. What it raises is raised by whoever drives the world.
function World:spawn(fn, ...)
  local arguments, n = { ... }, select("#", ...)
  local task = { world = self, ready = function() return true end }
  task.co = coroutine.create(function() return fn(unpack(arguments, 1, n)) end)
  self.tasks[#self.tasks + 1] = task
  return task
end

local function resume(self, task)
  local before = running
  running, task.ready = task, nil
  local ok, err = coroutine.resume(task.co)
  running = before
  task.is_done = coroutine.status(task.co) == "dead"
  if not ok then self.failure = self.failure or failures.of(err, debug.traceback(task.co)) end
end

local function run_tasks(self)
  local busy, kept = false, {}
  local tasks = self.tasks
  self.tasks = {}
  for _, task in ipairs(tasks) do
    if task.ready() then
      busy = true
      resume(self, task)
    end
    if not task.is_done then kept[#kept + 1] = task end
  end
  for _, task in ipairs(self.tasks) do kept[#kept + 1] = task end -- begun meanwhile
  self.tasks = kept
  return busy
end

--- Lets everybody do once what can be done now. Returns true when there may be more.
function World:turn()
  self.n_turns = (self.n_turns or 0) + 1
  local busy = native.turn(self.kit)
  while C.vf_wires_arrival(C.vf_kit_wires(self.kit), self.arrival) do
    busy = true
    self.on_arrival(self.arrival)
  end
  if run_tasks(self) then busy = true end
  if self.failure then
    local failure = self.failure
    self.failure = nil
    error(failure, 0)
  end
  return busy
end

--- Runs until everybody waits.
function World:settle()
  repeat until not self:turn()
end

--- Returns in how many milliseconds somebody has something to do, or nil.
local function next_ms(self)
  local least = C.vf_kit_wait_ms(self.kit)
  if least < 0 then least = nil end
  local now = M.now_ms()
  for _, task in ipairs(self.tasks) do
    if task.due then least = math.min(least or math.huge, math.max(0, task.due - now)) end
  end
  return least
end

--- Everybody waits: moves the clock to what comes next, at most by `most` milliseconds.
-- @return milliseconds passed, or nil when nobody waits for time
local function pass_time(self, most)
  local ms = next_ms(self)
  if not ms then
    if most == math.huge then return nil end
    ms = most
  end
  ms = math.min(ms, most)
  native.move(self.kit, ms)
  return ms
end

--- Lets time pass, with all that happens meanwhile.
function World:advance(seconds)
  local left = seconds * 1000
  self:settle()
  while left > 1e-6 do
    left = left - math.max(pass_time(self, left), 1e-6)
    self:settle()
  end
end

--- Runs until `done()`; time passes as needed.
-- @param what it is waited for, for the message when that never comes
-- @param seconds it may take at most; nil: a day
function World:drive(done, what, seconds)
  local left = seconds and seconds * 1000 or LONGEST_MS
  self:settle()
  while not done() do
    local ms = left > 0 and pass_time(self, seconds and left or math.huge)
    if not ms then
      error(left > 0 and ("%s: everybody waits, and for nothing that comes"):format(what)
        or ("%s: not within %g seconds"):format(what, seconds or LONGEST_MS / 1000), 0)
    end
    left = left - math.max(ms, 1e-6)
    self:settle()
  end
end

return M

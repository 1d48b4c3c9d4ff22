--- What plugins in control can ask the core for. The functions are those of control, which fills in `services`; in
-- workers there are none. What runs for whom is kept by the task that runs.
local ffi = require "ffi"
local network = require "veloflux.runtime.network"
local phase = require "veloflux.runtime.phase"
local slices = require "veloflux.slices"
local task = require "veloflux.runtime.task"

ffi.cdef "uint64_t vf_clock_cost_ns(void);"
local C = ffi.C

local M = {}

--- Name -> function(...), set by control/plugins. They run in a task of the core's own, and may wait.
M.services = {}

--- By context number: what runs, {identity, request, dry_run, fence, source}. Of control/plugins/task.lua.
M.runs = {}

local CONTROL = phase.set "control"

--- What runs, when it is called in between and may not wait: a function of a channel. Of control/plugins/task.lua.
M.in_between = nil

--- Services that answer at once.
local AT_ONCE = { list = true, find = true, current = true, state_is_metrics_open = true }

--- Returns what runs; raises when it is not a function of a plugin in control.
-- @param name of the function that was called
function M.current(name)
  if M.in_between then return M.in_between end
  local run = task.run
  local own = run.task ~= nil and M.runs[run.context]
  if not own then phase.wrong(CONTROL, name, 4) end
  return own
end

local function pack(...) return { n = select("#", ...), ... } end

local Mistake = {} -- of the plugin's

--- Raises what is the plugin's mistake, in a service: it is raised there as a text.
function M.refuse(message) error(setmetatable({ message = message }, Mistake), 0) end

local function traceback(raised)
  if getmetatable(raised) == Mistake then return raised end
  return debug.traceback(tostring(raised), 2)
end

--- How a task of the core's lets the loop turn (slices.lua).
local function let_turn(turn)
  local signal = network.signal()
  turn(function() network.raise(signal) end)
  network.wait_signal(signal, 0)
end

--- Runs fn(...) in a task of the core's own and returns what it returns: the time that it takes and the memory are not
-- the plugin's. Yields. What fn raises is raised here, without its traceback, which the log has.
function M.apart(fn, ...)
  local signal, arguments = network.signal(), pack(...)
  local done, of = {}, M.runs[task.run.context] or {}
  of.n_asked = (of.n_asked or 0) + 1
  local ok, err = task.spawn(function()
    done.results = pack(xpcall(function()
      return slices.within(coroutine.running(), let_turn, function()
        return fn(unpack(arguments, 1, arguments.n))
      end)
    end, traceback))
    network.raise(signal)
    of.n_asked = of.n_asked - 1
    if of.n_asked == 0 and of.on_answered then of.on_answered() end
    local is_fault = not done.results[1] and getmetatable(done.results[2]) ~= Mistake
    if is_fault then error(done.results[2], 0) end -- for the log
  end)
  if not ok then error(err, 0) end
  if not done.results then network.wait_signal(signal, 0) end
  if done.results[1] then return unpack(done.results, 2, done.results.n) end
  local raised = done.results[2]
  error(getmetatable(raised) == Mistake and raised.message or "a fault in control: its log has it", 0)
end

--- Says whether a function of a plugin in control runs.
function M.is_here() return M.in_between ~= nil or task.run.task ~= nil and M.runs[task.run.context] ~= nil end

--- Calls fn(...) of the core within the stretch of a plugin, whose time and memory it does not take.
function M.untimed(fn, ...)
  local run = task.run
  local entered_ns = run.entered_ns
  if entered_ns == 0 then return fn(...) end
  local before_ns, plugin = C.vf_clock_cost_ns() - entered_ns, run.plugin
  run.entered_ns, run.plugin = 0, 0
  local results = pack(pcall(fn, ...))
  run.entered_ns, run.plugin = C.vf_clock_cost_ns() - before_ns, plugin
  if results[1] then return unpack(results, 2, results.n) end
  error(getmetatable(results[2]) == Mistake and results[2].message or results[2], 0)
end

--- Calls a service that answers at once for the plugin that runs.
function M.at_once(name, ...)
  return M.untimed(M.services[name] or error("there is no " .. name .. " in this process", 0), ...)
end

--- Calls a service for the plugin that runs. Yields, where that is possible.
function M.call(name, ...)
  if M.in_between then
    if not AT_ONCE[name] then error(name .. " waits, which a function of a channel may not", 3) end
    return M.untimed(M.services[name], ...)
  end
  return M.apart(M.services[name] or error("there is no " .. name .. " in this process", 0), ...)
end

return M

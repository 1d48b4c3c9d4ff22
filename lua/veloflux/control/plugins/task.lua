--- Runs functions of plugins in control as tasks: they may wait, have a limit of time as a whole, and can be ended.
-- What they raise is logged and counted with the plugin's name, by the runtime that workers have, too.
local ffi = require "ffi"
local chain = require "veloflux.runtime.chain"
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"

ffi.cdef "void vf_task_end(struct vf_task *task, const char *why);"
local C = ffi.C

local M = {}

local GONE, LATE = "the client is gone", "it took longer than it may" -- constants: C keeps the pointers
local WATCH_MS = 250

local Run = {}
Run.__index = Run

local with_limit = {} -- runs that a limit of time has
local is_watching = false

local function watch()
  while next(with_limit) do
    network.wait_signal(network.signal(), WATCH_MS)
    local now_ms = network.now_ms()
    for run in pairs(with_limit) do
      if now_ms >= run.deadline_ms then run:stop(LATE, "late") end
    end
  end
  is_watching = false
end

local function begin_watch()
  if is_watching then return end
  is_watching = task.spawn(watch) == true
end

--- The first to say how it ended is heard.
function Run:finish(how, ...)
  if self.is_over then return end
  self.is_over = true
  with_limit[self] = nil
  self.on_end(how, ...)
end

local function call(self)
  local context = task.run.context
  self.task = task.run.task
  task.run.phase = phase.NUMBER.control
  control.runs[context] = self.of
  local first, second, third
  local has_begun = false
  local returned = chain.call(self.plugin.instance, function()
    has_begun = true
    first, second, third = self.fn(unpack(self.arguments, 1, self.arguments.n))
  end)
  control.runs[context] = nil
  self.task = nil
  if returned then return self:finish("done", first, second, third) end
  self:finish(has_begun and "failed" or "tripped")
end

--- Ends it, when it is not over: what it waits for is refused once, then it is left.
-- @param why a text that is raised in it
-- @param how what on_end is told: "late", "gone" or "stopped"
function Run:stop(why, how)
  if self.is_over then return end
  local at = self.task
  self.task = nil
  if at then
    if how == "late" then require("veloflux.control.plugins.log").late(self.plugin, self.what, self.limit_ms) end
    C.vf_task_end(at, why)
  end
  self:finish(how)
end

--- The client whom it runs for is gone.
function Run:abandon() self:stop(GONE, "gone") end

--- Starts fn(...) of a plugin.
-- @param plugin {name, instance, ...} of control/plugins
-- @param options table:
--   what       what it is, for the log: "POST /api/widgets", "job sweep"
--   of         what the plugin API needs to know of it, see runtime/control.lua
--   limit_ms   how long it may take as a whole, waiting included
--   on_end     function(how, a, b, c): "done" and its first three results, "failed", "tripped" (left out after too many
--              errors), "late", "gone" or "stopped"
-- @return a run; nil when out of memory, then on_end is called with "failed"
function M.start(plugin, options, fn, ...)
  local self = setmetatable({ plugin = plugin, what = options.what, of = options.of or {}, fn = fn,
    arguments = { n = select("#", ...), ... }, limit_ms = options.limit_ms, on_end = options.on_end,
    deadline_ms = network.now_ms() + options.limit_ms }, Run)
  if not task.spawn(call, self) then
    self:finish "failed"
    return nil
  end
  with_limit[self] = true
  begin_watch()
  return self
end

-- What the run of another plugin has measured so far, while one is called in between.
local KEPT = { "phase", "plugin", "instance", "entered_ns", "spent_ns", "begun_ns", "left_ns", "waited", "cut" }

--- Calls fn(...) of a plugin here and now: it may not wait.
-- @param plugin as of `start`
-- @return true and its first three results; or false when it has failed, which is counted and logged
function M.call_now(plugin, fn, ...)
  local run, kept, first, second, third = task.run, {}, nil, nil, nil
  for _, name in ipairs(KEPT) do kept[name] = run[name] end
  run.phase = phase.NUMBER.control
  local arguments, count, outer = { ... }, select("#", ...), control.in_between
  control.in_between = { source = "api", laggards = 0 }
  local ok = chain.call(plugin.instance, function() first, second, third = fn(unpack(arguments, 1, count)) end)
  control.in_between = outer
  for _, name in ipairs(KEPT) do run[name] = kept[name] end
  return ok, first, second, third
end

return M

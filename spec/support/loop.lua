--- Specs as straight-line code on the luv loop.
--
-- A spec runs as a coroutine. Whatever takes time is awaited: the coroutine yields, a luv callback resumes it. Nothing
-- sleeps to synchronise; the only clock is a watchdog that can fail a run, never pass one, and that names what every
-- coroutine was waiting for.
--
--     it("answers", loop.spec(function()
--       local origin = origins.start()
--       ...
--     end))
--
-- Everything opened (sockets, processes, folders) belongs to the scope in which it was opened and is closed with it, in
-- reverse order, whether the spec passes or fails. A handle that is still open afterwards fails the spec. What several
-- specs share is opened in a scope of their own:
--
--     local shared, server = loop.scope()
--     setup(shared:spec(function() server = servers.start { ... } end))
--     teardown(shared:closer())
local ffi = require "ffi"
local uv = require "luv"

-- Writing to a connection that the other side has reset is an error of that write, not the end of the runner.
ffi.cdef "intptr_t signal(int number, intptr_t handler);"
local SIGPIPE, SIG_IGN = 13, 1
ffi.C.signal(SIGPIPE, SIG_IGN)

local M = {}

--- How long one run may take before the watchdog fails it: what takes seconds takes minutes where many processes share
-- a processor. Others get more by environment.
M.WATCHDOG_MS = tonumber(os.getenv "VF_WATCHDOG_MS") or (os.getenv "VF_SAN" and 300000 or 180000)

local active                                      -- the run in progress: { scope, failure, done }
local waiting = setmetatable({}, { __mode = "k" }) -- coroutine -> what it awaits
local owner = setmetatable({}, { __mode = "k" })   -- coroutine -> scope; a closed scope's coroutines never resume
local open_scopes = 0                              -- shared scopes alive: their handles are no leak

local function describe_failure(co, err)
  local where = debug.traceback(co)
  if type(err) == "table" and err.message ~= nil then -- an assertion of luassert: keep it one
    err.message = tostring(err.message) .. "\n" .. where
    return err
  end
  return tostring(err) .. "\n" .. where
end

local function fail(failure)
  if active and not active.failure then
    active.failure = failure
  end
end

local function step(co, ...)
  local scope = owner[co]
  if scope and scope.closed then return end
  waiting[co] = nil
  local ok, err = coroutine.resume(co, ...)
  if not ok then fail(describe_failure(co, err)) end
end

--- The scope in which we run. A long-lived object remembers it, to spawn in it from callbacks of later runs.
function M.current_scope() return active and active.scope end

--- Starts `fn(...)` as a coroutine of a scope. Its error fails the run in progress.
-- @param scope from current_scope()
-- @param fn function that may await
-- @return the coroutine
function M.spawn_in(scope, fn, ...)
  local co = coroutine.create(fn)
  owner[co] = scope
  step(co, ...)
  return co
end

--- Starts `fn(...)` as a coroutine of the current scope.
function M.spawn(fn, ...) return M.spawn_in(M.current_scope(), fn, ...) end

--- Suspends the calling coroutine until a callback settles it.
-- @param what string for the watchdog: what is awaited
-- @param start function(settle) that arranges for settle(...) to be called once, now or later; later calls are ignored
-- @return what settle was given
function M.await(what, start)
  local co = coroutine.running()
  assert(co, "loop.await is called outside of loop.run")
  local settled, suspended, values = false, false, nil
  start(function(...)
    if settled then return end
    settled = true
    if suspended then return step(co, ...) end
    values = { n = select("#", ...), ... }
  end)
  if settled then return unpack(values, 1, values.n) end
  suspended = true
  waiting[co] = what
  return coroutine.yield()
end

local Condition = {}
Condition.__index = Condition

--- A condition that coroutines wait for: who changes the state that it guards calls notify().
function M.condition()
  return setmetatable({ waiters = {} }, Condition)
end

--- Lets every waiting coroutine look again.
function Condition:notify()
  local waiters = self.waiters
  self.waiters = {}
  for _, resume in ipairs(waiters) do resume() end
end

--- Waits until `predicate()` returns something true.
-- @param what string for the watchdog
-- @param predicate function, looked at now and after each notify
-- @return what the predicate returned
function Condition:wait(what, predicate)
  while true do
    local found = { predicate() }
    if found[1] then return unpack(found) end
    M.await(what, function(settle) self.waiters[#self.waiters + 1] = settle end)
  end
end

local function who_waits()
  local lines = {}
  for co, what in pairs(waiting) do
    if coroutine.status(co) == "suspended" and not (owner[co] and owner[co].closed) then
      lines[#lines + 1] = "  waiting for " .. what .. "\n" .. debug.traceback(co)
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or "  (no coroutine waits)"
end

-- Runs fn as a coroutine and turns the loop until it has finished, something failed or the time is up.
local function turn(scope, fn, limit_ms)
  assert(not active, "loop.run does not nest")
  active = { scope = scope }
  local run = active
  local watchdog = uv.new_timer()
  watchdog:start(limit_ms, 0, function()
    fail(("the watchdog ended the run after %d ms\n%s"):format(limit_ms, who_waits()))
  end)
  local main = coroutine.create(function()
    fn()
    run.done = true
  end)
  owner[main] = scope
  step(main)
  while not run.done and not run.failure do uv.run "once" end
  watchdog:stop()
  watchdog:close()
  active = nil
  return run.failure
end

local Scope = {}
Scope.__index = Scope

--- Calls `close` when the scope in which we run is closed; last registered, first called. It may await.
function M.defer(close)
  assert(active, "loop.defer is called outside of loop.run")
  local closers = active.scope.closers
  closers[#closers + 1] = close
end

--- Runs fn in this scope; raises what it raises.
-- @param fn function that may await
-- @param options table or nil: timeout_ms instead of the default watchdog
function Scope:run(fn, options)
  local failure = turn(self, fn, options and options.timeout_ms or M.WATCHDOG_MS)
  if failure then error(failure, 0) end
end

--- Closes everything opened in this scope, in reverse order; raises the first error of a closer.
function Scope:close()
  local closers, first = self.closers, nil
  self.closers = {}
  self.closed = true
  if self.shared then open_scopes = open_scopes - 1 end
  for i = #closers, 1, -1 do
    local failure = turn({ closers = {} }, closers[i], M.WATCHDOG_MS)
    first = first or failure
  end
  uv.run "nowait" -- close callbacks
  if first then error(first, 0) end
end

--- Returns fn as a function for busted's it, setup or before_each, run in this scope.
function Scope:spec(fn, options)
  return function() self:run(fn, options) end
end

--- Returns a function for busted's teardown or after_each that closes this scope.
function Scope:closer()
  return function() self:close() end
end

local function new_scope(shared)
  return setmetatable({ closers = {}, shared = shared }, Scope)
end

--- A scope that outlives one run, for what several specs share. Its owner closes it.
function M.scope()
  open_scopes = open_scopes + 1
  return new_scope(true)
end

local function open_handles()
  local seen = {}
  uv.walk(function(handle)
    if not handle:is_closing() then seen[#seen + 1] = handle end
  end)
  return seen
end

local function leaked(before)
  local known, found = {}, {}
  for _, handle in ipairs(before) do known[handle] = true end
  for _, handle in ipairs(open_handles()) do
    if not known[handle] then found[#found + 1] = tostring(handle) end
  end
  return found
end

--- Runs fn in a scope of its own until it has finished, then closes the scope; raises what went wrong first.
-- @param fn function that may await
-- @param options table or nil: timeout_ms
function M.run(fn, options)
  local before = open_handles()
  local scope = new_scope(false)
  local ok, failure = pcall(scope.run, scope, fn, options)
  local closed, close_failure = pcall(scope.close, scope)
  if not ok then error(failure, 0) end
  if not closed then error(close_failure, 0) end
  if open_scopes == 0 then
    local handles = leaked(before)
    if #handles > 0 then error("still open after the spec: " .. table.concat(handles, ", "), 0) end
  end
end

--- Returns fn as a function for busted's it.
function M.spec(fn, options)
  return function() M.run(fn, options) end
end

return M

--- Tasks as Lua sees them: waiting, and starting others. The C side is src/lua/task.c.
local ffi = require "ffi"

ffi.cdef [[
struct vf_task;
struct vf_exchange;
struct vf_run {
  struct vf_task *task;
  struct vf_exchange *ex;
  uint32_t context;
  uint32_t phase;
  uint32_t plugin;
  uint32_t instance;
  uint64_t entered_ns;
  uint64_t spent_ns;
  uint64_t begun_ns;
  uint64_t left_ns;
  uint64_t waited;
  uint32_t cut;
  uint32_t cancelled;
  uint32_t has_values;
  uint32_t identified;
};
int vf_task_was_woken(struct vf_task *task);
int vf_task_spawn(struct vf_run *run, double key);
]]
local C = ffi.C
local running, yield, is_yieldable = coroutine.running, coroutine.yield, coroutine.isyieldable

local M = {}

--- What a task yields (enum vf_task_outcome).
local WAITS, EXITS = 1, 2

--- What the tasks keep (pdk.ctx), by context number; C drops a task's entry with the task.
M.values = {}

--- The coroutines of all tasks by context number; C keeps it. A plugin may have others, in which nothing can wait.
M.coroutines = {}
local coroutines = M.coroutines

local spawned = {} -- key -> {function, argument}
local n_spawned = 0

--- What is known of the task that runs (struct vf_run of src/lua/task.h); set once, by `init`. Where plugins are
-- loaded only, as in control, no task ever runs.
M.run = { phase = 0, context = 0, instance = 0, cancelled = 0 }

--- Called by C once.
function M.init(run) M.run = ffi.cast("struct vf_run *", run) end

--- Says whether the coroutine of the task runs, and none that a plugin has made.
function M.is_own() return running() == coroutines[M.run.context] end

--- Says why the task cannot wait here, or nil. A binding asks before it registers what would wake the task: what is
-- left registered by a wait that never was wakes it at another one, or writes into memory that is gone.
function M.obstacle()
  local run = M.run
  if run.cancelled ~= 0 then return "this task has been ended: nothing more can be waited for" end
  if running() ~= coroutines[run.context] then
    return "waiting inside a coroutine of the plugin's own is not possible"
  end
  if not is_yieldable() then
    return "waiting inside a function that string.gsub, table.sort or the like calls is not possible"
  end
end
local obstacle = M.obstacle

--- Yields until what the binding has registered wakes the task. Raises why when the task is ended
-- meanwhile ("client gone"), and when it cannot wait here.
function M.wait()
  local run = M.run
  local refusal = obstacle()
  if refusal then error(refusal, run.cancelled ~= 0 and 0 or 3) end
  if C.vf_task_was_woken(run.task) ~= 0 then return end
  local why = yield(WAITS)
  if why then error(why, 0) end
end

--- Says whether the code that runs now may wait.
function M.can_wait()
  local run = M.run
  return run ~= nil and run.task ~= nil and run.cancelled == 0 and running() == coroutines[run.context]
end

--- What has to be done before a task leaves for good (`exit`), by context number: function(), which must not wait.
M.at_exit = {}

--- Leaves the function that C started, for good: nothing after this call runs, not even behind a pcall.
function M.exit()
  local context = M.run.context
  if running() ~= coroutines[context] then
    error("not possible inside a coroutine of the plugin's own", 3)
  end
  local leave = M.at_exit[context]
  if leave then
    M.at_exit[context] = nil
    leave()
  end
  yield(EXITS)
end

--- A handler that ran without a pcall around it has raised: function(message with traceback), set by
-- runtime/chain.lua.
function M.on_handler_error(message) io.stderr:write(message, "\n") end

--- Returns what has been raised as a text.
function M.message_of(raised)
  if type(raised) == "string" then return raised end
  return "an error that is not a text: " .. tostring(raised)
end

--- Called by C when a function of the task has raised, and a handler was running: the request fails.
-- @param co its coroutine, with the stack as it was then
-- @return true
function M.fault(co, raised)
  local context = M.run.context
  M.on_handler_error(debug.traceback(co, M.message_of(raised), 0))
  local leave = M.at_exit[context]
  if leave then
    M.at_exit[context] = nil
    leave()
  end
  return true
end

--- Starts `fn(argument)` as a task of its own, soon. What it raises is logged and counted for the plugin
-- that runs now.
-- @return true, or nil and a message
function M.spawn(fn, argument)
  local key = n_spawned + 1
  n_spawned, spawned[key] = key, { fn, argument }
  if C.vf_task_spawn(M.run, key) == 0 then return true end
  spawned[key] = nil
  return nil, "out of memory"
end

--- What becomes of an error of a spawned task: function(message with traceback), set by runtime/chain.lua.
function M.on_error(message) io.stderr:write(message, "\n") end

local function traceback(message) return debug.traceback(tostring(message), 2) end

--- Called by C in the new task.
function M.run_spawned(key)
  local entry = spawned[key]
  spawned[key] = nil
  local ok, message = xpcall(entry[1], traceback, entry[2])
  if not ok and M.run.cancelled == 0 then M.on_error(message) end
end

return M

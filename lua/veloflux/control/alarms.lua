--- Timers of the control process, for what is no task of a plugin: functions that are called from its loop when their
-- time has come. What raises is logged; the others get their turn.
--
--     local handle = alarms.after(500, renew)
--     alarms.cancel(handle)
local ffi = require "ffi"
local link = require "veloflux.control.link"

ffi.cdef [[
void vf_control_alarm(uint64_t delay_ms);
uint64_t vf_clock_ns(void);
]]
local C = ffi.C

local M = {}

local now_ms, set -- the clock (monotonic), and what asks to be called
local waiting = {} -- {due_ms, fn}, the first due first
local set_for -- when `ring` is asked for; nil: not at all

--- Begins anew. Specs give a clock of their own.
-- @param options nil, or {now_ms = function, set = function(delay_ms): calls `ring` in that time}
function M.open(options)
  options = options or {}
  now_ms = options.now_ms or function() return tonumber(C.vf_clock_ns()) / 1e6 end
  set = options.set or function(delay_ms) C.vf_control_alarm(delay_ms) end
  waiting, set_for = {}, nil
end
M.open()

--- Returns the time of the monotonic clock in milliseconds.
function M.now_ms() return now_ms() end

local function ask()
  local first = waiting[1]
  if not first or set_for and set_for <= first.due_ms then return end
  set_for = first.due_ms
  set(math.max(0, math.ceil(first.due_ms - now_ms())))
end

--- Calls a function once, in so many milliseconds.
-- @return a handle for `cancel`
function M.after(delay_ms, fn)
  local entry = { due_ms = now_ms() + delay_ms, fn = assert(fn) }
  local at = #waiting + 1
  while at > 1 and waiting[at - 1].due_ms > entry.due_ms do at = at - 1 end
  table.insert(waiting, at, entry)
  ask()
  return entry
end

--- Forgets what was asked for. A handle that is nil, or whose time has come, does no harm.
function M.cancel(handle)
  for i, entry in ipairs(waiting) do
    if entry == handle then return table.remove(waiting, i) and nil end
  end
end

--- Calls what is due. Called by src/control/alarm.c.
function M.ring()
  set_for = nil
  local now, due = now_ms(), {}
  while waiting[1] and waiting[1].due_ms <= now do due[#due + 1] = table.remove(waiting, 1) end
  for _, entry in ipairs(due) do
    local ok, message = xpcall(entry.fn, debug.traceback)
    if not ok then link.log("error", "control.fault", tostring(message)) end
  end
  ask()
end

return M

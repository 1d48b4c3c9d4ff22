--- A libuv loop for C code under test, driven from luv's: whatever either of them waits for wakes both.
local ffi = require "ffi"
local uv = require "luv"

ffi.cdef [[
typedef struct uv_loop_s uv_loop_t;
size_t uv_loop_size(void);
int uv_loop_init(uv_loop_t *);
int uv_loop_close(uv_loop_t *);
int uv_run(uv_loop_t *, int mode);
int uv_backend_fd(const uv_loop_t *);
int uv_backend_timeout(const uv_loop_t *);
void uv_stop(uv_loop_t *);
void uv_update_time(uv_loop_t *);
]]
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

local RUN_NOWAIT = 2
local WATCHDOG_MS = os.getenv "VF_SAN" and 60000 or 20000

local Loop = {}
Loop.__index = Loop

local M = {}

function M.new()
  local memory = ffi.new("uint64_t[?]", math.ceil(tonumber(lib.uv_loop_size()) / 8))
  local raw = ffi.cast("uv_loop_t *", memory)
  assert(lib.uv_loop_init(raw) == 0)
  local self = setmetatable({ memory = memory, raw = raw, timer = uv.new_timer() }, Loop)
  self.poll = uv.new_poll(lib.uv_backend_fd(raw))
  self.poll:start("r", function() end)
  return self
end

-- Calls back into Lua, so it must not run inside a compiled trace.
local function run_once(self)
  lib.uv_run(self.raw, RUN_NOWAIT)
end
jit.off(run_once)

local function wait_once(self)
  local wait_ms = lib.uv_backend_timeout(self.raw)
  if wait_ms < 0 or wait_ms > 100 then wait_ms = 100 end
  -- repeating: libuv runs a due timer before it polls, and would then poll without end
  self.timer:start(wait_ms, 100, function() end)
  uv.run(wait_ms == 0 and "nowait" or "once")
end

--- Runs both loops until `done()`; fails when that takes too long.
function Loop:drive(done, what)
  local deadline = uv.hrtime() + WATCHDOG_MS * 1e6
  while true do
    run_once(self)
    if done() then return end
    assert(uv.hrtime() < deadline, "waited in vain for " .. (what or "something"))
    wait_once(self)
  end
end

--- Runs both loops for a while, to see that nothing happens.
function Loop:drive_for(ms)
  local deadline = uv.hrtime() + ms * 1e6
  self:drive(function() return uv.hrtime() >= deadline end)
end

--- Runs until every handle is closed, and closes the loop: fails when something is left open.
function Loop:close()
  local rc
  self:drive(function()
    rc = lib.uv_loop_close(self.raw)
    return rc == 0
  end, "the handles to close")
  self.poll:stop()
  self.poll:close()
  self.timer:close()
  uv.run "nowait"
end

return M

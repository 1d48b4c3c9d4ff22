--- A libuv loop for C code under test, run together with luv's: it waits for both, as a process of its own would.
local ffi = require "ffi"
local uv = require "luv"
local callbacks = require "support.callbacks"

ffi.cdef [[
typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t;
size_t uv_loop_size(void);
int uv_loop_init(uv_loop_t *);
int uv_loop_close(uv_loop_t *);
int uv_run(uv_loop_t *, int mode);
int uv_poll_init(uv_loop_t *, uv_handle_t *, int fd);
int uv_poll_start(uv_handle_t *, int events, void (*)(uv_handle_t *, int status, int events));
int uv_timer_init(uv_loop_t *, uv_handle_t *);
int uv_timer_start(uv_handle_t *, void (*)(uv_handle_t *), uint64_t timeout, uint64_t repeat);
void uv_unref(uv_handle_t *);
void uv_close(uv_handle_t *, void (*)(uv_handle_t *));
]]
local lib = callbacks.outside(require "support.library")

local RUN_ONCE, READABLE, HANDLE_BYTES = 1, 1, 512
local LONGEST_WAIT_MS = 100
local WATCHDOG_MS = os.getenv "VF_SAN" and 180000 or 60000

local on_poll = callbacks.nothing "void (*)(uv_handle_t *, int, int)"
local on_timer = callbacks.nothing "void (*)(uv_handle_t *)"

local Loop = {}
Loop.__index = Loop

local M = {}

-- Returns zeroed memory as a pointer of `ctype`; `keep` holds it.
local function allocate(keep, bytes, ctype)
  local memory = ffi.new("uint64_t[?]", math.ceil(bytes / 8))
  keep[#keep + 1] = memory
  return ffi.cast(ctype, memory)
end

function M.new()
  local self = setmetatable({ memory = {} }, Loop)
  self.raw = allocate(self.memory, tonumber(lib.uv_loop_size()), "uv_loop_t *")
  self.poll = allocate(self.memory, HANDLE_BYTES, "uv_handle_t *")
  self.timer = allocate(self.memory, HANDLE_BYTES, "uv_handle_t *")
  assert(lib.uv_loop_init(self.raw) == 0)
  assert(lib.uv_poll_init(self.raw, self.poll, uv.backend_fd()) == 0)
  assert(lib.uv_poll_start(self.poll, READABLE, on_poll) == 0)
  assert(lib.uv_timer_init(self.raw, self.timer) == 0)
  return self
end

local function run_once(self)
  uv.update_time()
  local wait_ms = uv.backend_timeout()
  if wait_ms < 0 or wait_ms > LONGEST_WAIT_MS then wait_ms = LONGEST_WAIT_MS end
  lib.uv_timer_start(self.timer, on_timer, wait_ms, LONGEST_WAIT_MS)
  lib.uv_run(self.raw, RUN_ONCE)
  uv.run "nowait"
end

--- Runs both loops until `done()`; fails when that takes too long.
function Loop:drive(done, what)
  local deadline = uv.hrtime() + WATCHDOG_MS * 1e6
  while not done() do
    assert(uv.hrtime() < deadline, "waited in vain for " .. (what or "something"))
    run_once(self)
  end
end

--- Runs both loops for a while, to see that nothing happens.
function Loop:drive_for(ms)
  local deadline = uv.hrtime() + ms * 1e6
  self:drive(function() return uv.hrtime() >= deadline end)
end

--- Runs until every handle of the code under test is closed, and closes the loop: fails when one is left open.
function Loop:close()
  lib.uv_close(self.poll, nil)
  lib.uv_close(self.timer, nil)
  local deadline = uv.hrtime() + WATCHDOG_MS * 1e6
  while lib.uv_loop_close(self.raw) ~= 0 do
    assert(uv.hrtime() < deadline, "a handle was left open")
    lib.uv_run(self.raw, 2)
  end
end

return M

--- Waiting for the network: what the modules of the plugin API that talk to others share. The C side is
-- src/net (op.h, socket.h) and src/lua/network.h.
local ffi = require "ffi"
local task = require "veloflux.runtime.task"
require "veloflux.str"

ffi.cdef [[
struct vf_op;
struct vf_sockets;
struct vf_socket;
struct vf_udp;
struct vf_hold;
struct vf_upstreams;
struct vf_upstreams *vf_errands_upstreams(struct vf_task *task);
struct vf_sockets *vf_network_sockets(struct vf_task *task);
struct vf_wait { struct vf_task *task; struct vf_op *op; int rc; };
uint64_t vf_clock_ns(void);
void vf_network_wait(struct vf_wait *wait);
int vf_network_secure(struct vf_task *task, struct vf_socket *socket, const char *name, size_t len, bool verify,
                      uint64_t timeout_ms);
const char *vf_network_tls_why(struct vf_socket *socket);
struct vf_hold *vf_hold_socket(struct vf_task *task, struct vf_socket *socket, bool is_plugins);
struct vf_hold *vf_hold_udp(struct vf_task *task, struct vf_udp *udp, bool is_plugins);
void vf_hold_take(struct vf_hold *hold, struct vf_task *task, bool is_plugins);
void vf_hold_give(struct vf_hold *hold);
void vf_hold_free(struct vf_hold *hold);
struct vf_socket *vf_hold_release(struct vf_hold *hold);
void vf_hold_lost(struct vf_hold *hold);
struct vf_op *vf_network_op(struct vf_task *task);
int vf_op_begin(struct vf_op *op, uint64_t timeout_ms);
void vf_op_end(struct vf_op *op, int rc);
void vf_op_cancel(struct vf_op *op);
void vf_op_free(struct vf_op *op);
]]
local C = ffi.C
local new_wait = ffi.typeof "struct vf_wait"

local chain -- veloflux.runtime.chain, on first use: specs of the network do without

local M = {}

--- Returned by what C starts and does not finish at once.
M.PENDING = 1

--- Codes of results, as C has them (libuv's, and src/base/error.h).
M.EOF, M.TIMED_OUT, M.RESET, M.BROKEN_PIPE, M.NO_MEMORY = -4095, -110, -104, -32, -12
M.CANCELLED = -125
M.NO_ADDRESS, M.MALFORMED, M.TOO_LARGE, M.TLS = -20001, -20003, -20004, -20005

local CODES = {
  [M.TLS] = "tls",
  [M.EOF] = "closed", [M.BROKEN_PIPE] = "closed", [-107] = "closed", -- ENOTCONN
  [M.RESET] = "reset", [-103] = "reset", -- ECONNABORTED
  [M.TIMED_OUT] = "timeout",
  [-111] = "refused", [-2] = "refused", [-11] = "refused", -- ENOENT, EAGAIN: of unix sockets
  [-101] = "unreachable", [-113] = "unreachable",
  [M.NO_ADDRESS] = "resolve",
  [M.MALFORMED] = "malformed", [M.TOO_LARGE] = "too_large", [-90] = "too_large",
  [-16] = "busy", [M.CANCELLED] = "cancelled", [-22] = "invalid", [M.NO_MEMORY] = "memory",
}

--- Returns the stable word for a result: "timeout", "closed", "refused" and so on; "failed" for the rest.
function M.code(rc) return CODES[rc] or "failed" end

--- Waits until a pending operation ends. Returns its result: 0 or a negative code.
-- @param op struct vf_op *
function M.await(op)
  if task.obstacle() then
    C.vf_op_cancel(op) -- nobody would hear of its end
    task.wait() -- says why
  end
  local wait = new_wait(task.run.task, op)
  C.vf_network_wait(wait)
  task.wait()
  return wait.rc
end

-- What Lua holds belongs to the task that took it: src/lua/hold.h closes it with the task.

local function held(hold) return hold ~= nil and ffi.gc(hold, C.vf_hold_lost) or nil end

--- Makes a socket the task's own. Returns the hold, or nil when out of memory.
-- @param is_plugins true: the plugin has to close it, and the log says so when it does not
function M.hold_socket(socket, is_plugins) return held(C.vf_hold_socket(task.run.task, socket, is_plugins)) end
function M.hold_udp(udp, is_plugins) return held(C.vf_hold_udp(task.run.task, udp, is_plugins)) end

--- Gives it up, to be kept for others; takes it for the task that runs.
function M.disown(hold) C.vf_hold_give(hold) end
function M.own(hold, is_plugins) C.vf_hold_take(hold, task.run.task, is_plugins) end

--- Lets go of a socket without closing it.
function M.release(hold) C.vf_hold_release(ffi.gc(hold, nil)) end

--- Closes and frees it.
function M.free(hold) C.vf_hold_free(ffi.gc(hold, nil)) end

--- The name of the plugin that runs, "" for core code.
function M.plugin_name()
  chain = chain or require "veloflux.runtime.chain"
  local instance = chain.current()
  return instance and instance.name or ""
end

--- Makes a signal: a task waits for it, others (or time) end the wait.
function M.signal()
  local op = C.vf_network_op(task.run.task)
  if op == nil then error("out of memory, or the process ends", 0) end
  return ffi.gc(op, C.vf_op_free)
end

--- Waits for a signal, at most `ms` milliseconds (0: for ever). Returns true when it was raised, false when time is up.
function M.wait_signal(op, ms)
  C.vf_op_begin(op, ms)
  return M.await(op) == 0
end

--- Lets the task that waits for the signal go on; nothing happens when none does.
function M.raise(op) C.vf_op_end(op, 0) end

--- Raises while the code of a plugin is loaded: there is nobody who could wait.
-- @param name of the function that was called
function M.check(name)
  local run = task.run
  if run == nil or run.task == nil then error(name .. " cannot be called while the plugin's code is loaded", 3) end
end

--- The sockets of this process (struct vf_sockets *).
function M.sockets() return C.vf_network_sockets(task.run.task) end

--- What keeps connections to upstreams (struct vf_upstreams *), NULL where nothing does.
function M.upstreams() return C.vf_errands_upstreams(task.run.task) end

--- A monotonic clock in milliseconds.
function M.now_ms() return tonumber(C.vf_clock_ns() / 1000000ULL) end

--- Seconds of a time limit as milliseconds.
-- @param seconds number, or nil for the default
-- @param default number of seconds
-- @param name string for the error
function M.milliseconds(seconds, default, name)
  if seconds == nil then seconds = default end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 or seconds > 86400 * 365 then
    error(name .. ": expected a number of seconds above 0, got " .. tostring(seconds), 3)
  end
  return math.ceil(seconds * 1000)
end

return M

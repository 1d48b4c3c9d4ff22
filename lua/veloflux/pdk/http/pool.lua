--- A pool of the model as the target of a request (src/proxy/errand.h): its balancer, health, limits, timeouts and
-- counters are those of requests of clients.
local ffi = require "ffi"
local address = require "veloflux.pdk.http.address"
local network = require "veloflux.runtime.network"
local streams = require "veloflux.runtime.stream"
local task = require "veloflux.runtime.task"

ffi.cdef [[
struct vf_errand;
struct vf_errand_hold;
struct vf_errand_wish {
  struct vf_str tenant, pool;
  struct vf_str method;
  struct vf_str hash_key;
  uint32_t pool_hint;
};
struct vf_errand_limits { uint64_t connect_ms, response_ms, response_body_ms, idle_ms; };
int vf_errands_begin(struct vf_task *task, const struct vf_errand_wish *wish, struct vf_errand_hold **out);
struct vf_errand *vf_errands_get(const struct vf_errand_hold *hold);
void vf_errands_end(struct vf_errand_hold *hold);
void vf_errands_drop(struct vf_errand_hold *hold);
uint32_t vf_errand_pool_index(const struct vf_errand *errand);
void vf_errand_limits(const struct vf_errand *errand, struct vf_errand_limits *out);
int vf_errand_open(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                   struct vf_socket **socket);
int vf_errand_reopen(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                     struct vf_socket **socket);
void vf_errand_connected(struct vf_errand *errand, struct vf_socket *socket);
void vf_errand_sent(struct vf_errand *errand);
void vf_errand_answered(struct vf_errand *errand, uint32_t status);
void vf_errand_passed(struct vf_errand *errand, uint64_t bytes_sent, uint64_t bytes_received);
void vf_errand_failed(struct vf_errand *errand, int failure, bool is_broken_off);
void vf_errand_backend(const struct vf_errand *errand, struct vf_str *out);
const char *vf_errand_why(const struct vf_errand *errand);
]]
local C = ffi.C

-- enum vf_upstream_failure
local CONNECT, CONNECT_TIMEOUT, CLOSED, TIMEOUT, CUT, MALFORMED = 0, 1, 2, 3, 4, 5

local NOT_FOUND, NOT_HERE, TOO_MANY, NO_MEMORY = -2, -95, -24, -12 -- UV_ENOENT, UV_ENOTSUP, UV_EMFILE, UV_ENOMEM
local LONGEST_MS = 365 * 86400 * 1000 -- for limits that are off
local WHY = {
  pool_full = { "all backends are at their connection limit", "too_many" },
  no_backend = { "no backend is available", "unavailable" },
  backend_unreachable = { "no backend can be reached", "unreachable" },
  connect_timeout = { "no backend took a connection in time", "timeout" },
}

local M = {}

local wish, limits, view = ffi.new "struct vf_errand_wish", ffi.new "struct vf_errand_limits", ffi.new "struct vf_str"
local out, socket_out = ffi.new "struct vf_errand_hold *[1]", ffi.new "struct vf_socket *[1]"
local hints = {} -- tenant NUL name -> index of the pool

local Pool = {}
Pool.__index = Pool

local function put(str, text)
  str.data, str.len = text, text and #text or 0
end

local function milliseconds(value) return math.min(tonumber(value), LONGEST_MS) end

--- The tenant of the route that the running task is for.
local function own_tenant()
  if task.run.ex == nil then return "default" end
  local runtime_view = require "veloflux.runtime.view"
  local name = runtime_view.text_of(runtime_view.TENANT)
  return name ~= nil and name ~= "" and name or "default"
end

--- Makes a target.
-- @param options of pdk.http.request: pool, tenant, hash_key
-- @param method of the request
-- @return target; its field `limits` has the pool's own in milliseconds. Or nil, message, code
function M.new(options, method)
  local name, tenant = options.pool, options.tenant or own_tenant()
  local key = tenant .. "\0" .. name
  put(wish.tenant, tenant)
  put(wish.pool, name)
  put(wish.method, method)
  put(wish.hash_key, options.hash_key)
  wish.pool_hint = hints[key] or 0
  local rc = C.vf_errands_begin(task.run.task, wish, out)
  if rc == NOT_FOUND then return nil, ("the tenant %s has no pool called %q"):format(tenant, name), "unknown" end
  if rc == NOT_HERE then return nil, "pools can be asked in workers only", "not_available" end
  if rc ~= 0 then return nil, "out of memory", "memory" end
  local self = setmetatable({ name = name, hold = ffi.gc(out[0], C.vf_errands_drop) }, Pool)
  local errand = C.vf_errands_get(self.hold)
  hints[key] = C.vf_errand_pool_index(errand)
  C.vf_errand_limits(errand, limits)
  self.limits = { connect = milliseconds(limits.connect_ms), response = milliseconds(limits.response_ms),
    read = milliseconds(limits.response_body_ms), idle = milliseconds(limits.idle_ms) }
  return self
end

local function errand_of(self)
  local errand = C.vf_errands_get(self.hold)
  return errand ~= nil and errand or nil
end

local function unavailable(self, errand)
  local why = WHY[ffi.string(C.vf_errand_why(errand))]
  return nil, ("pool %s: %s"):format(self.name, why[1]), why[2]
end

-- Waits until a new connection stands. Returns the stream; false: another backend may be tried; or nil, message, code.
local function await(errand, stream, call)
  local rc = streams.await(stream, C.vf_socket_writing(stream.socket))
  if rc == 0 then
    C.vf_errand_connected(errand, stream.socket)
    return stream
  end
  stream:close()
  if rc == network.CANCELLED then return nil, "the task has ended", "cancelled" end
  if rc == network.TIMED_OUT and not address.connect_ms(call) then return nil, "connect: timed out", "timeout" end
  C.vf_errand_failed(errand, rc == network.TIMED_OUT and CONNECT_TIMEOUT or CONNECT, false)
  return false
end

-- Opens a connection to one backend. Returns stream (or false), nil, nil, whether it was kept; or nil, message, code.
local function open_one(self, errand, call, open)
  local ms, sockets = address.connect_ms(call), network.sockets()
  if not ms then return nil, "connect: timed out", "timeout" end
  if sockets == nil then return nil, "the process ends", "cancelled" end
  local rc = open(errand, sockets, ms, socket_out)
  if rc == TOO_MANY then return nil, "too many sockets are open", "too_many" end
  if rc == NO_MEMORY then return nil, "out of memory", "memory" end
  if rc < 0 then return unavailable(self, errand) end
  local stream, err, code = streams.adopt(socket_out[0])
  if not stream then return nil, err, code end
  if rc == 0 then return stream, nil, nil, true end
  return await(errand, stream, call)
end

function Pool:connect(call)
  local errand = errand_of(self)
  local open = call.fresh and C.vf_errand_reopen or C.vf_errand_open
  while errand do
    local stream, err, code, is_kept = open_one(self, errand, call, open)
    if stream ~= false then return stream, err, code, is_kept end
    open = C.vf_errand_open
  end
  return nil, "the request has ended", "cancelled"
end

local function told(tell)
  return function(self, ...)
    local errand = errand_of(self)
    if errand then tell(errand, ...) end
  end
end

Pool.sent = told(function(errand) C.vf_errand_sent(errand) end)
Pool.answered = told(function(errand, status) C.vf_errand_answered(errand, status) end)
Pool.passed = told(function(errand, sent, received) C.vf_errand_passed(errand, sent, received) end)

local OF_CODE = { timeout = TIMEOUT, malformed = MALFORMED, too_large = MALFORMED }

Pool.failed = told(function(errand, code, has_begun)
  C.vf_errand_failed(errand, OF_CODE[code] or (has_begun and CUT or CLOSED), code == "closed" or code == "reset")
end)

--- The address of the backend that was chosen last.
function Pool:backend()
  local errand = errand_of(self)
  if not errand then return nil end
  C.vf_errand_backend(errand, view)
  return view.len > 0 and ffi.string(view.data, view.len) or nil
end

function Pool.keep(_, stream, idle_ms) address.keep(stream, idle_ms) end

function Pool:finish() C.vf_errands_end(self.hold) end

return M

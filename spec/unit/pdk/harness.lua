--- The network modules of the plugin API without a worker: C sockets on a loop of their own, tasks as coroutines of
-- the spec. What they wait for is real; only who resumes them is not src/lua/task.c.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local library = require "support.library"
local native = require "support.native"
local cloop = require "unit.net.cloop"

-- An operation may end inside any call of C by the modules under test (close), and calls back: nothing is compiled.
jit.off()

ffi.cdef [[
struct vf_reactor;
struct vf_net;
struct vf_resolver;
struct vf_task;
struct vf_resolver_options { const char *servers; uint64_t *failures; uint32_t floor_ms, ceiling_ms, default_ms; };
int vf_reactor_new(uv_loop_t *, void (*after_event)(void *), void *owner, struct vf_reactor **out);
void vf_reactor_free(struct vf_reactor *);
int vf_net_init(struct vf_net *, struct vf_reactor *, uint64_t max_buffered_bytes);
void vf_net_deinit(struct vf_net *);
void vf_net_flush(struct vf_net *);
int vf_resolver_new(uv_loop_t *, const struct vf_resolver_options *, struct vf_resolver **);
void vf_resolver_free(struct vf_resolver *);
]]

local task = { run = {} }
package.preload["veloflux.runtime.task"] = function() return task end
local network = require "veloflux.runtime.network"
ffi.cdef [[
int vf_sockets_new(struct vf_net *net, struct vf_resolver *resolver, uint32_t max_sockets, struct vf_sockets **out);
void vf_sockets_free(struct vf_sockets *sockets);
void vf_op_on_done(struct vf_op *op, void (*on_done)(void *owner, int rc), void *owner);
struct vf_op *vf_op_new(struct vf_reactor *reactor);
void vf_socket_free(struct vf_socket *socket);
void vf_udp_free(struct vf_udp *udp);
struct vf_upstreams *vf_spec_upstreams_new(struct vf_reactor *reactor, uint64_t keepalive);
uint64_t vf_spec_upstreams_kept(const struct vf_upstreams *upstreams);
uint64_t vf_spec_upstreams_open(const struct vf_upstreams *upstreams);
uint64_t vf_spec_upstreams_reused(const struct vf_upstreams *upstreams);
void vf_spec_upstreams_drop(struct vf_upstreams *upstreams);
void vf_spec_upstreams_free(struct vf_upstreams *upstreams);
]]
local upstreams = native.load "upstreams"

--- Whose code runs, as far as background work is concerned: the spec says so.
local chain = { errors = {}, instance = { name = "spec", as = "spec", plugin = {} } }
package.preload["veloflux.runtime.chain"] = function() return chain end
function chain.current() return chain.instance end
function chain.call(_, fn, ...)
  local ok, err = xpcall(fn, function(message) return debug.traceback(tostring(message), 2) end, ...)
  if not ok then chain.errors[#chain.errors + 1] = err end
  return ok
end

--- What queues would count in /metrics.
package.preload["veloflux.runtime.queue_metrics"] = function() return { count = function() end } end

--- What the runtime would log.
local log = {}
package.preload["veloflux.runtime.report"] = function()
  return { WARN = 2, write = function(_, event, ...) log[#log + 1] = { event, ... } end }
end

local M = { chain = chain, log = log }

local current -- the harness in use
local waiting = {} -- number -> { co, rc }
local n_waits = 0
local on_done = callbacks.new("void (*)(void *, int)", function(owner, rc)
  local key = tonumber(ffi.cast("uintptr_t", owner))
  local entry = waiting[key]
  waiting[key] = nil
  entry.rc = rc
  current.ready[#current.ready + 1] = entry
end)

function network.await(op)
  n_waits = n_waits + 1
  local entry = { co = coroutine.running(), op = op }
  waiting[n_waits] = entry
  library.vf_op_on_done(op, on_done, ffi.cast("void *", ffi.cast("uintptr_t", n_waits)))
  coroutine.yield()
  return entry.rc
end

function network.sockets() return current.sockets end
function network.upstreams() return current.upstreams end
function network.plugin_name() return "spec" end
function network.check() end
function network.signal() return ffi.gc(library.vf_op_new(current.reactor), library.vf_op_free) end

local held = setmetatable({}, { __mode = "k" })
local function hold(object, free)
  local entry = { object = object, free = free }
  held[entry] = true
  current.n_held = current.n_held + 1
  return entry
end
function network.hold_socket(socket) return hold(socket, library.vf_socket_free) end
function network.hold_udp(udp) return hold(udp, library.vf_udp_free) end
function network.free(entry)
  current.n_held = current.n_held - 1
  entry.free(entry.object)
end
function network.release(entry)
  current.n_held = current.n_held - 1
  held[entry] = nil
end
function network.own() end
function network.disown() end

local Harness = {}
Harness.__index = Harness

--- Makes the C side. `options`: max_sockets, max_buffered, servers (of the resolver), keepalive (connections that are
-- kept for each server, 256).
function M.new(options)
  options = options or {}
  local self = setmetatable({ loop = cloop.new(), ready = {}, n_held = 0 }, Harness)
  local out = ffi.new "struct vf_reactor *[1]"
  self.memory = ffi.new("uint64_t[?]", 128)
  self.net = ffi.cast("struct vf_net *", self.memory)
  local flush = callbacks.of_c("void (*)(void *)", library.vf_net_flush)
  assert(library.vf_reactor_new(self.loop.raw, flush, self.net, out) == 0)
  self.reactor = out[0]
  assert(library.vf_net_init(self.net, self.reactor, options.max_buffered or 2 ^ 26) == 0)
  local resolver, resolver_options = ffi.new "struct vf_resolver *[1]", ffi.new "struct vf_resolver_options"
  resolver_options.servers = options.servers
  assert(library.vf_resolver_new(self.loop.raw, resolver_options, resolver) == 0)
  self.resolver = resolver[0]
  local sockets = ffi.new "struct vf_sockets *[1]"
  assert(library.vf_sockets_new(self.net, self.resolver, options.max_sockets or 4096, sockets) == 0)
  self.sockets = sockets[0]
  self.upstreams = upstreams.vf_spec_upstreams_new(self.reactor, options.keepalive or 256)
  current = self
  return self
end

local function resume(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then error(debug.traceback(co, tostring(err)), 0) end
end

function task.spawn(fn, argument)
  current.ready[#current.ready + 1] = { co = coroutine.create(fn), argument = argument }
  return true
end

local function run_ready(self)
  while #self.ready > 0 do
    local entry = table.remove(self.ready, 1)
    resume(entry.co, entry.argument)
  end
end

--- Starts `fn` as a task; it runs until it waits.
function Harness:spawn(fn, ...)
  local co = coroutine.create(fn)
  resume(co, ...)
  return co
end

--- Runs tasks until `done()`.
function Harness:drive(done, what)
  self.loop:drive(function()
    run_ready(self)
    return done()
  end, what)
end

--- Runs `fn` as a task to its end and returns what it returned.
function Harness:run(fn, ...)
  local results
  self:spawn(function(...) results = { n = select("#", ...), fn(...) } end, ...)
  self:drive(function() return results end, "the task")
  return unpack(results)
end

--- Lets time pass in a task, while the other side goes on.
function M.sleep(ms) network.wait_signal(network.signal(), ms) end

--- How many connections to servers are kept, open, and have been reused.
function Harness:n_kept() return tonumber(upstreams.vf_spec_upstreams_kept(self.upstreams)) end
function Harness:n_open() return tonumber(upstreams.vf_spec_upstreams_open(self.upstreams)) end
function Harness:n_reused() return tonumber(upstreams.vf_spec_upstreams_reused(self.upstreams)) end

--- Closes those that are kept.
function Harness:drop_kept() upstreams.vf_spec_upstreams_drop(self.upstreams) end

function Harness:close()
  library.vf_sockets_free(self.sockets)
  upstreams.vf_spec_upstreams_free(self.upstreams)
  library.vf_resolver_free(self.resolver)
  library.vf_net_deinit(self.net)
  library.vf_reactor_free(self.reactor)
  self.loop:close()
end

return M

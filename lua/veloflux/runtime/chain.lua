--- Chains: plugin instances in the order in which they run, made into one function for each phase.
-- The functions are generated, so that each call of a handler is a place of its own in the code: LuaJIT
-- compiles it as it would code written by hand. What surrounds a call is src/lua/guard.c.
local ffi = require "ffi"
local bit = require "bit"
local cjson = require "cjson"
local layout = require "veloflux.compiler.layout"
local task = require "veloflux.runtime.task"
local code = require "veloflux.runtime.code"
local snapshot = require "veloflux.runtime.snapshot"
local report = require "veloflux.runtime.report"
local view = require "veloflux.runtime.view"

ffi.cdef [[
struct vf_guard {
  uint32_t slot;
  uint32_t number;
  uint32_t n_errors;
  uint32_t reserved;
  uint64_t window_ns;
  uint64_t tripped_until_ns;
  struct vf_str label;
};
int vf_guard_enter(struct vf_run *run, struct vf_guard *guard);
void vf_guard_leave(struct vf_run *run, struct vf_guard *guard);
int vf_guard_error(struct vf_run *run, struct vf_guard *guard);
]]
local C = layout.C

-- A handler becomes one trace, with the functions of the plugin API that it calls. LuaJIT's own bounds are for loops:
-- what needs more constants or tail calls stays in the interpreter.
jit.opt.start("maxirconst=8000", "maxsnap=4000", "loopunroll=60")

local M = {}

--- The functions of a handler by enum vf_phase.
M.PHASES = { [C.VF_PHASE_INIT_WORKER] = "init_worker", [C.VF_PHASE_CONFIGURE] = "configure",
  [C.VF_PHASE_CERTIFICATE] = "certificate", [C.VF_PHASE_REWRITE] = "rewrite", [C.VF_PHASE_ACCESS] = "access",
  [C.VF_PHASE_BALANCER] = "balancer", [C.VF_PHASE_HEADER_FILTER] = "header_filter",
  [C.VF_PHASE_BODY_FILTER] = "body_filter", [C.VF_PHASE_LOG] = "log", [C.VF_PHASE_TIMER] = "timer",
  [C.VF_PHASE_CONTROL] = "control" }

local SCOPES = { [C.VF_SCOPE_GLOBAL] = "global", [C.VF_SCOPE_TENANT] = "tenant", [C.VF_SCOPE_POOL] = "pool",
  [C.VF_SCOPE_ROUTE] = "route", [C.VF_SCOPE_CONSUMER] = "consumer" }
local FIRST_EXCHANGE_PHASE = C.VF_PHASE_CERTIFICATE

--- All instances that this process has, by hash; and by number, for whoever asks which one runs.
local instances, by_number, n_instances = {}, setmetatable({}, { __mode = "v" }), 0

local function new_instance(header, record, hash)
  local plugin = code.at(header, record.plugin)
  local guard = ffi.new "struct vf_guard"
  local config = snapshot.text(header, record.config)
  n_instances = n_instances + 1
  guard.slot, guard.number = plugin.slot, n_instances
  local instance = { plugin = plugin, name = plugin.name, as = snapshot.text(header, record.as), hash = hash,
    config = cjson.decode(config), settings = snapshot.key(C.vf_snapb_hash(config, #config, record.scope)),
    meta = cjson.decode(snapshot.text(header, record.meta)),
    priority = record.priority, phases = record.phases, continues = record.on_error == C.VF_ON_ERROR_CONTINUE,
    scope = SCOPES[record.scope], source = snapshot.text(header, record.source), guard = guard, number = n_instances }
  instance.label = instance.as == instance.name and instance.name or instance.name .. "." .. instance.as
  guard.label.data, guard.label.len = instance.label, #instance.label
  by_number[n_instances] = instance
  return instance
end

--- Returns the instance at an index of the snapshot.
function M.instance(header, index)
  local record = snapshot.section(header, C.VF_SNAP_INSTANCES) + index
  local hash = snapshot.key(record.hash)
  local instance = instances[hash]
  if not instance then
    instance = new_instance(header, record, hash)
    instances[hash] = instance
  end
  return instance
end

--- Makes an instance that stands in no snapshot: the plugin itself, as it runs in control.
-- @param plugin {name, slot, ...}
function M.own_instance(plugin)
  local guard = ffi.new "struct vf_guard"
  n_instances = n_instances + 1
  local instance = { plugin = plugin, name = plugin.name, as = plugin.name, label = plugin.name, config = {}, meta = {},
    scope = "global", guard = guard, number = n_instances }
  guard.slot, guard.number = plugin.slot or 0, n_instances
  guard.label.data, guard.label.len = instance.label, #instance.label
  by_number[n_instances] = instance
  return instance
end

--- Returns the instance that runs now, or nil in core code.
function M.current()
  return by_number[task.run.instance]
end

--- A snapshot is published: instances that it does not have are forgotten, others follow their plugin's slot.
function M.publish(header)
  local records, count = snapshot.section(header, C.VF_SNAP_INSTANCES)
  local kept = {}
  for i = 0, count - 1 do
    local hash = snapshot.key(records[i].hash)
    local instance = instances[hash]
    if instance then
      instance.guard.slot = instance.plugin.slot
      kept[hash] = instance
    end
  end
  instances = kept
end

-- Calls of handlers -------------------------------------------------------------------------------

local function traceback(raised) return debug.traceback(task.message_of(raised), 2) end

--- A handler has raised, and was left: counts and reports it.
local function note(instance, message)
  local run = task.run
  local tripped = C.vf_guard_error(run, instance.guard) ~= 0
  report.handler_failed(instance, M.PHASES[run.phase], message)
  if tripped then report.tripped(instance) end
end

--- As `note`, for handlers behind which the chain goes on. Returns true when it does.
local function failed(instance, message)
  if task.run.cancelled ~= 0 then return false end
  note(instance, message)
  return true
end

--- A task of the core has raised: what plugins raise does not come here.
function task.on_error(message) report.write(report.ERROR, "task.failed", "error", message) end

--- For handlers without a pcall around them: the coroutine has ended.
function task.on_handler_error(message)
  local run, instance = task.run, M.current()
  C.vf_guard_leave(run, instance.guard)
  if run.cancelled == 0 then note(instance, message) end
end

--- Calls one function of a plugin for an instance, outside of an exchange's chain.
-- @return true when it returned
function M.call(instance, fn, ...)
  local run = task.run
  run.left_ns = 0
  if C.vf_guard_enter(run, instance.guard) == 0 then return false end
  local ok, message = xpcall(fn, traceback, ...)
  C.vf_guard_leave(run, instance.guard)
  if not ok and run.cancelled == 0 then note(instance, message) end
  return ok
end

--- Nothing passes where a plugin that decides about that does not run.
local function shut() return require("veloflux.pdk.response").error(503) end

--- An instance cannot run as it is: that is counted and reported, and the request is answered with 503.
function M.refuse(instance, message)
  note(instance, message)
  shut()
end

-- Generated code ----------------------------------------------------------------------------------

--- `call` runs a handler with what surrounds it, and is compiled as a whole: a trace begins there. It returns true
-- when the chain ends, 2 when somebody was identified. An error of the handler ends the coroutine, and C tells
-- (task.fault): there is no pcall, because what LuaJIT compiles behind a loop does not return through one. It is called
-- through a function with `...`, at whose end each trace ends, whatever way it took. A member of the chain is an
-- instance, or a place that each consumer fills with its own (runtime/shape.lua).
local CALL = [[
local C, run, xpcall, traceback, failed, shut, member, values = ...
local enter, leave = C.vf_guard_enter, C.vf_guard_leave
local handler, fn = member.plugin.handler, member.plugin.handler.PHASE
ALWAYS
local function call()
  EACHTIME
  if enter(run, guard) ~= 0 then
    HANDLER
    leave(run, guard)
    REACTION
    if run.cancelled ~= 0 then return true end
    IDENTIFIED
  else
    return SHUT
  end
end
return function(...) return (call()) end
]]

local OF_INSTANCE = "local instance, config, guard = member, member.config, member.guard"
local OF_PLACE = [[local instance = values[run.context].chain.members[member.index]
  local config, guard = instance.config, instance.guard]]
local HANDLER = "fn(handler, config)"
--- Where the chain goes on behind a handler that has raised.
local PROTECTED = "local ok, message = xpcall(fn, traceback, handler, config)"
local REACTION = "if not ok and not failed(instance, message) then return true end"
local IDENTIFIED = "if run.identified ~= 0 then return 2 end"
--- A plugin that keeps others out does so while it is left out, too: its handler says FAIL_CLOSED.
local SHUT = "shut()"

local function load_code(text, phase, ...)
  return assert(loadstring(text, "=veloflux.runtime.chain(" .. M.PHASES[phase] .. ")"))(...)
end

local function make_call(member, phase)
  local is_before = phase == C.VF_PHASE_REWRITE or phase == C.VF_PHASE_ACCESS
  local goes_on = member.continues or phase == C.VF_PHASE_LOG
  local is_closed = is_before and member.plugin.handler.FAIL_CLOSED and not member.continues
  local parts = { PHASE = M.PHASES[phase], HANDLER = goes_on and PROTECTED or HANDLER,
    REACTION = goes_on and REACTION or "", IDENTIFIED = is_before and IDENTIFIED or "",
    SHUT = is_closed and SHUT or "", ALWAYS = member.index and "" or OF_INSTANCE,
    EACHTIME = member.index and OF_PLACE or "" }
  local text = CALL:gsub("%u%u%u+", parts)
  return load_code(text, phase, C, task.run, xpcall, traceback, failed, shut, member, task.values)
end

--- Returns the function that calls a member in a phase; all chains that have it share that.
local function call_of(member, phase)
  local calls = member.calls
  if not calls then
    calls = {}
    member.calls = calls
  end
  calls[phase] = calls[phase] or make_call(member, phase)
  return calls[phase]
end

--- The chain itself is interpreted, a few instructions for each handler: as one trace, long chains have more values
-- than LuaJIT can hold.
local STEP = [[
  local stop = call_N()
  if stop then
    if stop == 2 then return identified(member_N) end
    return
  end
]]
local MEMBERS_PER_FUNCTION = 24 -- a function has room for 60 upvalues

--- Writes the code that calls `n` instances, and then what comes behind them.
local function source_of(n)
  local locals, steps = {}, {}
  for i = 1, n do
    locals[i] = ("local call_N, member_N = calls[N], members[N]\n"):gsub("%f[%u]N%f[%U]", i)
    steps[i] = STEP:gsub("%f[%u]N%f[%U]", i)
  end
  return table.concat { "local identified, calls, members, rest, off = ...\n", table.concat(locals),
    "local function chain()\n", table.concat(steps), "  if rest then return rest() end\nend\n",
    "off(chain)\nreturn chain\n" }
end

local function compile_from(members, first, phase, identified)
  local group, calls = {}, {}
  for i = first, math.min(first + MEMBERS_PER_FUNCTION - 1, #members) do
    group[#group + 1], calls[#calls + 1] = members[i], call_of(members[i], phase)
  end
  if #group == 0 then return nil end
  local rest = compile_from(members, first + #group, phase, identified)
  return load_code(source_of(#group), phase, identified, calls, group, rest, jit.off)
end

--- Makes the function of one phase for a list of members, or nil when none of them has the phase.
-- @param identified function(member): goes on with the chain once a consumer is known
function M.compile(members, phase, identified)
  local with_phase = {}
  for _, member in ipairs(members) do
    if member.plugin.handler[M.PHASES[phase]] and bit.band(member.phases, bit.lshift(1, phase)) ~= 0 then
      with_phase[#with_phase + 1] = member
    end
  end
  return compile_from(with_phase, 1, phase, identified)
end

--- The balancer phase: before another try a plugin's callback may name another target
-- (pdk.service.set_target_retry_callback).
local function with_retry(fn)
  return function()
    local values = task.values[task.run.context]
    local retry = values and values.retry
    if retry and view.response().tries > 0 then M.call(retry.instance, retry.callback) end
    if fn then return fn() end
  end
end
M.with_retry = with_retry

--- Builds a route's chain: a table from enum vf_phase to functions.
function M.build(header, index)
  local record = snapshot.section(header, C.VF_SNAP_CHAINS) + index
  local indexes = snapshot.section(header, C.VF_SNAP_MEMBERS)
  local members, functions = { hash = snapshot.key(record.hash) }, {}
  for i = 0, record.members.count - 1 do
    members[i + 1] = M.instance(header, indexes[record.members.first + i])
  end
  local identity = require "veloflux.runtime.identity"
  for phase in pairs(M.PHASES) do
    local is_exchanges = phase >= FIRST_EXCHANGE_PHASE and phase < C.VF_PHASE_TIMER
    if is_exchanges and bit.band(record.phases, bit.lshift(1, phase)) ~= 0 then
      functions[phase] = M.compile(members, phase, identity.switch(members, phase))
    end
  end
  functions[C.VF_PHASE_BALANCER] = with_retry(functions[C.VF_PHASE_BALANCER])
  return functions
end

return M

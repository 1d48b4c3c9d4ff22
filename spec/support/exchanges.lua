--- An exchange without a network (spec/support/exchange.c), for specs of code that runs in phases: the functions of
-- the plugin API reach real C through real FFI calls, and LuaJIT compiles them as it does in a worker.
--
--     local exchanges = require "support.exchanges"
--     exchanges.open { phase = "access", fields = { ["X-Name"] = "ana" } }
local ffi = require "ffi"
local native = require "support.native"
local task = require "veloflux.runtime.task"

ffi.cdef [[
struct vf_run *vf_spec_exchange_new(void);
void vf_spec_exchange_field(struct vf_run *run, int side, const char *name, const char *value);
void vf_spec_exchange_reset(struct vf_run *run);
void vf_spec_exchange_free(struct vf_run *run);
void vf_spec_exchange_limit(struct vf_run *run, uint64_t cpu_us);
]]

local M = {}

local REQUEST, RESPONSE = 0, 1 -- enum vf_view_side

local library, path
local texts = {} -- that the exchange points at
local run
local n_instances = 0

local function add(side, fields)
  for name, value in pairs(fields or {}) do
    texts[#texts + 1], texts[#texts + 2] = name, value
    library.vf_spec_exchange_field(run, side, name, value)
  end
end

--- Makes the exchange that the plugin API works on from here on.
-- @param options table: phase ("access"), fields of the request and answer (of the answer: it is there, with 200)
function M.open(options)
  if not library then library, path = native.load "exchange" end
  if run == nil then
    run = library.vf_spec_exchange_new()
    run.task = ffi.cast("struct vf_task *", run) -- something: code runs
    task.init(run)
  end
  M.reset()
  texts = {}
  add(REQUEST, options.fields)
  add(RESPONSE, options.answer)
  M.enter(options.phase or "access")
end

--- Changes the phase.
function M.enter(phase) task.run.phase = require("veloflux.runtime.phase").NUMBER[phase] end

--- Frees what calls have left in the exchange, its fields too.
function M.reset()
  library.vf_spec_exchange_reset(run)
  task.values[1] = nil
end

--- Forgets what plugins keep of the exchange, as if another one with the same request had come.
function M.renew()
  task.values[1], run.has_values = nil, 0
end

--- Bounds the time of handlers, as plugin_limits.cpu does; nil: not at all.
-- @param ms number
function M.limit(ms)
  assert(package.loadlib(path, "vf_spec_exchange_attach"))()
  library.vf_spec_exchange_limit(run, (ms or 0) * 1000)
end

--- Returns the table in which runtime/chain.lua finds the instance that runs.
local function instances_by_number()
  local current = require("veloflux.runtime.chain").current
  for i = 1, 10 do
    local name, value = debug.getupvalue(current, i)
    if name == "by_number" then return value end
  end
  error "runtime/chain.lua keeps its instances elsewhere"
end

--- Those that were made: the table above is weak.
M.instances = {}

--- Makes an instance for runtime/chain.lua.
-- @param name of plugin and instance
-- @param handler table of phases
-- @param config table
function M.instance(name, handler, config)
  local by_number = instances_by_number()
  n_instances = n_instances + 1
  local instance = { plugin = { handler = handler, name = name }, config = config or {}, name = name, as = name,
    phases = 0xffff, scope = "global", guard = ffi.new("struct vf_guard", { number = n_instances }) }
  M.instances[n_instances], by_number[n_instances] = instance, instance
  return instance
end

--- Ends it.
function M.close()
  library.vf_spec_exchange_free(run)
  run = nil
end

-- None of this is what is looked at when traces are watched.
for _, fn in pairs(M) do
  if type(fn) == "function" then jit.off(fn) end
end
jit.off(add)

return M

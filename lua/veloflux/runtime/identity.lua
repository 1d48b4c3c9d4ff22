--- Once a plugin knows who asks, the consumer's own plugin configurations take part: the route's chain is
-- resolved anew together with the consumer's, and the exchange goes on with the result. What has run does
-- not run again; what the consumer adds in the phase under way runs now, in its order.
local ffi = require "ffi"
local bit = require "bit"
local layout = require "veloflux.compiler.layout"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local snapshot = require "veloflux.runtime.snapshot"

ffi.cdef [[ void vf_view_switch_chain(struct vf_exchange *ex, uint32_t phases); ]]
local C = layout.C

local M = {}

local own = {} -- hash of a consumer's chain -> its instances
local switched = setmetatable({}, { __mode = "k" }) -- members of a route's chain -> hash -> resolved
local ALL_PHASES = -1 -- what a merged configuration needs is not known
local FIRST, LAST = C.VF_PHASE_REWRITE, C.VF_PHASE_LOG

--- A snapshot is published: finds the consumers' chains.
function M.publish(header)
  local chains, count = snapshot.section(header, C.VF_SNAP_CHAINS)
  local indexes = snapshot.section(header, C.VF_SNAP_MEMBERS)
  local chain = require "veloflux.runtime.chain"
  own = {}
  for i = 0, count - 1 do
    local record = chains[i]
    if record.kind == C.VF_CHAIN_CONSUMER then
      local members = {}
      for k = 0, record.members.count - 1 do
        members[k + 1] = chain.instance(header, indexes[record.members.first + k])
      end
      own[snapshot.key(record.hash)] = members
    end
  end
end

local function as_entry(instance)
  local meta = instance.meta
  return { name = instance.name, as = instance.as, priority = instance.priority, enabled = meta.enabled,
    order = meta.order, merge = meta.merge, own = meta.own, on_error = instance.continues and "continue" or "fail",
    config = instance.config, scope = instance.scope, source = instance.source, instance = instance }
end

local function entries_of(instances)
  local list = {}
  for i, instance in ipairs(instances) do list[i] = as_entry(instance) end
  return list
end

--- An instance of a resolved chain: one of those that went in, or a merged one.
local function instance_of(entry)
  local base = entry.instance
  if base.config == entry.config then return base end
  return setmetatable({ config = entry.config, continues = entry.on_error == "continue", phases = ALL_PHASES },
    { __index = base })
end

local function resolve(members, consumers)
  local plugin_chain = require "veloflux.plugin.chain"
  local chain = require "veloflux.runtime.chain"
  local resolved = plugin_chain.resolve { entries_of(members), entries_of(consumers) }
  local list, functions, phases = {}, {}, 0
  for i, entry in ipairs(resolved) do list[i] = instance_of(entry) end
  for phase = FIRST, LAST do
    functions[phase] = chain.compile(list, phase)
    if functions[phase] then phases = bit.bor(phases, bit.lshift(1, phase)) end
  end
  functions[C.VF_PHASE_BALANCER] = chain.with_retry(functions[C.VF_PHASE_BALANCER])
  return { members = list, functions = functions, phases = phases, rest = {} }
end

local function find(members, consumers, hash)
  local of_route = switched[members]
  if not of_route then
    of_route = {}
    switched[members] = of_route
  end
  local found = of_route[hash]
  if not found then
    found = resolve(members, consumers)
    of_route[hash] = found
  end
  return found
end

local function key_of(instance) return instance.name .. "\0" .. instance.as end

--- Returns the function for what of the resolved chain has not run yet in this phase.
local function rest_of(found, members, phase, last)
  local cached = found.rest[phase] and found.rest[phase][last]
  if cached ~= nil then return cached end
  local chain = require "veloflux.runtime.chain"
  local done, left = {}, {}
  for _, member in ipairs(members) do
    done[key_of(member)] = true
    if member == last then break end
  end
  for _, member in ipairs(found.members) do
    if not done[key_of(member)] then left[#left + 1] = member end
  end
  local fn = chain.compile(left, phase) or false
  found.rest[phase] = found.rest[phase] or {}
  found.rest[phase][last] = fn
  return fn
end

--- Returns what a chain calls when a consumer was identified by `instance` in `phase`.
function M.switch(members, phase)
  return function(instance)
    task.run.identified = 0
    local consumers = own[view.values().consumer_chain]
    local found = find(members, consumers or {}, view.values().consumer_chain or "")
    view.values().chain = found
    C.vf_view_switch_chain(task.run.ex, found.phases)
    local rest = rest_of(found, members, phase, instance)
    if rest then return rest() end
  end
end

--- Says whether a consumer's chain is there; its exchanges then switch to it.
function M.has_chain(hash) return own[hash] ~= nil end

--- Called by C for exchanges that have switched.
function M.dispatch(phase)
  local fn = view.values().chain.functions[phase]
  if fn then fn() end
end

return M

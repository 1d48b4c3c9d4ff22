--- Shapes: what the chains that are resolved for consumers have in common. 10,000 consumers with a configuration of
-- their own have 10,000 chains, which differ in what a few instances are configured to; their functions are made once
-- for all that look alike.
--
-- A member of a shape is an instance of the route's chain, or a place: {index, plugin, name, as, continues, phases},
-- where each consumer has an instance of its own. The function of a place finds that in the chain of the exchange
-- (values.chain.members[index]).
local bit = require "bit"
local layout = require "veloflux.compiler.layout"

local C = layout.C

local M = {}

local FIRST, LAST = C.VF_PHASE_REWRITE, C.VF_PHASE_LOG
local MOST = 256 -- of one route, after which it begins anew: consumers may call their instances what they like

--- Two plugins with the same code are one, so the rest of what a function is made of is in these.
local function text_of(instance, is_own)
  if not is_own then return "r" .. instance.number end
  return table.concat({ "c", instance.plugin.key, instance.as, instance.continues and "1" or "0", instance.phases },
    "\0")
end

local function key_of(list, is_own)
  local parts = {}
  for i, instance in ipairs(list) do parts[i] = text_of(instance, is_own[i]) end
  return table.concat(parts, "\1")
end

local function members_of(list, is_own)
  local members = {}
  for i, instance in ipairs(list) do
    members[i] = not is_own[i] and instance or { index = i, plugin = instance.plugin, name = instance.name,
      as = instance.as, continues = instance.continues, phases = instance.phases }
  end
  return members
end

local function make(route, list, is_own, switch)
  local chain = require "veloflux.runtime.chain"
  local shape = { route = route, switch = switch, members = members_of(list, is_own), functions = {}, phases = 0,
    rests = {} }
  for phase = FIRST, LAST do
    local fn = chain.compile(shape.members, phase, switch(route, phase, shape.members))
    shape.functions[phase] = fn
    if fn then shape.phases = bit.bor(shape.phases, bit.lshift(1, phase)) end
  end
  shape.functions[C.VF_PHASE_BALANCER] = chain.with_retry(shape.functions[C.VF_PHASE_BALANCER])
  return shape
end

--- Returns the shape of a resolved chain: {members, functions by phase, phases}. It goes with the route's members.
-- @param route members of the route's chain
-- @param list instances, in their order; `is_own`: which of them are the consumer's
-- @param switch function of runtime/identity.lua
function M.of(route, list, is_own, switch)
  local key = key_of(list, is_own)
  local known = route.shapes
  local shape = known and known.by_key[key]
  if shape then return shape end
  if not known or known.n >= MOST then
    known = { by_key = {}, n = 0 }
    route.shapes = known
  end
  shape = make(route, list, is_own, switch)
  known.by_key[key], known.n = shape, known.n + 1
  return shape
end

local function name_of(member) return member.name .. "\0" .. member.as end

local function make_rest(shape, phase, running, last, done)
  local chain = require "veloflux.runtime.chain"
  local now_done, left = {}, {}
  for key in pairs(done) do now_done[key] = true end
  for _, member in ipairs(running) do
    now_done[name_of(member)] = true
    if member == last then break end
  end
  for _, member in ipairs(shape.members) do
    if not now_done[name_of(member)] then left[#left + 1] = member end
  end
  return chain.compile(left, phase, shape.switch(shape.route, phase, left, now_done)) or false
end

--- Returns the function for what of a shape has not run yet in a phase, or false when nothing is left.
-- @param running the list of members whose function runs, `last` the one that runs now
-- @param done set of keys: what ran before that list
function M.rest(shape, phase, running, last, done)
  local of = shape.rests[running]
  if not of then
    of = {}
    shape.rests[running] = of
  end
  local of_phase = of[phase] or {}
  of[phase] = of_phase
  if of_phase[last] == nil then of_phase[last] = make_rest(shape, phase, running, last, done) end
  return of_phase[last]
end
jit.off(M.rest)

return M

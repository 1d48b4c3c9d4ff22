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

local ALL_PHASES = -1 -- what a merged configuration needs is not known
local FIRST, LAST = C.VF_PHASE_REWRITE, C.VF_PHASE_LOG

-- Versions ------------------------------------------------------------------------------------------

-- What the versions that matter know, the newest first: the one that is prepared, the one that is published and the one
-- before. Each is {version, routes = set of hashes of chains, own = hash of a consumer's chain -> its instances}.
-- Control has judged what the chains of one version become together; consumers come from tables, which are a moment
-- ahead of a version, and exchanges go on with the chain that they began with.
local versions = {}
local MOST_VERSIONS = 3

local function members_of(header, record)
  local chain = require "veloflux.runtime.chain"
  local indexes = snapshot.section(header, C.VF_SNAP_MEMBERS)
  local members = {}
  for i = 0, record.members.count - 1 do
    members[i + 1] = chain.instance(header, indexes[record.members.first + i])
  end
  return members
end

-- What `published`, a version that is served, has as well is not read again: 10,000 consumers may have chains.
local function read(header, version, published)
  local chains, count = snapshot.section(header, C.VF_SNAP_CHAINS)
  local known, before = { version = version, routes = {}, own = {} }, published and published.own or {}
  for i = 0, count - 1 do
    local hash = snapshot.key(chains[i].hash)
    if chains[i].kind == C.VF_CHAIN_CONSUMER then
      known.own[hash] = before[hash] or members_of(header, chains[i])
    else
      known.routes[hash] = true
    end
  end
  return known
end

--- A snapshot may be published soon.
function M.prepare(header, version)
  if versions[1] and not versions[1].is_published then table.remove(versions, 1) end -- nothing came of it
  table.insert(versions, 1, read(header, version, versions[1]))
  versions[MOST_VERSIONS + 1] = nil
end

--- A snapshot is published.
function M.publish(header, version)
  if not (versions[1] and versions[1].version == version) then M.prepare(header, version) end
  versions[1].is_published = true
end

--- Returns the instances of a consumer's chain, nil when no version has it.
local function own_of(hash)
  for _, known in ipairs(versions) do
    if known.own[hash] then return known.own[hash] end
  end
end

--- Says whether control has judged what two chains become together.
local function is_judged(route_hash, hash)
  for _, known in ipairs(versions) do
    if known.routes[route_hash] and known.own[hash] then return true end
  end
  return false
end

-- Resolving -----------------------------------------------------------------------------------------

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

--- Stands in the place of a configuration that nobody has judged: the request does not go on.
local function refuse(entry)
  require("veloflux.runtime.chain").refuse(entry.instance, ("its configuration for the consumer (%s), merged with that "
    .. "of a wider scope (%s), was judged in no version that is known here"):format(entry.source, entry.wide.source))
end

local function compile(members, resolved)
  local chain = require "veloflux.runtime.chain"
  local list, functions, phases = {}, {}, 0
  for i, entry in ipairs(resolved) do list[i] = instance_of(entry) end
  for phase = FIRST, LAST do
    functions[phase] = chain.compile(list, phase, M.switch(members, phase, list))
    if functions[phase] then phases = bit.bor(phases, bit.lshift(1, phase)) end
  end
  functions[C.VF_PHASE_BALANCER] = chain.with_retry(functions[C.VF_PHASE_BALANCER])
  return { members = list, functions = functions, phases = phases }
end

local function resolve(members, hash)
  local plugin_chain = require "veloflux.plugin.chain"
  local resolved = plugin_chain.resolve { entries_of(members), entries_of(own_of(hash) or {}) }
  for _, entry in ipairs(resolved) do
    if entry.wide and not is_judged(members.hash, hash) then return { unjudged = entry } end
  end
  return compile(members, resolved)
end

--- Returns what a route's chain and a consumer's resolve to. It is kept with the route's members and goes with them.
local function find(members, hash)
  local of_route = members.resolved
  if not of_route then
    of_route = {}
    members.resolved = of_route
  end
  local found = of_route[hash]
  if not found then
    found = resolve(members, hash)
    if not found.unjudged then of_route[hash] = found end
  end
  return found
end

local function key_of(instance) return instance.name .. "\0" .. instance.as end

--- Makes the function for what of a resolved chain has not run yet in this phase.
-- @param running the list of instances whose function runs, `last` the one that runs now
-- @param done set of keys: what ran before that list
-- @return function, or false when nothing is left
local function make_rest(members, found, phase, running, last, done)
  local chain = require "veloflux.runtime.chain"
  local now_done, left = {}, {}
  for key in pairs(done) do now_done[key] = true end
  for _, member in ipairs(running) do
    now_done[key_of(member)] = true
    if member == last then break end
  end
  for _, member in ipairs(found.members) do
    if not now_done[key_of(member)] then left[#left + 1] = member end
  end
  return chain.compile(left, phase, M.switch(members, phase, left, now_done)) or false
end

--- Returns what a chain calls when somebody was identified by one of its instances, and again when another one takes
-- its place: a request may go on as the consumer for anonymous ones until a plugin finds out more.
-- @param members of the route's chain
-- @param running list of the instances that the function belongs to: `members`, or what was resolved of them
-- @param done set of keys: what ran before those in this phase; nil when nothing did
function M.switch(members, phase, running, done)
  running, done = running or members, done or {}
  local rests = {} -- hash of a consumer's chain -> {found, instance -> function or false}
  return function(instance)
    task.run.identified = 0
    local values = view.values()
    local hash = values.consumer_chain or ""
    local found = find(members, hash)
    if found.unjudged then return refuse(found.unjudged) end
    values.chain = found
    C.vf_view_switch_chain(task.run.ex, found.phases)
    local of = rests[hash]
    if not of or of.found ~= found then
      of = { found = found }
      rests[hash] = of
    end
    if of[instance] == nil then of[instance] = make_rest(members, found, phase, running, instance, done) end
    task.run.left_ns = 0
    if of[instance] then return of[instance]() end
  end
end

--- A consumer has plugin configurations of its own that no version here has (its table is ahead of them): without them
-- its requests do not go on.
function M.refuse_unknown(consumer)
  local report = require "veloflux.runtime.report"
  report.write(report.ERROR, "consumer.plugins_unknown", "tenant", consumer.tenant, "consumer", consumer.name)
  require("veloflux.pdk.response").error(503)
end

--- Says whether a consumer's chain is there; its exchanges then switch to it.
function M.has_chain(hash) return own_of(hash) ~= nil end

--- Called by C for exchanges that have switched. Not compiled, so that the function of each chain is.
function M.dispatch(phase)
  local fn = task.values[task.run.context].chain.functions[phase]
  if fn then return fn() end
end
jit.off(M.dispatch)

return M

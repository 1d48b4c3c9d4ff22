--- Once a plugin knows who asks, the consumer's own plugin configurations take part: the route's chain is
-- resolved anew together with the consumer's, and the exchange goes on with the result. What has run does
-- not run again; what the consumer adds in the phase under way runs now, in its order.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"
local task = require "veloflux.runtime.task"
local shapes = require "veloflux.runtime.shape"
local snapshot = require "veloflux.runtime.snapshot"

ffi.cdef [[ void vf_view_switch_chain(struct vf_exchange *ex, uint32_t phases); ]]
local C = layout.C

local M = {}

local ALL_PHASES = -1 -- what a merged configuration needs is not known

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

local function as_entry(instance, is_own)
  local meta = instance.meta
  return { name = instance.name, as = instance.as, priority = instance.priority, enabled = meta.enabled,
    order = meta.order, merge = meta.merge, own = meta.own, on_error = instance.continues and "continue" or "fail",
    config = instance.config, scope = instance.scope, source = instance.source, instance = instance, is_own = is_own }
end

local function entries_of(instances, is_own)
  local list = {}
  for i, instance in ipairs(instances) do list[i] = as_entry(instance, is_own) end
  return list
end

--- An instance of a resolved chain: one of those that went in, or a merged one.
local function instance_of(entry)
  local base = entry.instance
  if base.config == entry.config then return base end
  return setmetatable({ config = entry.config, phases = ALL_PHASES }, { __index = base })
end

--- Stands in the place of a configuration that nobody has judged: the request does not go on.
local function refuse(entry)
  require("veloflux.runtime.chain").refuse(entry.instance, ("its configuration for the consumer (%s), merged with that "
    .. "of a wider scope (%s), was judged in no version that is known here"):format(entry.source, entry.wide.source))
end

--- Resolves a route's members together with a consumer's own.
-- @return {members, shape}; or {unjudged = entry}
local function resolve(members, hash)
  local plugin_chain = require "veloflux.plugin.chain"
  members.entries = members.entries or entries_of(members, false)
  local resolved = plugin_chain.resolve { members.entries, entries_of(own_of(hash) or {}, true) }
  local list, is_own = {}, {}
  for i, entry in ipairs(resolved) do
    if entry.wide and not is_judged(members.hash, hash) then return { unjudged = entry } end
    list[i], is_own[i] = instance_of(entry), entry.is_own
  end
  return { members = list, shape = shapes.of(members, list, is_own, M.switch) }
end

-- What was resolved: members of a route -> hash of a consumer's chain -> found. The newer half and the older, as
-- there may be many consumers; who comes again within so many others is not resolved again.
local newer, older, n_kept = {}, {}, 0

--- How many are kept: twice as many at most.
M.KEPT = 4096

local function keep(members, hash, found)
  if n_kept >= M.KEPT then older, newer, n_kept = newer, {}, 0 end
  local of_route = newer[members] or {}
  newer[members], of_route[hash], n_kept = of_route, found, n_kept + 1
end

--- Returns what a route's chain and a consumer's resolve to.
local function find(members, hash)
  local of_route = newer[members]
  local found = of_route and of_route[hash]
  if found then return found end
  of_route = older[members]
  found = of_route and of_route[hash] or resolve(members, hash)
  if not found.unjudged then keep(members, hash, found) end
  return found
end

--- Returns what a chain calls when somebody was identified by one of its members, and again when another one takes
-- its place: a request may go on as the consumer for anonymous ones until a plugin finds out more.
-- @param members of the route's chain
-- @param running list of the members that the function belongs to: `members`, or those of a shape
-- @param done set of keys: what ran before those in this phase; nil when nothing did
function M.switch(members, phase, running, done)
  running, done = running or members, done or {}
  local function go_on(member)
    task.run.identified = 0
    local values = task.values[task.run.context] -- client.authenticate has left some
    local found = find(members, values.consumer_chain or "")
    if found.unjudged then return refuse(found.unjudged) end
    values.chain = found
    C.vf_view_switch_chain(task.run.ex, found.shape.phases)
    local rest = shapes.rest(found.shape, phase, running, member, done)
    task.run.left_ns = 0
    if rest then return rest() end
  end
  jit.off(go_on) -- as the functions of chains, which it calls; what it calls cannot return to compiled code
  return go_on
end
jit.off(find)

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
  local fn = task.values[task.run.context].chain.shape.functions[phase]
  if fn then return fn() end
end
jit.off(M.dispatch)

return M

--- The way of a model to the processes, one at a time:
--
--   idle -> offered -> (prepared) storing -> committed -> (live) idle          any refusal -> idle
--
-- Storing is the point of no return: what the store has taken is published, by this process or by its
-- successor. A candidate is a table:
--   model, version     the model and the version that it is published under
--   draft, set         what it was made of: the file's part and the store's, to be written down
--   changes            what the store is to commit, in order (store/init.lua); the last has this version. Empty:
--                      it has them already
--   on_published       function(), or nil: it is what this process serves from here on; on_end follows
--   on_end             function(result): {ok = true, version, warnings, laggards}, or {ok = false, code, problems,
--                      stored = how many of the changes the store has taken}: code is invalid, unavailable, conflict
--                      (the store has another such version) or fenced (another holds the lease of the change).
--                      With is_passing an invalid one could be served, but for want of memory or the like
local ffi = require "ffi"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local explain = require "veloflux.explain"
local last_model = require "veloflux.last_model"
local offload = require "veloflux.control.offload"
local overrides = require "veloflux.control.overrides"
local plugin_schema = require "veloflux.plugin.schema"
local slices = require "veloflux.slices"
local tables = require "veloflux.compiler.tables"
local table_source = require "veloflux.compiler.table_source"
local account_of = require("veloflux.conf.node_check").account

ffi.cdef "int close(int fd);"

local M = {}

local STOPPING = "stopping" -- what the supervisor says when it takes no offers any more

local link, state_area, store_of -- what `open` was given
local pending -- the candidate under way, with {compiled, tables}
local current -- {model, version, compiled}: what is published; without `compiled` after a predecessor
local warned = {} -- set of the warnings of what is published
local tables_need_repair = false -- when what is published comes: the tables have come before it
local has_come = false -- something published has come
local on_adopted = function() end
local tables_made_of -- compiler/table_source.lua of what the tables hold; nil: nobody knows

local function state() return state_area and ffi.cast("struct vf_state *", state_area) end

--- Begins.
-- @param options {link = control/link.lua, state = the state area, store = function() -> the store or nil}
function M.open(options)
  link, state_area, store_of = options.link, options.state, options.store
  pending, current, tables_need_repair, has_come, tables_made_of, warned = nil, nil, false, false, nil, {}
end

--- Says what is published. What was before is compiled no more.
local function set_current(model, version, compiled)
  local before = current and current.compiled
  current = { model = model, version = version, compiled = compiled }
  if before and before ~= compiled then compiler.give_back(before) end
end

--- Calls a function when what a predecessor published is known.
function M.on_adopted(fn) on_adopted = fn end

--- Returns what is published: {model, version, compiled}, or nil before the first publication.
function M.current() return current end

local function kind_of(credential) return getmetatable(credential).plugin.credential end

local function plain(credential) return plugin_schema.plain(kind_of(credential).record, credential) end

--- Prepares the tables for a model, unless they hold what it makes of them already.
-- @param compiled the same, compiled: it knows the chains of the consumers
-- @return {source, stages = nil: nothing is to be changed}; or nil and a message
local function stage_tables(model, compiled)
  local chains = compiled.consumer_chains or {}
  local function chain_of(consumer) return chains[consumer] and tables.chain_key(chains[consumer].hash) end
  local options = { kind_of = kind_of, plain = plain, chain_of = chain_of,
    salt_key = model.consumers[1] and tables.salt_key(model.node) or nil }
  local source = table_source.of(model, options)
  local before = tables_made_of
  local differences = before and before.stamp == tables.stamp() and table_source.differences(before, source)
  if differences and #differences.gone + #differences.come == 0 then
    source.types, source.stamp = before.types, before.stamp
    return { source = source }
  end
  local stages, message
  if differences then stages, message = tables.stage_some(differences, before.options, options, before.types) end
  if not stages and not message then stages, message = tables.stage(model, options) end
  if not stages then return nil, message end
  source.types = stages.types
  return { source = source, stages = stages }
end

--- Changes the tables. Returns true, or nil and a message.
local function publish_tables(staged)
  if staged.stages then
    tables_made_of = nil
    local ok, message = tables.publish(staged.stages)
    if not ok then return nil, message end
    staged.source.stamp = tables.stamp()
  end
  tables_made_of = staged.source
  return true
end

local function finish(result)
  local done = pending
  pending = nil
  done.on_end(result)
end

local function reject(code, problems, stored, is_passing)
  if pending.compiled ~= (current and current.compiled) then compiler.give_back(pending.compiled) end
  finish { ok = false, code = code, problems = problems, stored = stored or 0, is_passing = is_passing }
end

local function problem(path, message) return { { file = pending.model.source, path = path, message = message } } end

--- Offers a candidate. Returns true; or nil, problems, and whether a moment later it may be served (is_passing): then
-- on_end is not called.
function M.offer(candidate)
  local model = candidate.model
  local compiled, fault, is_passing = compiler.compile(model, { version = candidate.version, state = state(),
    base = current and current.compiled })
  if not compiled then return nil, { fault }, is_passing end
  if compiled.mended then link.log("error", "snapshot.carry_failed", compiled.mended, candidate.version) end
  slices.look()
  if state_area then overrides.apply(state_area, model.node.data_dir) end
  local fd, message = compiler.memfd(compiled)
  if not fd then
    compiler.give_back(compiled)
    return nil, { { file = model.source, path = "", message = message } }, true
  end
  slices.look()
  local staged
  staged, message = stage_tables(model, compiled)
  if not staged then
    ffi.C.close(fd)
    compiler.give_back(compiled)
    return nil, { { file = model.source, path = "consumers", message = message } }
  end
  pending = candidate
  pending.compiled, pending.tables = compiled, staged
  link.offer(candidate.version, fd)
  candidate.warnings, candidate.findings = explain.warnings(model, compiled) -- while the others prepare it
  return true
end

--- A predecessor that was killed, or a store that refused, may have left tables of another model.
local function repair_tables()
  tables_need_repair = false
  if not current then return end
  local model, compiled = current.model, current.compiled
  if compiled then
    compiler.hold(compiled)
  elseif model.consumers[1] then -- for their chains; without any there is nothing that tables ask for
    local fault
    compiled, fault = compiler.compile(model, { version = current.version })
    if not compiled then return link.log("error", "tables.failed", conf.format(fault)) end
  end
  local staged, message = stage_tables(model, compiled or {})
  if compiled then compiler.give_back(compiled) end
  local ok = staged
  if staged then ok, message = publish_tables(staged) end
  if not ok then link.log("error", "tables.failed", message) end
end

--- After a predecessor: this is published already. Its tables may not be.
-- @param repair true: they are given again when it comes, or at once when it has come
function M.adopt(model, version, repair)
  set_current(model, version)
  if repair ~= nil then tables_need_repair = repair end
  if tables_need_repair and has_come then repair_tables() end
  on_adopted()
end

local function drop_privileges(model)
  local account = account_of(model.node)
  local rc = account and link.drop(account.uid, account.gid) or 0
  if rc ~= 0 then error(("cannot become user %s (error %d)"):format(model.node.user, -rc), 0) end
end

--- A set without what it keeps for itself.
local function stored_part(set)
  local kinds = {}
  for kind, entities in pairs(set) do
    if kind ~= "lists" then kinds[kind] = entities end
  end
  return kinds
end

--- What the store has taken is published.
local function commit()
  slices.run(function()
    local ok, message = last_model.save(pending.draft, pending.version, pending.set and stored_part(pending.set),
      offload.replace)
    if ok then conf.forget_seed(pending.draft) else link.log("error", "last_model.failed", message) end
    link.commit(pending.version)
  end)
end

--- Hands the changes to the store, all at once: it takes them in order.
local function store_changes()
  local candidate, changes = pending, pending.changes
  local answered, stored, failure = 0, 0, nil
  local function on_stored(err)
    answered = answered + 1
    if not err and not failure then stored = stored + 1 end
    failure = failure or err
    if answered < #changes then return end
    if not failure then return commit() end
    repair_tables()
    reject((failure.code == "conflict" or failure.code == "fenced") and failure.code or "unavailable",
      { { file = candidate.model.source, path = "store", message = failure.message or failure.code } }, stored)
  end
  local store = store_of()
  if #changes == 0 or not store then return commit() end
  for i, change in ipairs(changes) do
    change.follows = i > 1 -- where the first is refused none of the others is to be taken
    store:commit(change, on_stored)
  end
end

--- All processes have prepared the offer. The tables change first: they reach each process ahead of the
-- version that needs them.
function M.prepared(version)
  if not pending or pending.version ~= version then return end
  drop_privileges(pending.model)
  local ok, message = publish_tables(pending.tables)
  if not ok then
    repair_tables()
    return reject("invalid", problem("consumers", message), 0, true)
  end
  pending.tables = nil
  slices.run(store_changes)
end

--- A process cannot serve the offer.
-- @param is_passing true: a moment later it may
function M.refused(version, why, is_passing)
  if not pending or pending.version ~= version then return end
  if why == STOPPING then return reject("unavailable", problem("", "this node is stopping")) end
  reject("invalid", problem("", why), 0, is_passing)
end

function M.published(version)
  has_come = true
  if pending and pending.version == version then
    set_current(pending.model, version, pending.compiled)
    if pending.on_published then pending.on_published() end
  elseif tables_need_repair and current then
    repair_tables()
  end
end

--- Logs the warnings that the version before did not have: of thousands of changes each would repeat them all.
local function log_new(warnings)
  local said = {}
  for _, warning in ipairs(warnings) do
    if not warned[warning] then link.log("warn", "conf.warning", warning, pending.version) end
    said[warning] = true
  end
  warned = said
end

local function conclude(laggards)
  if state_area then compiler.sweep(pending.compiled, state()) end
  if state_area then overrides.sweep(pending.model) end
  link.set_config(true, "")
  if not pending.warnings then
    pending.warnings, pending.findings = explain.warnings(pending.model, pending.compiled)
  end
  log_new(pending.warnings)
  slices.look()
  finish { ok = true, version = pending.version, warnings = pending.warnings, findings = pending.findings,
    laggards = laggards }
end

function M.live(laggards)
  if not pending then return end
  set_current(pending.model, pending.version, pending.compiled)
  slices.begin()
  slices.run(function() conclude(laggards) end)
end

return M

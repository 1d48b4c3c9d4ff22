--- Versions: what was changed when, by whom and why; what is different between two; and the way back.
-- Versions hold what the store keeps. What stands in the conf file is not theirs.
local entities = require "veloflux.control.entities"
local model = require "veloflux.model"
local outcome = require "veloflux.control.outcome"
local queue = require "veloflux.control.queue"
local slices = require "veloflux.slices"
local storage = require "veloflux.control.storage"
local values = require "veloflux.control.values"
local work = require "veloflux.control.work"

local M = {}

local META = "meta" -- what control keeps for itself

local function failed(err)
  return { ok = false, code = err.code == "io" and "unavailable" or err.code, message = err.message or err.code,
    errors = {} }
end

local function no_version(number)
  return { ok = false, code = "not_found", message = ("there is no version %s"):format(tostring(number)), errors = {} }
end

--- Asks the store; without it the answer is unavailable.
local function ask(method, argument, callback, on_answer)
  local store = storage.current()
  if not store then return callback(failed { code = "unavailable", message = "the store is not available" }) end
  local function answered(err, answer)
    if err then return callback(failed(err)) end
    on_answer(answer)
  end
  if argument == nil then return store[method](store, answered) end
  store[method](store, argument, answered)
end

--- Lists versions, the newest first.
-- @param options {before = a version, limit}
-- @param callback function({ok = true, versions = records of store/init.lua, total = how many there are} or an outcome
-- that says why not)
function M.versions(options, callback)
  ask("versions", options, callback, function(list)
    ask("extent", nil, callback, function(found)
      local total = found.last > 0 and found.last - math.max(found.first, 1) + 1 or 0
      callback { ok = true, versions = list, total = total }
    end)
  end)
end

--- Tells of one version.
-- @param callback function({ok = true, version = record, diff} or an outcome): diff as of transactions.apply
function M.version(number, callback)
  ask("version", number, callback, function(record)
    if not record then return callback(no_version(number)) end
    work(function() return outcome.diff(record.changes, queue.world().unseal) end, function(fault, diff)
      if fault then return callback(failed(fault)) end
      record.changes = nil
      callback { ok = true, version = record, diff = diff }
    end)
  end)
end

-- States: texts by kind and key ----------------------------------------------------------------------

-- What plugins store is part of a state whether or not the plugin is there now.
local function texts_of(rows)
  local state = setmetatable({}, { __index = function(self, kind)
    self[kind] = {}
    return self[kind]
  end })
  for kind, of_kind in pairs(rows) do
    for key, row in pairs(kind ~= "lists" and kind ~= META and of_kind or {}) do state[kind][key] = row.json end
  end
  return state
end

local function add_file(state, file, seal, plugins)
  for kind, records in pairs(file) do
    for key, record in pairs(records) do state[kind][key] = entities.stored_text(kind, record, seal, plugins) end
  end
  return state
end

--- What a reload would make of the conf file as it stands now.
local function state_of_file(world)
  local draft = queue.read_file()
  if not draft.root or #draft.problems > 0 then
    return nil, outcome.refusal(draft.problems, {}, "invalid")
  end
  local file = {}
  for _, kind in ipairs(model.kinds_of(draft.plugins)) do
    file[kind] = {}
    for _, record in ipairs(draft.node.entities == "owned" and draft.root[kind] or {}) do
      file[kind][model.key(kind, record)] = record
    end
  end
  return add_file(texts_of(world.set), file, world.seal, draft.plugins)
end

--- Finds a state: a version, "running" or "file".
local function state_of(what, with_file, callback)
  local world = queue.world()
  if not world then return callback(nil, failed { code = "unavailable", message = "nothing is published yet" }) end
  if what == "file" then return callback(state_of_file(world)) end
  if what == "running" then
    local state = texts_of(world.set)
    return callback(with_file and add_file(state, world.file, world.seal, world.tools.plugins) or state)
  end
  ask("at", what, function(failure) callback(nil, failure) end, function(rows)
    if not rows then return callback(nil, no_version(what)) end
    callback(texts_of(rows))
  end)
end

--- Returns the kinds of two states: those of the model in its order, then others by name.
local function kinds_in(from, to)
  local all, seen, others = {}, {}, {}
  for i, kind in ipairs(model.KINDS) do all[i], seen[kind] = kind, true end
  for _, state in ipairs { from, to } do
    for kind in pairs(state) do
      if not seen[kind] then others[#others + 1], seen[kind] = kind, true end
    end
  end
  table.sort(others)
  for _, kind in ipairs(others) do all[#all + 1] = kind end
  return all
end

--- Returns the changes from one state to another, without those that only seal the same anew.
-- @param plugins nil, or those whose kinds are known: what others stored stays, unless `to` says something of it
local function changes_between(from, to, unseal, plugins)
  local changes = {}
  local function is_meant(kind)
    return not plugins or entities.type_of(kind, plugins) or rawget(to, kind) ~= nil
  end
  local kinds = {}
  for _, kind in ipairs(kinds_in(from, to)) do
    if is_meant(kind) then kinds[#kinds + 1] = kind end
  end
  for _, kind in ipairs(kinds) do
    local keys = {}
    local before_of, after_of = from[kind] or {}, to[kind] or {}
    for key in pairs(before_of) do keys[#keys + 1] = key end
    for key in pairs(after_of) do
      if not before_of[key] then keys[#keys + 1] = key end
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
      slices.pause()
      local before, after = before_of[key], after_of[key]
      if before ~= after and #values.diff(before, after, unseal) > 0 then
        changes[#changes + 1] = { kind = kind, key = key, before = before, after = after }
      end
    end
  end
  return changes
end

--- Says what is different between two states.
-- @param from, to a version, "running" (what is published) or "file" (what a reload would publish): versions hold
-- what the store keeps, so next to one only that is compared
-- @param callback function({ok = true, diff, summary} or an outcome)
function M.diff(from, to, callback)
  local with_file = type(from) ~= "number" and type(to) ~= "number"
  state_of(from, with_file, function(before, failure)
    if not before then return callback(failure) end
    state_of(to, with_file, function(after, problem)
      if not after then return callback(problem) end
      work(function()
        local unseal = queue.world().unseal
        local changes = changes_between(before, after, unseal)
        for _, change in ipairs(changes) do change.entity = change.after and {} end
        return { ok = true, diff = outcome.diff(changes, unseal), summary = outcome.summary(changes) }
      end, function(fault, result) callback(result or failed(fault)) end)
    end)
  end)
end

--- The edits that bring back a state. What the conf file has now is left to it.
-- @param base of queue.transform
-- @param state texts by kind and key, for all kinds
-- @param created_ms function(kind, key) of entities that are not there now, or nil
-- @return as queue.transform wants it, with `skipped`: {{kind, key, source = FILE:LINE}}
function M.edits_to(base, state, created_ms)
  local edits, skipped, keys = {}, {}, {}
  for _, change in ipairs(changes_between(texts_of(base.set), state, base.unseal, base.tools.plugins)) do
    slices.pause()
    local mine = base.file[change.kind] and base.file[change.kind][change.key]
    if mine then
      skipped[#skipped + 1] = { kind = change.kind, key = change.key,
        source = ("%s:%d"):format(mine._file, mine._line) }
    else
      local edit = { kind = change.kind, key = change.key, before = change.before }
      if change.after then
        local record, found
        if entities.type_of(change.kind, base.tools.plugins) then
          record, found = entities.read(change.kind, change.key, change.after, base.tools)
          if not record then return nil, outcome.refusal(found, {}, "invalid") end
        end
        local known = entities.get(base.set, change.kind, change.key)
        local made_ms = known and known.created_ms or created_ms and created_ms(change.kind, change.key)
        edit.entity = { kind = change.kind, key = change.key, record = record, json = change.after,
          version = base.version, created_ms = made_ms or base.now_ms, updated_ms = base.now_ms }
      end
      edits[#edits + 1], keys[#keys + 1] = edit, { kind = edit.kind, key = edit.key }
    end
  end
  return { set = entities.with(base.set, edits), edits = edits, keys = keys, extra = { skipped = skipped } }
end

--- The edits that undo changes, of what is still as they have left it. What control keeps for itself stays as it is.
local function edits_against(base, changes)
  local state, skipped = texts_of(base.set), {}
  for _, change in ipairs(changes) do
    local of_kind = change.kind ~= META and state[change.kind] or nil
    if of_kind and of_kind[change.key] == change.after then
      of_kind[change.key] = change.before
    elseif of_kind then
      skipped[#skipped + 1] = { kind = change.kind, key = change.key }
    end
  end
  local result, problem = M.edits_to(base, state)
  if not result then return nil, problem end
  for _, one in ipairs(skipped) do table.insert(result.extra.skipped, one) end
  return result
end

--- Undoes what one version changed, as a new version. What was changed again since stays.
-- @param context as for apply
-- @param callback function(outcome): as of apply, with `skipped`: {{kind, key}}, what stays
function M.revert(number, context, callback)
  ask("version", number, callback, function(record)
    if not record then return callback(no_version(number)) end
    local own = { source = "rollback" }
    for name, value in pairs(context) do
      if name ~= "source" then own[name] = value end
    end
    queue.transform(function(base) return edits_against(base, record.changes) end, own, callback)
  end)
end

--- Brings back what the store had in a version, as a new version. What stands in the conf file stays as it is.
-- @param context as for apply
-- @param callback function(outcome): as of apply, with `skipped`: {{kind, key, source = FILE:LINE}}, what the
-- file has now
function M.rollback(number, context, callback)
  state_of(number, false, function(state, failure)
    if not state then return callback(failure) end
    local own = {}
    for name, value in pairs(context) do own[name] = value end
    own.source = "rollback"
    if not own.reason or own.reason == "" then own.reason = ("back to version %d"):format(number) end
    queue.transform(function(base) return M.edits_to(base, state) end, own, callback)
  end)
end

return M

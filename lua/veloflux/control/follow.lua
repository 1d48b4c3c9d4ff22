--- What other nodes have stored: from the versions of a store to the set of entities (entities.lua) that they make of
-- what this node knows already. queue.lua decides when, and publishes it.
--
-- Each change says what was there before it. Where that is not what this node has, versions are missing, or one cannot
-- be read here (a later one may have put that right), the whole is read instead.
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local slices = require "veloflux.slices"
local work = require "veloflux.control.work"

local M = {}

local PAGE = 500 -- versions that are asked for at once

--- Returns the entity that a change leaves, or nil; and true when it cannot be read here.
local function entity_of(set, change, record, tools)
  if not change.after then return nil end
  local known = entities.get(set, change.kind, change.key)
  local row = { json = change.after, version = record.version, updated_ms = record.time_ms,
    created_ms = change.created_ms or known and known.created_ms or record.time_ms }
  local entity, problems = entities.from_row(change.kind, change.key, row, tools)
  if #problems > 0 then return nil, true end
  return entity
end

--- Applies versions to a set.
-- @param base {set, version}
-- @param records of store:changes, the oldest first
-- @return {set, version}; or nil: they do not follow on what is known, or cannot be read here
function M.apply(base, records, tools)
  local set, version, own = base.set, base.version, {}
  for _, record in ipairs(records) do
    if record.version ~= version + 1 then return nil end
    version = record.version
    for _, change in ipairs(record.changes) do
      local known = entities.get(set, change.kind, change.key)
      if (known and known.json) ~= change.before then return nil end
      local entity, is_bad = entity_of(set, change, record, tools)
      if is_bad then return nil end
      set = entities.with(set, { { kind = change.kind, key = change.key, entity = entity } }, own)
      slices.pause()
    end
  end
  return { set = set, version = version }
end

--- Reads the whole.
-- @param callback function(err, {set, version, why}): without `set` `why` says what is not good here
function M.load(store, tools, callback)
  store:load(function(err, loaded)
    if err then return callback(err) end
    work(function()
      local set, problems = entities.load(loaded.entities, tools)
      return { set = set, version = loaded.version, why = not set and conf.format(problems[1]) or nil }
    end, callback)
  end)
end

--- Reads what the store has beyond what is known.
-- @param base {set, version}: what is known
-- @param callback as of `load`
function M.fetch(store, base, tools, callback)
  store:changes(base.version, PAGE, function(err, records)
    if err and err.code ~= "gone" then return callback(err) end
    work(function() return records and M.apply(base, records, tools) end, function(fault, found)
      if fault then return callback(fault) end
      if not found then return M.load(store, tools, callback) end
      if #records < PAGE and not records.is_cut then return callback(nil, found) end
      M.fetch(store, found, tools, callback)
    end)
  end)
end

local function each(set, fn)
  for kind, of_kind in pairs(set) do
    for key, entity in pairs(kind ~= "lists" and of_kind or {}) do fn(kind, key, entity) end
  end
end

--- Returns what makes the second set of the first, as store:commit takes it: puts, deletes.
function M.difference(from, to)
  local puts, deletes = {}, {}
  each(to, function(kind, key, entity)
    local known = entities.get(from, kind, key)
    if not known or known.json ~= entity.json then
      puts[#puts + 1] = { kind = kind, key = key, json = entity.json, created_ms = entity.created_ms }
    end
  end)
  each(from, function(kind, key)
    if not entities.get(to, kind, key) then deletes[#deletes + 1] = { kind = kind, key = key } end
  end)
  return puts, deletes
end

--- True when two sets say the same.
function M.is_same(a, b)
  local puts, deletes = M.difference(a, b)
  return #puts == 0 and #deletes == 0
end

return M

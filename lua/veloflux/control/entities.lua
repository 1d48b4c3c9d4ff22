--- The entities that the store keeps, as the model has them: a set per kind by key.
-- A set is never changed once others have it: `with` makes another that shares what is the same, so that a
-- change that is refused leaves nothing behind.
--
-- An entity is {kind, key, record, json, version, created_ms, updated_ms}: `record` as the model reads it,
-- `json` its canonical text with sealed secrets, `version` the one in which it last changed.
local document = require "veloflux.model.document"
local grammar = require "veloflux.conf.grammar"
local migrations = require "veloflux.control.migrations"
local lineage = require "veloflux.lineage"
local model = require "veloflux.model"
local reader = require "veloflux.model.reader"
local schema = require "veloflux.model.schema"
local slices = require "veloflux.slices"
local sorting = require "veloflux.sorting"

local M = {}

local new_table = require "table.new"

local TYPES = {} -- those of the conf file, so that records of both compare
for _, kind in ipairs(model.KINDS) do TYPES[kind] = grammar.file.by_name[kind].element end

--- Returns the compiled schema of a kind, or nil when there is no such kind.
-- @param plugins of plugin/loader.lua: some kinds are a plugin's; nil: the model's own only
function M.type_of(kind, plugins)
  local stored = plugins and plugins.kinds[kind]
  return TYPES[kind] or stored and stored.compiled
end

--- Splits a key. Returns the tenant (nil: of no tenant) and the name.
function M.split_key(kind, key)
  if kind == "tenants" then return nil, key end
  local tenant, name = key:match "^([^/]*)/(.*)$"
  return tenant, name or key
end

--- Returns the key of an entity that is known by tenant and name.
-- @param tenant nil: the default tenant; of an instance of a plugin: none
function M.key_of(kind, tenant, name)
  if kind == "tenants" then return name end
  if kind == "plugins" then return tenant and tenant .. "/" .. name or name end
  return (tenant or "default") .. "/" .. name
end

--- Reads the text of an entity.
-- @param tools {plugins = the loader of plugins, unseal, env, dir}
-- @param is_new true: it does not come from a store, so it is of the version that its kind has now
-- @return record, or nil; and a list of problems
function M.read(kind, key, text, tools, is_new)
  local name = ("api:%s/%s"):format(kind, key)
  local stored = tools.plugins and tools.plugins.kinds[kind]
  if stored and not is_new then
    local failure
    text, failure = migrations.apply(stored, text)
    if not text then return nil, { { file = name, path = "", message = failure, plugin = stored.plugin } } end
  end
  local doc, problem = document.parse(text, name)
  if not doc then return nil, { problem } end
  local where = reader.new(tools.env or os.getenv)
  where.plugins, where.unseal = tools.plugins, tools.unseal
  where:open(doc, tools.dir or "/")
  local record = M.type_of(kind, tools.plugins).read(where, 0)
  if #where.problems > 0 or not record then return nil, where.problems end
  record._node = nil
  return record, where.problems
end

--- Returns the canonical text of a record.
-- @param seal function(text) -> text for secrets, or nil: they stand there as they are
function M.encode(kind, record, seal)
  return schema.encode(TYPES[kind] or getmetatable(record).compiled, record, seal)
end

--- Returns the text of a record as the store keeps it: that of a plugin's kind says which version of the kind it is.
-- @param plugins of plugin/loader.lua
function M.stored_text(kind, record, seal, plugins)
  local text, stored = M.encode(kind, record, seal), plugins and plugins.kinds[kind]
  return stored and migrations.mark(stored, text) or text
end

-- Sets ----------------------------------------------------------------------------------------------

--- Returns an empty set.
function M.new()
  local set = { lists = {} }
  for _, kind in ipairs(model.KINDS) do set[kind] = {} end
  return set
end

--- Returns the entity of a set, or nil.
function M.get(set, kind, key) return set[kind] and set[kind][key] end

local function copy_list(list)
  local copy = new_table(#list, 0)
  for i = 1, #list do copy[i] = list[i] end
  return copy
end

local records_of = setmetatable({}, { __mode = "k" }) -- list of M.sorted -> the records in it

local FEW = 32 -- that come and go in their places in a list; where more do it is made anew when needed

--- Returns the place of a key in a list of M.sorted, or where it would be.
local function place_of(list, key)
  local low, high = 1, #list + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if list[middle].key < key then low = middle + 1 else high = middle end
  end
  return low
end

--- Keeps the list of a kind in order.
-- @param own of M.with
local function edit_list(set, edit, own)
  local list, is_there = set.lists[edit.kind], set[edit.kind][edit.key] ~= nil
  if not list or not is_there and not edit.entity then return end
  if not is_there or not edit.entity then
    own.n_moved = (own.n_moved or 0) + 1
    if own.n_moved > FEW then
      set.lists[edit.kind] = nil
      return
    end
  end
  local place = place_of(list, edit.key)
  if not edit.entity then
    table.remove(list, place)
  elseif is_there then
    list[place] = edit.entity
  else
    table.insert(list, place, edit.entity)
  end
  records_of[list] = nil
end

--- Returns another set in which some entities are different.
-- @param edits list of {kind, key, entity}: entity nil is gone
-- @param own nil, or a table that the caller keeps from one call to the next, each on what the last one gave: nobody
-- else has those sets yet, so they are one, and thousands of edits copy nothing but the first of each kind
function M.with(set, edits, own)
  local result, is_own = set, own or {}
  if not is_own.lists then
    result = { lists = {} }
    for key, value in pairs(set) do
      if key ~= "lists" then result[key] = value end
    end
    for kind, list in pairs(set.lists) do result.lists[kind] = list end
    is_own.lists = true
  end
  for _, edit in ipairs(edits) do
    slices.pause()
    local kind = edit.kind
    if not is_own[kind] then
      result[kind], is_own[kind] = lineage.copy(set[kind] or {}), true
      slices.look()
      if result.lists[kind] then result.lists[kind] = copy_list(result.lists[kind]) end
    end
    edit_list(result, edit, is_own)
    result[kind][edit.key] = edit.entity
    lineage.note(result[kind], edit.key)
  end
  return result
end

--- Returns the entities of a kind in the order of their keys.
function M.sorted(set, kind)
  local known = set.lists[kind]
  if known then return known end
  local keys, list = {}, {}
  for key in pairs(set[kind] or {}) do keys[#keys + 1] = key end
  keys = sorting.sort(keys)
  for i, key in ipairs(keys) do list[i] = set[kind][key] end
  set.lists[kind] = list
  return list
end

local function list_records(list)
  local records, n = new_table(#list, 0), 0
  for i = 1, #list do
    local record = list[i].record
    if record then
      n = n + 1
      records[n] = record
    end
  end
  return records
end

--- Returns lists of records by kind, as conf.complete wants them. They are not to be changed: sets that have the same
-- entities of a kind share its list.
-- @param plugins of plugin/loader.lua: whose kinds are wanted, too
function M.records(set, plugins)
  local lists = {}
  for _, kind in ipairs(model.kinds_of(plugins)) do
    local list = M.sorted(set, kind)
    slices.look()
    records_of[list] = records_of[list] or list_records(list)
    lists[kind] = records_of[list]
  end
  return lists
end

--- True for an entity whose record depends on the plugins that were loaded when it was read.
local function depends_on_plugins(entity, stored)
  return stored or entity.kind == "plugins" or rawget(entity.record, "plugins") ~= nil
    or rawget(entity.record, "credentials") ~= nil
end

local function fault_of(problems) return problems[1] and (problems[1].message or "cannot be read") end

--- Reads an entity of the store again, as the plugins are now.
local function read_again(entity, tools, problems)
  local copy = {}
  for name, value in pairs(entity) do copy[name] = value end
  local record, found = M.read(entity.kind, entity.key, entity.json, tools)
  copy.record, copy.fault = record, nil
  if entity.fault then -- it was not readable before: that is no reason to refuse what comes now
    copy.fault = fault_of(found)
    return copy
  end
  for _, problem in ipairs(found) do problems[#problems + 1] = problem end
  return copy
end

--- Reads again what depends on plugins: their files may have changed. What a plugin stored that is gone stays as it is.
-- @return a set, or nil and a list of problems
function M.with_plugins(set, tools)
  local edits, problems = {}, {}
  for kind, entities in pairs(set) do
    local stored = not TYPES[kind] and M.type_of(kind, tools.plugins)
    for key, entity in pairs((TYPES[kind] or stored) and entities or {}) do
      slices.pause()
      local is_current = stored and entity.record and getmetatable(entity.record).compiled == stored
      if depends_on_plugins(entity, stored) and not is_current then
        edits[#edits + 1] = { kind = kind, key = key, entity = read_again(entity, tools, problems) }
      end
    end
  end
  if #problems > 0 then return nil, problems end
  return M.with(set, edits)
end

--- Returns how many entities a set has of kinds that no plugin knows now: kind -> count.
function M.orphans(set, plugins)
  local counts = {}
  for kind, entities in pairs(set) do
    if kind ~= "lists" and kind ~= "meta" and not M.type_of(kind, plugins) then
      local count = 0
      for _ in pairs(entities) do count = count + 1 end
      if count > 0 then counts[kind] = count end
    end
  end
  return counts
end

--- Returns why entities of a set cannot be read: list of {kind, key, message}.
function M.faults(set)
  local list = {}
  for kind, entities in pairs(set) do
    for key, entity in pairs(kind ~= "lists" and not TYPES[kind] and entities or {}) do -- those of plugins alone
      if entity.fault then list[#list + 1] = { kind = kind, key = key, message = entity.fault } end
    end
  end
  table.sort(list, function(a, b) return a.kind .. a.key < b.kind .. b.key end)
  return list
end

--- Makes an entity of a row of a store. What a plugin stored and cannot read any more is kept as it is.
-- @param row {json, version, created_ms, updated_ms}
-- @return the entity, and a list of problems
function M.from_row(kind, key, row, tools)
  local record, found, fault
  if M.type_of(kind, tools.plugins) then
    record, found = M.read(kind, key, row.json, tools)
    fault = not TYPES[kind] and fault_of(found) or nil
  end
  return { kind = kind, key = key, record = record, json = row.json, version = row.version,
    created_ms = row.created_ms, updated_ms = row.updated_ms, fault = fault }, TYPES[kind] and found or {}
end

--- Says whether an entity is what a row would make.
local function says(entity, row)
  return entity ~= nil and entity.json == row.json and entity.version == row.version
    and entity.created_ms == row.created_ms and entity.updated_ms == row.updated_ms
end

--- Makes a set of what a store has loaded. What a plugin stored and cannot read any more is kept as it is.
-- @param loaded kinds of keys of {json, version, created_ms, updated_ms}
-- @param known a set that was read with the same tools, whose entities are taken where they are the same; or nil
-- @return a set, or nil and a list of problems
function M.load(loaded, tools, known)
  local set, problems = M.new(), {}
  for kind, entities in pairs(loaded) do
    set[kind] = set[kind] or {}
    for key, row in pairs(entities) do
      slices.pause()
      local entity = known and M.get(known, kind, key)
      if not says(entity, row) then
        local found
        entity, found = M.from_row(kind, key, row, tools)
        for _, problem in ipairs(found) do problems[#problems + 1] = problem end
      end
      set[kind][key] = entity
    end
  end
  if #problems > 0 then return nil, problems end
  return set
end

return M

--- The entities that the store keeps, as the model has them: a set per kind by key.
-- A set is never changed once others have it: `with` makes another that shares what is the same, so that a
-- change that is refused leaves nothing behind.
--
-- An entity is {kind, key, record, json, version, created_ms, updated_ms}: `record` as the model reads it,
-- `json` its canonical text with sealed secrets, `version` the one in which it last changed.
local document = require "veloflux.model.document"
local grammar = require "veloflux.conf.grammar"
local model = require "veloflux.model"
local reader = require "veloflux.model.reader"
local schema = require "veloflux.model.schema"
local slices = require "veloflux.slices"

local M = {}

local TYPES = {} -- those of the conf file, so that records of both compare
for _, kind in ipairs(model.KINDS) do TYPES[kind] = grammar.file.by_name[kind].element end

--- Returns the compiled schema of a kind, or nil when there is no such kind.
function M.type_of(kind) return TYPES[kind] end

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
-- @return record, or nil; and a list of problems
function M.read(kind, key, text, tools)
  local name = ("api:%s/%s"):format(kind, key)
  local doc, problem = document.parse(text, name)
  if not doc then return nil, { problem } end
  local where = reader.new(tools.env or os.getenv)
  where.plugins, where.unseal = tools.plugins, tools.unseal
  where:open(doc, tools.dir or "/")
  local record = M.type_of(kind).read(where, 0)
  if #where.problems > 0 or not record then return nil, where.problems end
  record._key = key
  record._node = nil
  return record, where.problems
end

--- Returns the canonical text of a record.
-- @param seal function(text) -> text for secrets, or nil: they stand there as they are
function M.encode(kind, record, seal)
  return schema.encode(M.type_of(kind), record, seal)
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
    local kind = edit.kind
    if not is_own[kind] then
      local copy = {}
      for key, entity in pairs(set[kind] or {}) do copy[key] = entity end
      result[kind], is_own[kind], result.lists[kind] = copy, true, nil
    end
    result[kind][edit.key] = edit.entity
  end
  return result
end

--- Returns the entities of a kind in the order of their keys.
function M.sorted(set, kind)
  local known = set.lists[kind]
  if known then return known end
  local keys, list = {}, {}
  for key in pairs(set[kind] or {}) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do list[i] = set[kind][key] end
  set.lists[kind] = list
  return list
end

--- Returns lists of records by kind, as conf.complete wants them.
function M.records(set)
  local lists = {}
  for _, kind in ipairs(model.KINDS) do
    local records = {}
    for i, entity in ipairs(M.sorted(set, kind)) do records[i] = entity.record end
    lists[kind] = records
  end
  return lists
end

--- True for an entity whose record depends on the plugins that were loaded when it was read.
local function depends_on_plugins(entity)
  return entity.kind == "plugins" or rawget(entity.record, "plugins") ~= nil
    or rawget(entity.record, "credentials") ~= nil
end

--- Reads again what depends on plugins: their files may have changed.
-- @return a set, or nil and a list of problems
function M.with_plugins(set, tools)
  local edits, problems = {}, {}
  for _, kind in ipairs(model.KINDS) do
    for key, entity in pairs(set[kind]) do
      slices.pause()
      if depends_on_plugins(entity) then
        local record, found = M.read(kind, key, entity.json, tools)
        for _, problem in ipairs(found) do problems[#problems + 1] = problem end
        local copy = {}
        for name, value in pairs(entity) do copy[name] = value end
        copy.record = record
        edits[#edits + 1] = { kind = kind, key = key, entity = copy }
      end
    end
  end
  if #problems > 0 then return nil, problems end
  return M.with(set, edits)
end

--- Makes a set of what a store has loaded.
-- @param loaded kinds of keys of {json, version, created_ms, updated_ms}
-- @return a set, or nil and a list of problems
function M.load(loaded, tools)
  local set, problems = M.new(), {}
  for kind, entities in pairs(loaded) do
    set[kind] = set[kind] or {}
    for key, row in pairs(entities) do
      local record, found
      slices.pause()
      if M.type_of(kind) then
        record, found = M.read(kind, key, row.json, tools)
        for _, problem in ipairs(found) do problems[#problems + 1] = problem end
      end
      set[kind][key] = { kind = kind, key = key, record = record, json = row.json, version = row.version,
        created_ms = row.created_ms, updated_ms = row.updated_ms }
    end
  end
  if #problems > 0 then return nil, problems end
  return set
end

return M

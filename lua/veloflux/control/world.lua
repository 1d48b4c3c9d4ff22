--- What the configuration is made of at this moment: the draft of the conf file, the entities of the store,
-- and the version in which each entity of the file last changed.
--
-- A world is {draft, set, file, versions, version, tools, seal}; like sets it is replaced, not changed. is_unknown:
-- what the store had in this version is not known, and `set` is what was known last.
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local keys = require "veloflux.keys"
local model = require "veloflux.model"
local slices = require "veloflux.slices"

local M = {}

--- The entity, unknown to the model, that says that `entities: seed` has filled the store.
M.SEEDED = { kind = "meta", key = "seeded" }

--- Returns the functions that seal secrets for the store, and open them: {seal, unseal}; or nil and a message.
function M.sealing(node)
  local seal, unseal = keys.sealer(node)
  if not seal then return nil, unseal end
  return { seal = seal, unseal = unseal }
end

--- Returns what entities.read needs, for the plugins that a draft knows.
function M.tools(draft, sealing)
  return { plugins = draft.plugins, unseal = sealing.unseal, dir = draft.dir }
end

--- Indexes the file's own entities.
-- @return records by kind and key
local function index_file(draft)
  local index = {}
  for _, kind in ipairs(model.kinds_of(draft.plugins)) do
    index[kind] = {}
    for _, record in ipairs(draft.node.entities == "owned" and draft.root and draft.root[kind] or {}) do
      if record.name then index[kind][model.key(kind, record)] = record end
    end
  end
  return index
end

--- Entities that say what they said before keep their version.
local function versions_of(file, version, before)
  local versions = {}
  for kind, records in pairs(file) do
    local of_kind, old, known = {}, before and before.file[kind] or {}, before and before.versions[kind] or {}
    for key, record in pairs(records) do
      local is_same = old[key] and model.same(old[key], record)
      of_kind[key] = is_same and known[key] or version
    end
    versions[kind] = of_kind
  end
  return versions
end

--- Makes a world.
-- @param draft of conf.read
-- @param set of the store's entities
-- @param version of what it becomes
-- @param before the world before it, or nil
function M.new(draft, set, version, sealing, before)
  local file = index_file(draft)
  return { draft = draft, set = set, file = file, versions = versions_of(file, version, before), version = version,
    tools = M.tools(draft, sealing), seal = sealing.seal, unseal = sealing.unseal }
end

--- The same with another set.
function M.with(world, set, version)
  local copy = {}
  for name, value in pairs(world) do copy[name] = value end
  copy.set, copy.version, copy.is_unknown = set, version, nil
  return copy
end

--- Warns of entities whose plugin is not there, or cannot read them: they are kept.
function M.warn_of_orphans(result, set, plugins)
  local function warn(message)
    table.insert(result.warnings, { file = result.source, path = "", message = message })
  end
  local kinds, counts = {}, entities.orphans(set, plugins)
  for kind in pairs(counts) do kinds[#kinds + 1] = kind end
  table.sort(kinds)
  for _, kind in ipairs(kinds) do
    warn(("%d %s of a plugin that is not installed: they are kept, and return with it"):format(counts[kind], kind))
  end
  for _, fault in ipairs(entities.faults(set)) do
    warn(("%s %s is kept, but cannot be read: %s"):format(fault.kind, fault.key, fault.message))
  end
end

--- Returns the model of a world, or nil and problems.
-- @param before the model of another, or nil: of what it has, too, nothing is judged again
function M.model(world, before)
  local result, problems = conf.recombine(world.draft, entities.records(world.set, world.tools.plugins), before)
  if result then M.warn_of_orphans(result, world.set, world.tools.plugins) end
  return result, problems
end

--- True when the file's entities shall become the store's.
function M.wants_seed(draft, set)
  return draft.node.entities == "seed" and not entities.get(set, M.SEEDED.kind, M.SEEDED.key)
end

--- Returns the edits that make entities of the store of records that stand in a file.
-- @param lists of records by kind
-- @param base {tools, seal, version, now_ms, set}
-- @return edits, and a list of problems
function M.adoption(lists, base)
  local edits, problems, plugins = {}, {}, base.tools.plugins
  for _, kind in ipairs(model.kinds_of(plugins)) do
    for _, record in ipairs(lists[kind] or {}) do
      slices.pause()
      local key, text = model.key(kind, record), entities.stored_text(kind, record, base.seal, plugins)
      local own, found = entities.read(kind, key, text, base.tools)
      for _, problem in ipairs(found) do problems[#problems + 1] = problem end
      local before = entities.get(base.set, kind, key)
      edits[#edits + 1] = { kind = kind, key = key, before = before and before.json, entity = { kind = kind, key = key,
        record = own, json = text, version = base.version, created_ms = before and before.created_ms or base.now_ms,
        updated_ms = base.now_ms } }
    end
  end
  return edits, problems
end

--- Returns the edits that fill a store with the entities of the file, and a list of problems. What the store has by
-- the same name stays as it is.
function M.seed_edits(draft, base)
  local all, problems = M.adoption(draft.root, base)
  local edits = {}
  for _, edit in ipairs(all) do
    if not edit.before then edits[#edits + 1] = edit end
  end
  edits[#edits + 1] = { kind = M.SEEDED.kind, key = M.SEEDED.key, entity = { kind = M.SEEDED.kind,
    key = M.SEEDED.key, json = "{}", version = base.version, created_ms = base.now_ms, updated_ms = base.now_ms } }
  return edits, problems
end

--- True when a seed says of each of its entities what the store says.
function M.is_as_sown(draft, set)
  for _, kind in ipairs(model.kinds_of(draft.plugins)) do
    for _, record in ipairs(draft.root[kind]) do
      slices.pause()
      local known = entities.get(set, kind, model.key(kind, record))
      local own = known and known.record
      if not own or not model.same(own, record) and entities.encode(kind, own) ~= entities.encode(kind, record) then
        return false
      end
    end
  end
  return true
end

--- Returns an entity as control/transactions.lua gives it, or nil.
function M.find(world, kind, tenant, name)
  local key = entities.key_of(kind, tenant, name)
  local own = world.file[kind] and world.file[kind][key]
  if own then
    return { value = own, key = key, version = world.versions[kind][key], origin = "file",
      source = ("%s:%d"):format(own._file, own._line) }
  end
  local entity = entities.type_of(kind, world.tools.plugins) and entities.get(world.set, kind, key)
  if not entity or not entity.record then return nil end
  return { value = entity.record, key = key, version = entity.version, created_ms = entity.created_ms,
    updated_ms = entity.updated_ms, origin = "api" }
end

--- Returns all entities of a kind, those of the file first.
function M.list(world, kind)
  local list, keys_of_file = {}, {}
  for key in pairs(world.file[kind] or {}) do keys_of_file[#keys_of_file + 1] = key end
  table.sort(keys_of_file)
  for _, key in ipairs(keys_of_file) do
    list[#list + 1] = M.find(world, kind, entities.split_key(kind, key))
  end
  if not entities.type_of(kind, world.tools.plugins) then return list end
  for _, entity in ipairs(entities.sorted(world.set, kind)) do
    list[#list + 1] = entity.record and { value = entity.record, key = entity.key, version = entity.version,
      created_ms = entity.created_ms, updated_ms = entity.updated_ms, origin = "api" } or nil
  end
  return list
end

return M

--- Types of entities that a plugin stores: entities.lua returns a list of
--   { kind = "widgets", noun = "widget", schema = { size = { type = "integer", default = 1 } }, tenant = true,
--     unique = { "serial" }, references = { pool = "pools" }, indexes = { "size" }, version = 2,
--     migrations = { [2] = function(record) ... return record end } }
-- Each becomes a type of model/schema.lua, with `name` and, unless `tenant` is false, `tenant` in front of its fields.
local common = require "veloflux.model.kinds.common"
local fields = require "veloflux.plugin.control.fields"
local s = require "veloflux.model.schema"

local M = {}

local KNOWN = { kind = "string", noun = "string", description = "string", schema = "table", tenant = "boolean",
  unique = "table", references = "table", indexes = "table", version = "number", migrations = "table" }

--- The kinds of the core that fields may refer to.
local REFERENCES = { tenants = true, pools = true, routes = true, consumers = true }

local MAX_VERSION = 10000

local function field_of(config, name)
  return type(name) == "string" and config.by_name[name] or nil
end

local function is_text(attr) return attr.type == "string" end

--- Reads a list of names of fields, or of lists of those. Returns lists of names, or nil.
local function lists_of(config, raw, note, what)
  local lists = {}
  for i, entry in ipairs(raw or {}) do
    local names = type(entry) == "table" and entry or { entry }
    for _, name in ipairs(names) do
      local attr = field_of(config, name)
      if not attr or attr.elements or attr.fields or attr.values then
        return note(what, ("[%d]: expected the name of a field with a single value"):format(i))
      end
      if attr.secret then return note(what, ("[%d]: %s is a secret"):format(i, name)) end
    end
    lists[i] = names
  end
  return lists
end

local function references_of(config, raw, note)
  local references = {}
  for name, kind in pairs(raw or {}) do
    local attr = field_of(config, name)
    local target = attr and (is_text(attr) and attr or attr.elements and is_text(attr.elements) and attr.elements)
    if not target then
      return note("references", ("%s: expected the name of a field that is a text, or a list of texts"):format(
        tostring(name)))
    end
    if type(kind) ~= "string" then return note("references", name .. ": expected the name of a kind") end
    references[#references + 1] = { field = name, kind = kind, is_list = attr.elements ~= nil }
  end
  table.sort(references, function(a, b) return a.field < b.field end)
  return references
end

local function migrations_of(definition, note)
  local version, migrations = definition.version or 1, definition.migrations or {}
  if version % 1 ~= 0 or version < 1 or version > MAX_VERSION then
    return note("version", "expected a whole number from 1 on")
  end
  for number, migrate in pairs(migrations) do
    if type(number) ~= "number" or type(migrate) ~= "function" then
      return note("migrations", "expected functions by the number of the version that they make")
    end
    if number < 2 or number > version then
      return note("migrations", ("[%s]: there is no such version, the newest is %d"):format(tostring(number), version))
    end
  end
  return version, migrations
end

--- Makes the compiled type of the records.
local function compile(definition, config)
  local head = { { name = common.name(definition.kind) } }
  if definition.tenant ~= false then head[2] = { tenant = common.tenant() } end
  local attr = s.record { located = true, description = definition.description,
    fields = common.join(head, config.fields), entity_checks = config.entity_checks,
    shorthand_fields = config.shorthand_fields, custom_validator = config.custom_validator }
  local ok, compiled = pcall(s.compile, attr)
  return ok and compiled or nil, compiled
end

--- Returns the noun of a kind, for messages: "widget".
local function noun_of(definition)
  return definition.noun or (definition.kind:gsub("ies$", "y"):gsub("s$", "")):gsub("[_-]", " ")
end

--- Reads one definition. Returns a kind, or nil after noting what is wrong:
--   kind, noun, plugin   its names, and whose it is
--   compiled             the type of its records
--   is_per_tenant        names are unique within a tenant only
--   unique, indexes      lists of lists of names of fields
--   references           list of {field, kind, is_list}
--   version, migrations  see above
function M.read(reader, definition, place)
  local function note(name, message)
    return reader.note("entities", ("%s.%s: %s"):format(place, name, message), name)
  end
  if not fields.check(reader, "entities", definition, place, KNOWN) then return nil end
  if not (definition.kind or ""):find "^%l[%l%d_-]*$" then
    return note("kind", "expected a name of small letters, digits, dashes and underscores")
  end
  if not definition.schema then return note("schema", "required") end
  local made = reader.schema("entities", definition.schema, place .. ".schema")
  if not made then return nil end
  for _, taken in ipairs { "name", "tenant", "tenant_id", "id", "version", "created_at", "updated_at", "origin",
    "source" } do
    if made.config.by_name[taken] then return note("schema", taken .. ": the name is taken") end
  end
  local unique = lists_of(made.config, definition.unique, note, "unique")
  local indexes = unique and lists_of(made.config, definition.indexes, note, "indexes")
  local references = indexes and references_of(made.config, definition.references, note)
  if not references then return nil end
  local version, migrations = migrations_of(definition, note)
  if not version then return nil end
  local compiled, message = compile(definition, made.config)
  if not compiled then return note("schema", tostring(message)) end
  return { kind = definition.kind, noun = noun_of(definition), plugin = reader.name, compiled = compiled,
    is_per_tenant = definition.tenant ~= false, unique = unique, indexes = indexes, references = references,
    version = version, migrations = migrations }
end

--- Says whether fields of a plugin's kinds may refer to a kind.
-- @param own set of the plugin's own kinds
function M.may_refer(kind, own) return REFERENCES[kind] or own[kind] or false end

return M

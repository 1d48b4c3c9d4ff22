--- What cannot be seen in one entity of a plugin alone: unique names and fields, and what its fields refer to.
-- Problems are as those of model/check.lua.
local suggest = require "veloflux.model.suggest"

local M = {}

local MAX_SUGGESTIONS = 50

local NOUNS = { tenants = "tenant", pools = "pool", routes = "route", consumers = "consumer" }

local function tenant_of(entity) return entity.tenant or "default" end

--- Indexes entities by tenant and name. Tenants are everybody's.
local function index_of(model, kind)
  local index = {}
  for _, entity in ipairs(model[kind] or {}) do
    local tenant = kind == "tenants" and "" or tenant_of(entity)
    index[tenant] = index[tenant] or {}
    if entity.name then index[tenant][entity.name] = entity end
  end
  return index
end

local Checker = {}
Checker.__index = Checker

function Checker:index(kind)
  self.indexes[kind] = self.indexes[kind] or index_of(self.model, kind)
  return self.indexes[kind]
end

function Checker:note(kind, position, field, message, ...)
  local file, line, path = self.places(kind.kind, position, field)
  table.insert(self.problems, { file = file, line = line, path = path, message = message:format(...),
    plugin = kind.plugin })
end

--- Finds what a field refers to: of the entity's own tenant, or a shared one of `default`.
function Checker:find(entity, kind, name)
  local index = self:index(kind)
  if kind == "tenants" then return index[""] and index[""][name] end
  local own = index[tenant_of(entity)]
  if own and own[name] then return own[name] end
  local platform = index.default and index.default[name]
  return platform and platform.shared and platform or nil
end

function Checker:unknown(kind, position, reference, name)
  local nearest
  self.suggestions = self.suggestions + 1
  if self.suggestions <= MAX_SUGGESTIONS then
    local names = {}
    for _, of_tenant in pairs(self:index(reference.kind)) do
      for other in pairs(of_tenant) do names[#names + 1] = other end
    end
    table.sort(names)
    nearest = suggest.nearest(name, names)
  end
  self:note(kind, position, reference.field, 'unknown %s "%s"%s', NOUNS[reference.kind] or reference.kind, name,
    nearest and (", did you mean %s?"):format(nearest) or "")
end

function Checker:references(kind, position, entity)
  for _, reference in ipairs(kind.references) do
    local value = entity[reference.field]
    for _, name in ipairs(reference.is_list and value or { value }) do
      if not self:find(entity, reference.kind, name) then self:unknown(kind, position, reference, name) end
    end
  end
end

--- Refuses what another one has already. `taken` is by the names of the fields.
function Checker:unique(kind, position, entity, taken)
  for _, names in ipairs(kind.unique) do
    local parts = { tenant_of(entity) }
    for i, name in ipairs(names) do
      local value = entity[name]
      if value == nil then
        parts = nil
        break
      end
      parts[i + 1] = tostring(value)
    end
    local of = table.concat(names, ", ")
    taken[of] = taken[of] or {}
    local key = parts and table.concat(parts, "\0")
    local earlier = key and taken[of][key]
    if earlier then
      self:note(kind, position, names[1], "%s is already that of %s, in %s%s", of, earlier.name, earlier._file,
        earlier._line and earlier._line > 0 and ":" .. earlier._line or "")
    elseif key then
      taken[of][key] = entity
    end
  end
end

function Checker:run(kind)
  local names, taken, tenants = {}, {}, self:index "tenants"[""] or {}
  for i, entity in ipairs(self.model[kind.kind] or {}) do
    local tenant, name = tenant_of(entity), entity.name
    local key = tenant .. "\0" .. tostring(name)
    if not tenants[tenant] then self:note(kind, i, "tenant", 'unknown tenant "%s"', tenant) end
    if name and names[key] then
      self:note(kind, i, "name", "the name %s is already taken, in %s", name, names[key]._file)
    elseif name then
      names[key] = entity
      self:unique(kind, i, entity, taken)
      self:references(kind, i, entity)
    end
  end
end

--- Checks the entities of plugins. Appends to `problems`.
-- @param kinds of plugin/loader.lua, by name
-- @param places function(kind, position, field) -> file, line, path
function M.run(model, kinds, places, problems)
  local checker = setmetatable({ model = model, places = places, problems = problems, indexes = {}, suggestions = 0 },
    Checker)
  for _, name in ipairs(model.stored_kinds or {}) do checker:run(kinds[name]) end
end

return M

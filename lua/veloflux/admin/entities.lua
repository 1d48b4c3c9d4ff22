--- The objects behind the admin API as entries of one shape, whether they are entities of the model or elements
-- of one (backends of a pool, credentials of a consumer, instances of plugins of anything), and the transactions
-- that change them. An entry is
--   {kind, tenant, op_tenant, name, record, compiled, version, created_ms, updated_ms, origin, source}, where
-- op_tenant is the tenant by which transactions know it (of tenants and global plugins: nil), and of an element
--   {owner = entry, field = "backends", index = its place in the list}.
local model = require "veloflux.model"
local view = require "veloflux.model.view"
local json = require "veloflux.pdk.json"

local M = {}

--- The entity of a transaction's answer as an entry.
function M.entry_of(kind, found)
  local record = found.value
  local name = record.name
  if kind == "plugins" and record.as and record.as ~= record.name then name = record.name .. ":" .. record.as end
  local tenant = kind ~= "tenants" and record.tenant or nil
  return { kind = kind, tenant = kind == "tenants" and record.name or tenant or "default", op_tenant = tenant,
    name = name, record = record, compiled = getmetatable(record).compiled, version = found.version,
    created_ms = found.created_ms, updated_ms = found.updated_ms, origin = found.origin, source = found.source }
end

local entry_of = M.entry_of

--- The tenant that is there without being written down.
local function default_tenant()
  local record = setmetatable({ name = "default" }, model.types.tenants.metatable)
  local entry = entry_of("tenants", { value = record, version = 0, origin = "api" })
  entry.is_implicit = true
  return entry
end

--- Returns the entries of a kind.
function M.list(transactions, kind)
  local entries, has_default = {}, false
  for i, found in ipairs(transactions.list(kind)) do
    entries[i] = entry_of(kind, found)
    has_default = has_default or entries[i].name == "default"
  end
  if kind == "tenants" and not has_default then table.insert(entries, 1, default_tenant()) end
  return entries
end

--- Returns an entry, or nil.
function M.find(transactions, kind, tenant, name)
  local found = transactions.find(kind, tenant, name)
  if not found and kind == "tenants" and name == "default" then return default_tenant() end
  return found and entry_of(kind, found)
end

--- Returns the elements in a list of an entity as entries.
function M.elements(owner, field)
  local list = rawget(owner.record, field) or {}
  local entries = {}
  for i, record in ipairs(list) do
    entries[i] = { kind = owner.kind, tenant = owner.tenant, op_tenant = owner.op_tenant, name = owner.name,
      record = record, compiled = getmetatable(record).compiled, version = owner.version, created_ms = owner.created_ms,
      updated_ms = owner.updated_ms, origin = owner.origin, source = owner.source, owner = owner, field = field,
      index = i }
  end
  return entries
end

--- Returns what an entry says as decoded JSON with its secrets open.
function M.open(entry) return view.open(entry.compiled, entry.record) end

--- Returns the transaction that makes an entity.
-- @param value as the conf file would have it (see `view.open`), as in all of these
function M.create(kind, tenant, value, name)
  return { { op = "create", kind = kind, tenant = tenant, name = name, value = value, is_literal = true } }
end

--- Returns the transaction that changes an entity.
-- @param op "put", "merge", "replace" or "delete"
-- @param if_match the version that the entry has to have still, or nil
function M.change(op, entry, value, if_match)
  if entry.is_implicit and op ~= "delete" then
    local whole = view.change(op, {}, value)
    whole.name = entry.name
    return M.create(entry.kind, nil, whole, entry.name)
  end
  return { { op = op, kind = entry.kind, tenant = entry.op_tenant, name = entry.name,
    value = value, if_match = if_match, is_literal = true } }
end

--- Returns the transaction that changes a list within an entity. It holds for the entity as it was read.
-- @param op "create", "put", "merge", "replace" or "delete"
-- @param index of the element; nil: a new one, behind the others
function M.change_element(op, owner, field, index, value)
  local list = json.array()
  for i, entry in ipairs(M.elements(owner, field)) do list[i] = M.open(entry) end
  if op == "create" then
    table.insert(list, value)
  elseif op == "delete" then
    table.remove(list, index)
  else
    list[index] = view.change(op, list[index], value)
  end
  return M.change("put", owner, { [field] = list }, owner.version)
end

return M

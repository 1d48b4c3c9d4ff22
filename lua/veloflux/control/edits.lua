--- From the operations of a transaction to the entities that they make: each is read by the schema of its
-- kind, so that what the API takes is what the conf file takes.
--
-- Backends and credentials are elements of a list of their owner: an operation on one is a change of the
-- pool or the consumer.
local entities = require "veloflux.control.entities"
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"
local model = require "veloflux.model"
local sink = require "veloflux.compiler.sink"
local slices = require "veloflux.slices"
local values = require "veloflux.control.values"

local M = {}

local NESTED = {
  backends = { owner = "pools", list = "backends", field = "pool", id = "address" },
  credentials = { owner = "consumers", list = "credentials", field = "consumer", id = "id" },
}
local MASK = "*****"

local function fail(code, message, i, pointer)
  return nil, { ok = false, code = code, message = message,
    errors = { { op = i, pointer = pointer or "", detail = message } } }
end

local function owned(record, i, key)
  local message = ("%s stands in %s:%d: change it there and reload"):format(key, record._file, record._line)
  local _, outcome = fail("owned", message, i)
  outcome.source = ("%s:%d"):format(record._file, record._line)
  return nil, outcome
end

local function hidden() return "00" end

--- Returns an entity as a JSON value, with its secrets; and the same with them sealed.
function M.value_of(entity)
  local sealed = entities.type_of(entity.kind) and entity.json -- that of a plugin's kind may be of an older version
    or entities.encode(entity.kind, entity.record, hidden)
  return json.decode(entities.encode(entity.kind, entity.record)), json.decode(sealed)
end

--- A secret that comes back as it was shown is the one that there is.
local function keep_masked(value, before, sealed)
  if value == MASK and type(sealed) == "string" and sealed:find "^{sealed:" then return before end
  if type(value) ~= "table" or type(before) ~= "table" or type(sealed) ~= "table" then return value end
  for key, inner in pairs(value) do value[key] = keep_masked(inner, before[key], sealed[key]) end
  return value
end

--- Returns what becomes of an entity, as a JSON value.
local function changed_value(entity, op)
  local value = op.is_literal and op.value or values.literal(op.value)
  if not entity then return value end
  local before, sealed = M.value_of(entity)
  if op.op == "merge" then
    value = values.merge(before, value)
  elseif op.op == "put" then
    value = values.put(before, value)
  end
  return keep_masked(value, before, sealed)
end

--- Fields that were set to null are not there.
local function without_null(value)
  if type(value) ~= "table" or json.is_array(value) then return value end
  local copy = {}
  for key, inner in pairs(value) do
    if inner ~= json.null then copy[key] = inner end
  end
  return copy
end

local function problems_of(found, i, prefix)
  local errors = {}
  for n, problem in ipairs(found) do
    local pointer = problem.pointer or ""
    if prefix and pointer:sub(1, #prefix) == prefix then pointer = pointer:sub(#prefix + 1) end
    errors[n] = { op = i, pointer = pointer, detail = problem.message, rule = problem.rule }
  end
  return { ok = false, code = "invalid", message = errors[1] and errors[1].detail or "is not valid", errors = errors }
end

--- Reads a value as an entity.
-- @return record and key, or nil and an outcome
local function read(world, op, value, i)
  local label = op.name or type(value) == "table" and type(value.name) == "string" and value.name or "new"
  local record, found = entities.read(op.kind, entities.key_of(op.kind, op.tenant, label),
    json.encode(without_null(value)), world.tools, true)
  if not record then return nil, problems_of(found, i, op.prefix) end
  local key = model.key(op.kind, record)
  record._key, record._file = key, ("api:%s/%s"):format(op.kind, key)
  return record, key
end

--- True when an entity says what it said before; a default that is written out is no difference. A secret may have
-- become a reference that stands for the same.
local function is_same(op, entity, record)
  local text = entities.encode(op.kind, record)
  if text == entities.encode(op.kind, entity.record) then return true end
  return not text:find "{%a+:" and model.same(record, entity.record)
end

local function edit_of(world, op, entity, record, key)
  if entity and is_same(op, entity, record) then return nil end
  local text = entities.stored_text(op.kind, record, world.seal, world.tools.plugins)
  return { kind = op.kind, key = key, before = entity and entity.json, entity = { kind = op.kind, key = key,
    record = record, json = text, version = world.version,
    created_ms = entity and entity.created_ms or world.now_ms, updated_ms = world.now_ms } }
end

local function put_name(op, value)
  if type(value) ~= "table" or op.name == nil then return value end
  local copy = {}
  for name, inner in pairs(value) do copy[name] = inner end
  if op.kind ~= "plugins" and copy.name == nil then copy.name = expand.escape(op.name) end
  if op.kind ~= "tenants" and op.tenant and op.tenant ~= "default" and copy.tenant == nil then
    copy.tenant = op.tenant
  end
  return copy
end

local function create(world, op, i)
  local value = put_name(op, changed_value(nil, op))
  local record, key = read(world, op, value, i)
  if not record then return nil, key end
  local mine = world.file[op.kind] and world.file[op.kind][key]
  if mine then return owned(mine, i, key) end
  if entities.get(world.set, op.kind, key) then
    return fail("exists", ("there is already %s %s"):format(op.kind, key), i, "/name")
  end
  return edit_of(world, op, nil, record, key), key
end

--- Finds the entity of an operation that changes or deletes one.
local function find(world, op, i)
  local key = entities.key_of(op.kind, op.tenant, op.name)
  local mine = world.file[op.kind] and world.file[op.kind][key]
  if mine then return owned(mine, i, key) end
  local entity = entities.get(world.set, op.kind, key)
  if not entity then return fail("not_found", ("there is no %s %s"):format(op.kind, key), i) end
  if entity.fault and op.op ~= "delete" then
    return fail("conflict", ("%s is kept, but cannot be read: %s"):format(key, entity.fault), i)
  end
  if op.if_match and op.if_match ~= entity.version then
    return fail("stale", ("%s was changed in version %d"):format(key, entity.version), i)
  end
  return entity
end

local function change(world, op, i)
  local entity, outcome = find(world, op, i)
  if not entity then return nil, outcome end
  local value = put_name(op, changed_value(entity, op))
  local record, key = read(world, op, value, i)
  if not record then return nil, key end
  if key ~= entity.key then
    return fail("invalid", ("cannot become %s: names and tenants do not change"):format(key), i, "/name")
  end
  return edit_of(world, op, entity, record, key), key
end

local function delete(world, op, i)
  local entity, outcome = find(world, op, i)
  if not entity then return nil, outcome end
  return { kind = op.kind, key = entity.key, before = entity.json }, entity.key
end

--- Replaces what there is by this name, else makes it.
local function upsert(world, op, i)
  local key = entities.key_of(op.kind, op.tenant, op.name)
  return (entities.get(world.set, op.kind, key) and change or create)(world, op, i)
end

local VERBS = { create = create, put = change, merge = change, replace = change, delete = delete, upsert = upsert }

-- Elements of lists -----------------------------------------------------------------------------------

--- Returns the ID of a backend as it stands in the snapshot: 16 hexadecimal digits.
function M.backend_id(tenant, pool, address)
  return ("%016x"):format(sink.id("backend", tenant or "default", pool, address))
end

--- Returns the id of an element for messages and addresses.
local function is_element(nested, op, element)
  if op.name == element[nested.id] or op.name == element.address then return true end
  if nested.list == "backends" then return op.name == M.backend_id(op.tenant, op.owner, element.address) end
  return op.name == element.key or op.name == element.username
end

local function position_of(nested, op, list)
  for n, element in ipairs(list) do
    if is_element(nested, op, element) then return n end
  end
end

--- Turns an operation on an element of a list into one on its owner.
local function widen(world, op, i)
  local nested = NESTED[op.kind]
  local fields = type(op.value) == "table" and op.value or {}
  local owner_name = op[nested.field] or fields[nested.field]
  if type(owner_name) ~= "string" then
    return fail("invalid", "required: the name of the " .. nested.field, i, "/" .. nested.field)
  end
  local wide = { op = "replace", kind = nested.owner, tenant = op.tenant, name = owner_name, if_match = op.if_match,
    is_literal = true }
  local owner, outcome = find(world, wide, i)
  if not owner then return nil, outcome end
  local value = M.value_of(owner)
  local list, element = value[nested.list] or json.array {}, {}
  for name, inner in pairs(op.is_literal and fields or values.literal(fields)) do
    if name ~= nested.field then element[name] = inner end
  end
  local at = op.op ~= "create" and position_of(nested, { name = op.name, tenant = op.tenant, owner = owner_name }, list)
  if op.op == "create" then
    local known = position_of(nested, { name = element[nested.id] or element.key, tenant = op.tenant,
      owner = owner_name }, list)
    if known and element[nested.id] then
      return fail("exists", ("%s already has %s"):format(owner_name, element[nested.id]), i, "/" .. nested.id)
    end
    at = #list + 1
    list[at] = without_null(element)
  elseif not at then
    return fail("not_found", ("%s has no %s %s"):format(owner_name, op.kind, tostring(op.name)), i)
  elseif op.op == "delete" then
    table.remove(list, at)
  elseif op.op == "merge" then
    list[at] = values.merge(list[at], element)
  elseif op.op == "put" then
    list[at] = values.put(list[at], element)
  else
    list[at] = without_null(element)
  end
  value[nested.list] = json.array(list)
  wide.value, wide.prefix = value, ("/%s/%d"):format(nested.list, at - 1)
  return wide
end

--- Applies operations to a set.
-- @param world {set, file = entities of the file by kind and key, tools = for entities.read, seal, version,
-- now_ms}
-- @param ops see control/transactions.lua
-- @return {set, edits, keys = for each operation {kind, key}}; or nil and the outcome that says why not
function M.apply(world, ops)
  local result = { set = world.set, edits = {}, keys = {} }
  local step, own = setmetatable({}, { __index = world }), {}
  for i, op in ipairs(ops) do
    slices.pause()
    step.set = result.set
    local wide, outcome = op, nil
    if NESTED[op.kind] then wide, outcome = widen(step, op, i) end
    if not wide then return nil, outcome end
    if not VERBS[wide.op] or not entities.type_of(wide.kind, world.tools.plugins) then
      return fail("not_found", ("there are no %s"):format(tostring(wide.kind)), i)
    end
    if wide.op ~= "create" and type(wide.name) ~= "string" then
      return fail("invalid", "required: the name", i, "/name")
    end
    if wide.op ~= "delete" and (type(wide.value) ~= "table" or json.is_array(wide.value)) then
      return fail("invalid", "expected an object", i)
    end
    local edit, key = VERBS[wide.op](step, wide, i)
    if not edit and type(key) ~= "string" then return nil, key end
    result.keys[i] = { kind = wide.kind, key = key }
    if edit and not op.is_test then
      edit.op = i
      edit.prefix = wide.prefix
      result.edits[#result.edits + 1] = edit
      result.set = entities.with(result.set, { edit }, own)
    end
  end
  return result
end

return M

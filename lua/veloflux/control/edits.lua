--- From the operations of a transaction to the entities that they make: each is read by the schema of its
-- kind, so that what the API takes is what the conf file takes.
--
-- Backends, credentials and instances of plugins of something are elements of a list of their owner: operations on them
-- are a change of that (elements.lua).
local elements = require "veloflux.control.elements"
local entities = require "veloflux.control.entities"
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"
local model = require "veloflux.model"
local secrets = require "veloflux.model.secrets"
local slices = require "veloflux.slices"
local values = require "veloflux.control.values"
local view = require "veloflux.model.view"

local M = {}

local MASK = view.MASK

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
  local place_of = json.is_array(value) and view.counterparts(value, before)
  for key, inner in pairs(value) do
    local at = key
    if place_of then at = place_of(key) end
    if at ~= nil then value[key] = keep_masked(inner, before[at], sealed[at]) end
  end
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

local NESTED, without_null = elements.NESTED, elements.without_null

local function problems_of(found, i, places)
  local errors = {}
  for n, problem in ipairs(found) do
    local op, pointer = i, problem.pointer or ""
    if places then op, pointer = elements.blame(places, pointer) end
    errors[n] = { op = op, pointer = pointer, detail = problem.message, rule = problem.rule }
  end
  return { ok = false, code = "invalid", message = errors[1] and errors[1].detail or "is not valid", errors = errors }
end

--- A mask that nothing was put in place of would be the secret. Returns the problem, or nil.
local function left_masked(world, op, value, text)
  if not text:find('"' .. MASK .. '"', 1, true) then return nil end
  local place = secrets.masked_in(op.kind, value, world.tools.plugins, MASK)
  if not place then return nil end
  return { pointer = "/" .. place:gsub("%.", "/"), message = "is masked, and there is no stored value to keep" }
end

--- Reads a value as an entity.
-- @return record and key, or nil and an outcome
local function read(world, op, value, i)
  local label = op.name or type(value) == "table" and type(value.name) == "string" and value.name or "new"
  local text, fault = json.encode(without_null(value))
  if not text then return fail("invalid", "cannot be JSON: " .. fault, i) end
  local masked = left_masked(world, op, value, text)
  if masked then return nil, problems_of({ masked }, i, op.places) end
  local record, found = entities.read(op.kind, entities.key_of(op.kind, op.tenant, label), text, world.tools, true)
  if not record then return nil, problems_of(found, i, op.places) end
  local key = model.key(op.kind, record)
  record._file = ("api:%s/%s"):format(op.kind, key)
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

--- Adds the name and the tenant that an operation says to a value that does not say them itself.
local function put_name(op, value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, inner in pairs(value) do copy[name] = inner end
  if op.name and op.kind ~= "plugins" and copy.name == nil then copy.name = expand.escape(op.name) end
  local says_none = copy.tenant == nil or copy.tenant == json.null
  if op.kind ~= "tenants" and op.tenant and op.tenant ~= "default" and says_none then
    copy.tenant = op.tenant
  end
  return copy
end

local function create(world, op, i)
  local value = put_name(op, changed_value(nil, op))
  local record, key = read(world, op, value, i)
  if not record then return nil, key end
  if op.tenant and op.kind ~= "tenants" and entities.split_key(op.kind, key) ~= op.tenant then
    return fail("invalid", ("is another than %s, which the operation says"):format(op.tenant), i, "/tenant")
  end
  local mine = world.file[op.kind] and world.file[op.kind][key]
  if mine then return owned(mine, i, key) end
  if entities.get(world.set, op.kind, key) then
    return fail("exists", ("%s %s exists already"):format(op.kind, key), i, "/name")
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

--- Begins a group of operations (elements.lua) with the operation `op`. Returns it, or nil and an outcome.
local function open_group(world, op, i)
  local nested, name = NESTED[op.kind], elements.owner_of(op)
  if not name then
    return fail("invalid", "required: the name of the " .. nested.field, i, "/" .. nested.field)
  end
  local owner, outcome = find(world, { kind = nested.owner, tenant = op.tenant, name = name }, i)
  if not owner then return nil, outcome end
  local group = elements.new(op, (M.value_of(owner)), world.tools)
  group.entity, group.first = owner, i
  return group
end

--- Applies an operation to a group. Returns true, or nil and an outcome.
local function add_to_group(group, op, i)
  local entity = group.entity
  if op.if_match and op.if_match ~= entity.version then
    return fail("stale", ("%s was changed in version %d"):format(entity.key, entity.version), i)
  end
  local ok, code, message, pointer = group:apply(op, i)
  if not ok then return fail(code, message, i, pointer) end
  group.last = i
  return true
end

--- Returns the operation on the owner that a group has become.
local function close_group(group)
  local value, ops = group:close()
  return { op = "replace", kind = group.nested.owner, tenant = group.tenant, name = group.owner, value = value,
    is_literal = true, places = { list = group.nested.list, ops = ops, last = group.last } }
end

--- Applies one operation on an entity. Returns true, or nil and an outcome.
-- @param first, last numbers of the operations that it stands for
local function apply_one(step, op, first, last, result, own)
  if not VERBS[op.op] or not entities.type_of(op.kind, step.tools.plugins) then
    return fail("not_found", ("there are no %s"):format(tostring(op.kind)), last)
  end
  if op.op ~= "create" and type(op.name) ~= "string" then
    return fail("invalid", "required: the name", last, "/name")
  end
  if op.op ~= "delete" and (type(op.value) ~= "table" or json.is_array(op.value)) then
    return fail("invalid", "expected an object", last)
  end
  step.set = result.set
  local edit, key = VERBS[op.op](step, op, last)
  if not edit and type(key) ~= "string" then return nil, key end
  for i = first, last do result.keys[i] = { kind = op.kind, key = key } end
  if edit and not op.is_test then
    edit.op, edit.places = last, op.places
    result.edits[#result.edits + 1] = edit
    result.set = entities.with(result.set, { edit }, own)
  end
  return true
end

--- Applies operations to a set.
-- @param world {set, file = entities of the file by kind and key, tools = for entities.read, seal, version,
-- now_ms}
-- @param ops see control/transactions.lua
-- @return {set, edits, keys = for each operation {kind, key}}; or nil and the outcome that says why not
function M.apply(world, ops)
  local result = { set = world.set, edits = {}, keys = {} }
  local step, own, group = setmetatable({}, { __index = world }), {}, nil
  local function finish_group()
    local open = group
    group = nil
    local op = close_group(open)
    op.is_test = open.is_test
    return apply_one(step, op, open.first, open.last, result, own)
  end
  for i, op in ipairs(ops) do
    slices.pause()
    local ok, outcome = true, nil
    if group and (op.is_test or not NESTED[op.kind] or not group:takes(op)) then ok, outcome = finish_group() end
    if ok and NESTED[op.kind] then
      step.set = result.set
      if not group then group, outcome = open_group(step, op, i) end
      ok = group
      if ok then ok, outcome = add_to_group(group, op, i) end
      if ok and op.is_test then
        group.is_test = true
        ok, outcome = finish_group()
      end
    elseif ok then
      ok, outcome = apply_one(step, op, i, i, result, own)
    end
    if not ok then return nil, outcome end
  end
  if group then
    local ok, outcome = finish_group()
    if not ok then return nil, outcome end
  end
  return result
end

return M

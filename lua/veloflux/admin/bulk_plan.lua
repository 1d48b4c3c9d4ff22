--- From the operations that a bulk request lists to those of transactions. Each is prepared as a request on its own
-- would be, so that what GET gave can be sent back, in what an earlier one of the batch makes, too.
local bodies = require "veloflux.admin.body"
local elements = require "veloflux.control.elements"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local schemas = require "veloflux.admin.schemas"
local slices = require "veloflux.slices"

local M = {}

--- The most operations of a batch.
M.MAX = 10000
--- What an operation may do.
M.ACTIONS = { "add", "update", "patch", "replace", "delete", "test" }
--- What it may do that to: all kinds of resources, by name, those of plugins too once `M.kinds` was called.
M.KINDS = {}

--- Returns M.KINDS as they are now.
function M.kinds()
  local all = resources.all()
  for i = 1, math.max(#all, #M.KINDS) do M.KINDS[i] = all[i] and all[i].name end
  return M.KINDS
end
M.kinds()

local MAX_ERRORS = 100 -- that are listed

local VERBS = { add = "create", update = "put", patch = "merge", replace = "replace", delete = "delete", test = "put" }
local FIELDS = { action = true, kind = true, id = true, tenant_id = true, pool = true, consumer = true, data = true,
  if_match = true }

local resource_of = resources.find

-- The form of an operation ----------------------------------------------------------------------------------

local TEXTS = { "id", "tenant_id", "pool", "consumer" }

--- Lists the fields of an operation that nobody knows, in the order of their pointers.
local function unknown_of(given)
  local found = {}
  for name in pairs(given) do
    if not FIELDS[name] then
      local step = tostring(name):gsub("~", "~0"):gsub("/", "~1")
      found[#found + 1] = { pointer = "/" .. step, detail = "unknown field" }
    end
  end
  table.sort(found, function(a, b) return a.pointer < b.pointer end)
  return found
end

--- Says what else is wrong with the form of an operation: pointer and message, or nil.
local function fault_of(given, kind)
  if not VERBS[given.action] then return "/action", "expected one of " .. table.concat(M.ACTIONS, ", ") end
  if not resource_of(kind) then return "/kind", "expected one of " .. table.concat(M.kinds(), ", ") end
  for _, name in ipairs(TEXTS) do
    if given[name] ~= nil and (type(given[name]) ~= "string" or given[name] == "") then
      return "/" .. name, "expected a text"
    end
  end
  local data, version = given.data, given.if_match
  if data ~= nil and (type(data) ~= "table" or json.is_array(data)) then return "/data", "expected an object" end
  if version ~= nil and (type(version) ~= "number" or version % 1 ~= 0) then
    return "/if_match", "expected the number of a version"
  end
  if not data and given.action ~= "delete" and not (given.action == "test" and given.id) then
    return "/data", "required: the object"
  end
  if not given.id and given.action ~= "add" and given.action ~= "test" then return "/id", "required: its id" end
end

--- Returns what is wrong with the form of an operation, a list of {pointer, detail}; nil when it is good.
-- @param is_lenient true: fields that nobody knows are forgotten
local function faults_of(given, kind, is_lenient)
  if type(given) ~= "table" or json.is_array(given) then return { { pointer = "", detail = "expected an object" } } end
  local unknown = is_lenient and {} or unknown_of(given)
  if unknown[1] then return unknown end
  local pointer, message = fault_of(given, kind)
  return pointer and { { pointer = pointer, detail = message } } or nil
end

-- Where an object is ----------------------------------------------------------------------------------------

--- Returns the transactions as an operation sees them that comes after others: names they take are taken.
local function later(t, taken)
  return { list = t.list, find = function(kind, tenant, name)
    local found = t.find(kind, tenant, name)
    if found or not taken[table.concat({ kind, tenant or "", name }, "\0")] then return found end
    return { value = setmetatable({ name = name }, { compiled = {} }), origin = "api" }
  end }
end

local function take(plan, op)
  plan.taken[table.concat({ op.kind, op.tenant or "", op.name or "" }, "\0")] = true
end

--- Finds the pools of the backends that are there, by address and by id; false where several have it.
local function pools_of(plan, tenant)
  if plan.pools[tenant] then return plan.pools[tenant] end
  local pools = {}
  for _, pool in ipairs(entities.list(plan.t, "pools")) do
    for _, backend in ipairs(pool.tenant == tenant and entities.elements(pool, "backends") or {}) do
      local address = backend.record.address.text
      pools[elements.backend_id(tenant, pool.name, address)] = pool.name
      pools[address] = pools[address] == nil and pool.name
    end
  end
  plan.pools[tenant] = pools
  return pools
end

local function failed(pointer, detail) return nil, { { pointer = pointer, detail = detail } } end

--- The errors of a problem, below `/data`.
local function errors_of(bad)
  local errors = {}
  for i, found in ipairs(bad.errors) do
    errors[i] = { pointer = "/data" .. (found.pointer or ""), detail = found.detail }
  end
  if not errors[1] then errors[1] = { pointer = "/data", detail = bad.detail } end
  return nil, errors
end

--- The entry of what may be made by an earlier operation.
local function pending(kind, resource, tenant, name)
  local record = { name = name }
  if kind == "plugins" and name:find ":" then record.name, record.as = name:match "^([^:]*):(.*)$" end
  return { kind = kind, tenant = tenant, op_tenant = kind ~= "tenants" and tenant or nil, name = name,
    record = record, compiled = schemas.type_of(resource), is_pending = true }
end

local OWNERS = { pool = "pools", route = "routes", consumer = "consumers" } -- of instances of plugins

--- Splits the id of an instance of a plugin of a pool, route or consumer. Returns scope, tenant, owner and label.
local function scoped_place(id)
  local scope, tenant, owner, label = id:match "^(%a+):([^:]+):([^:]+):(.+)$"
  if OWNERS[scope] then return scope, tenant, owner, label end
end

--- Splits the id of another instance of a plugin. Returns its tenant and label, or nil.
local function plugin_place(id)
  local label = id:match "^global:(.+)$"
  if label then return nil, label end
  return id:match "^tenant:([^:]+):(.+)$"
end

-- Operations ------------------------------------------------------------------------------------------------

local function prepare(plan, resource, data, entry, tenant)
  local value, bad = rest.prepare(resource, plan.request, data, entry, { tenant_id = tenant })
  if not value then return errors_of(bad) end
  return value
end

local function backend_op(plan, given, verb, tenant)
  local data = {}
  for name, value in pairs(given.data or {}) do data[name] = value end
  local pool = given.pool or data.pool
  if pool == nil and given.id then pool = pools_of(plan, tenant)[given.id] end
  if type(pool) ~= "string" then return failed("/pool", "required: the name of the pool") end
  if data.pool ~= nil and data.pool ~= pool then return failed("/data/pool", "is another than that of the backend") end
  data.pool = nil
  local entry = verb ~= "create" and pending("backends", resources.backends, tenant, pool) or nil
  if entry then entry.record.address = { text = not given.id:find "^%x+$" and given.id or nil } end
  local value, errors = prepare(plan, resources.backends, data, entry, tenant)
  if not value then return nil, errors end
  value.tenant = nil
  return { op = verb, kind = "backends", tenant = tenant, name = given.id, pool = pool, value = value }
end

local function credential_op(plan, given, verb, tenant)
  local data = {}
  for name, value in pairs(given.data or {}) do data[name] = value end
  local consumer = given.consumer or data.consumer
  if type(consumer) ~= "string" then return failed("/consumer", "required: the name of the consumer") end
  local entry = verb ~= "create" and pending("credentials", resources.credentials, tenant, consumer) or nil
  local value, errors = prepare(plan, resources.credentials, data, entry, tenant)
  if not value then return nil, errors end
  value.tenant = nil
  return { op = verb, kind = "credentials", tenant = tenant, name = given.id, consumer = consumer, value = value }
end

--- The same of an instance of a plugin of a pool, route or consumer.
local function scoped_op(scope, tenant, owner, label, verb, value)
  for _, name in ipairs { "scope", "pool", "route", "consumer", "tenant" } do value[name] = nil end
  return { op = verb, kind = scope .. "_plugins", tenant = tenant, name = label, [scope] = owner, value = value }
end

local function change_scoped(plan, given, verb)
  local scope, tenant, owner, label = scoped_place(given.id)
  local entry = pending("plugins", resources.plugins, tenant, label)
  entry.kind, entry.name, entry.owner = OWNERS[scope], owner, entry
  if verb == "delete" then return scoped_op(scope, tenant, owner, label, verb, {}) end
  local value, errors = prepare(plan, resources.plugins, given.data or {}, entry, tenant)
  if not value then return nil, errors end
  return scoped_op(scope, tenant, owner, label, verb, value)
end

local function create_op(plan, resource, data, tenant)
  local value, errors = prepare(plan, resource, data, nil, tenant)
  if not value then return nil, errors end
  if resource.name == "plugins" then
    local scope, owner, fault = resources.scope_of(value)
    if not scope then return errors_of(fault) end
    if OWNERS[scope] then return scoped_op(scope, value.tenant or tenant or "default", owner, nil, "create", value) end
  end
  local ops, bad = resource.create(plan.later, value, { tenant_id = tenant })
  if not ops then return errors_of(bad) end
  take(plan, ops[1])
  return ops[1]
end

local function change_op(plan, kind, resource, given, verb, tenant)
  local name, own_tenant = given.id, tenant
  if kind == "plugins" then
    if scoped_place(name) then return change_scoped(plan, given, verb) end
    own_tenant, name = plugin_place(given.id)
    if not name then
      return failed("/id", "expected global:NAME, tenant:TENANT:NAME or, of what has it, such as "
        .. "route:TENANT:ROUTE:NAME")
    end
  end
  local entry = entities.find(plan.t, resource.kind, kind ~= "tenants" and own_tenant or nil, name)
    or pending(kind, resource, own_tenant, name)
  entry.tenant = entry.tenant or "default"
  local value, errors
  if verb ~= "delete" then
    value, errors = prepare(plan, resource, given.data or {}, entry, own_tenant)
    if not value then return nil, errors end
  end
  if kind == "plugins" then entry.op_tenant = own_tenant end
  return entities.change(verb, entry, value, given.if_match)[1]
end

local function op_of(plan, given, kind)
  local resource, verb = resource_of(kind), VERBS[given.action]
  local tenant = given.tenant_id or plan.tenant_id or "default"
  if given.action == "test" and not given.id then verb = "create" end
  local op, errors
  if kind == "backends" then
    op, errors = backend_op(plan, given, verb, given.tenant_id or type(given.data) == "table"
      and type(given.data.tenant_id) == "string" and given.data.tenant_id or tenant)
  elseif kind == "credentials" then
    op, errors = credential_op(plan, given, verb, tenant)
  elseif verb == "create" then
    op, errors = create_op(plan, resource, given.data, kind == "plugins" and (given.tenant_id or plan.tenant_id)
      or kind ~= "plugins" and tenant or nil)
  else
    op, errors = change_op(plan, kind, resource, given, verb, tenant)
  end
  if not op then return nil, errors end
  op.is_literal, op.is_test, op.if_match = true, given.action == "test" or nil, given.if_match
  return op
end

local function add_errors(errors, index, found)
  for _, one in ipairs(found) do
    if #errors >= MAX_ERRORS then return end
    errors[#errors + 1] = { index = index, detail = one.detail,
      pointer = ("/operations/%d%s"):format(index, one.pointer) }
  end
end

local function forbidden(request, kind)
  local permission = resource_of(kind).permission .. ":write"
  if request.identity.can(permission) then return nil end
  return problem.new("forbidden", "This needs the permission " .. permission .. ".")
end

--- Reads the operations of a batch.
-- @param t of control/transactions.lua
-- @param list of the request
-- @param options {kind = of operations that say none, tenant_id = the same}
-- @return operations of transactions, each with `action`, `shown_kind` and `shown_id`, in the order of the list; or
-- nil and a problem. Indexes in answers count from 0, as JSON pointers do.
function M.read(t, request, list, options)
  local taken = {}
  local plan = { t = t, request = request, tenant_id = options.tenant_id, taken = taken, later = later(t, taken),
    pools = {} }
  local ops, errors, allowed = {}, {}, {}
  local is_lenient = bodies.prefers(request, "handling=lenient")
  for i, given in ipairs(list) do
    slices.pause()
    local kind = type(given) == "table" and given.kind or options.kind
    if options.kind and kind ~= options.kind then
      add_errors(errors, i - 1, { { pointer = "/kind", detail = "expected " .. options.kind } })
    else
      local op, found = nil, faults_of(given, kind, is_lenient)
      if not found and not allowed[kind] then
        local bad = forbidden(request, kind)
        if bad then return nil, bad end
        allowed[kind] = true
      end
      if not found then op, found = op_of(plan, given, kind) end
      if op then
        op.action, op.shown_kind = given.action, kind
        op.shown_id = given.id or op.value and op.value.address or op.name or op.value and op.value.name
        ops[i] = op
      else
        add_errors(errors, i - 1, found)
      end
    end
  end
  if #errors == 0 then return ops end
  return nil, problem.new("invalid", ("operation %d: %s"):format(errors[1].index, errors[1].detail),
    { errors = errors })
end

return M

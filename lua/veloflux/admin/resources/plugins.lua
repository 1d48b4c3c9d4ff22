--- The resource of instances of plugins, global ones and those in lists of tenants, pools, routes and consumers.
local elements = require "veloflux.control.elements"
local entities = require "veloflux.admin.entities"
local parts = require "veloflux.admin.resources.parts"
local problem = require "veloflux.admin.problem"

local STRING = parts.STRING
local with_common, invalid, not_found = parts.with_common, parts.invalid, parts.not_found

local M = {}

local SCOPES = { pools = "pool", routes = "route", consumers = "consumer", tenants = "tenant" }
local KINDS = { pool = "pools", route = "routes", consumer = "consumers" }

local label = elements.label

local function plugin_id(entry)
  if not entry.owner then
    return entry.record.tenant and ("tenant:%s:%s"):format(entry.record.tenant, label(entry.record))
      or "global:" .. label(entry.record)
  end
  if entry.kind == "tenants" then return ("tenant:%s:%s"):format(entry.tenant, label(entry.record)) end
  return ("%s:%s:%s:%s"):format(SCOPES[entry.kind], entry.tenant, entry.name, label(entry.record))
end

local function show_plugin(entry, shown)
  shown.id = plugin_id(entry)
  shown.scope = shown.id:match "^[^:]+"
  shown.tenant = nil
  shown.tenant_id = entry.record.tenant or entry.owner and entry.tenant or "default"
  if KINDS[shown.scope] then shown[shown.scope] = entry.name end
end

local function list_plugins(t)
  local entries = entities.list(t, "plugins")
  for _, kind in ipairs { "tenants", "pools", "routes", "consumers" } do
    for _, owner in ipairs(entities.list(t, kind)) do
      if rawget(owner.record, "plugins") then
        for _, entry in ipairs(entities.elements(owner, "plugins")) do entries[#entries + 1] = entry end
      end
    end
  end
  return entries
end

local function with_id(entries, id)
  for _, entry in ipairs(entries) do
    if plugin_id(entry) == id then return entry end
  end
end

local function find_plugin(t, params)
  local id = params.id
  local scope, tenant, rest = id:match "^(%a+):([^:]+):(.+)$"
  local owner_name = rest and rest:match "^([^:]+):."
  if KINDS[scope] and owner_name then
    local owner = entities.find(t, KINDS[scope], tenant, owner_name)
    return owner and with_id(entities.elements(owner, "plugins"), id)
  end
  local found = with_id(entities.list(t, "plugins"), id)
  if found or scope ~= "tenant" then return found end
  local owner = entities.find(t, "tenants", nil, tenant)
  return owner and with_id(entities.elements(owner, "plugins"), id)
end

--- Returns the scope of a new instance and, of a pool, route or consumer, the name of that.
function M.scope_of(value)
  local scope, owner = value.scope, nil
  for name in pairs(KINDS) do
    if value[name] ~= nil then
      if owner then return nil, nil, invalid("/" .. name, "cannot be given together with " .. owner) end
      owner = name
    end
  end
  scope = scope or owner or (value.tenant and "tenant" or "global")
  if scope ~= "global" and scope ~= "tenant" and not KINDS[scope] then
    return nil, nil, invalid("/scope", "expected global, tenant, pool, route or consumer")
  end
  if owner and owner ~= scope then return nil, nil, invalid("/" .. owner, "has no meaning with scope " .. scope) end
  if KINDS[scope] and type(value[scope]) ~= "string" then
    return nil, nil, invalid("/" .. scope, ("required: the name of the %s"):format(scope))
  end
  return scope, value[scope]
end

local function create_plugin(t, value, params)
  local scope, owner_name, bad = M.scope_of(value)
  if not scope then return nil, bad end
  local tenant = value.tenant or params.tenant_id
  if scope == "tenant" and not tenant then return nil, invalid("/tenant_id", "required: the name of the tenant") end
  value.scope, value.pool, value.route, value.consumer, value.tenant = nil, nil, nil, nil, nil
  if type(value.name) ~= "string" then return nil, invalid("/name", "required: the name of a plugin") end
  local name = type(value.as) == "string" and label(value) or value.name
  if not KINDS[scope] then
    local of_tenant = scope == "tenant" and tenant or nil
    value.tenant = of_tenant
    local id = of_tenant and ("tenant:%s:%s"):format(of_tenant, name) or "global:" .. name
    if find_plugin(t, { id = id }) then return nil, problem.new("exists", ("There is %s already."):format(id)) end
    return entities.create("plugins", of_tenant, value, name)
  end
  local owner = entities.find(t, KINDS[scope], tenant or "default", owner_name)
  if not owner then return nil, not_found(scope, owner_name) end
  local id = ("%s:%s:%s:%s"):format(scope, owner.tenant, owner.name, name)
  if with_id(entities.elements(owner, "plugins"), id) then
    return nil, problem.new("exists", ("There is %s already."):format(id))
  end
  return parts.create_element(owner, "plugins", value)
end

M.resource = {
  name = "plugins", noun = "plugin instance", kind = "plugins", permission = "plugins",
  methods = parts.METHODS, order = "id",
  forms = { { collection = "/api/plugins", single = "/api/plugins/{id}" } },
  fields = with_common {
    { "scope", { type = "string", enum = { "global", "tenant", "pool", "route", "consumer" } }, "Where it runs.",
      takes = true },
    { "pool", STRING, "Of scope pool: its name.", takes = true },
    { "route", STRING, "Of scope route: its name.", takes = true },
    { "consumer", STRING, "Of scope consumer: its name.", takes = true },
  },
  list = list_plugins, find = find_plugin, show = show_plugin, create = create_plugin,
  change = function(op, entry, value, if_match)
    if entry.owner then return entities.change_element(op, entry.owner, "plugins", entry.index, value) end
    return entities.change(op, entry, value, if_match)
  end,
  prepare = function(value, entry)
    if not entry then return nil end
    local shown = {}
    show_plugin(entry, shown)
    for _, name in ipairs { "scope", "pool", "route", "consumer" } do
      if value[name] ~= nil and value[name] ~= shown[name] then return invalid("/" .. name, "cannot be changed") end
      value[name] = nil
    end
    if value.name == nil then value.name = entry.record.name end
    if value.as == nil then value.as = entry.record.as end
  end,
}

return M

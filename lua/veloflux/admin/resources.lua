--- The resources of the admin API. Everything else about them follows: rest.lua serves them, openapi.lua and the
-- reference describe them.
--
-- A resource is a table:
--   name          of the collection: "pools"; noun: what one is called
--   kind          of the model, and perhaps `field`, the list in it whose elements these are
--   permission    before ":read" and ":write"
--   methods       of a single one, besides GET: set of PUT, PATCH, DELETE
--   order         how lists are sorted: names of fields that tell any two apart
--   fields        list of {name, schema, description, takes}: what an object has besides the fields of its schema.
--                 Those with `takes` may be written, the others are accepted and ignored.
--   quick         map from fields to function(entry): what an entry says without being shown, `tenant_id` besides
--   elements      map from fields that are lists to the resource whose objects are in them
--   forms         where the core serves it: list of {collection = path or nil, single = path or nil}; {names} of
--                 `params`
--   list(t, params)         entries
--   check_filters(t, where, params)  a problem when a list is asked for by what is not there
--   find(t, params)         an entry; or nil, and perhaps a problem
--   show(entry, shown)      adds to what is shown
--   is_per_tenant true: names are unique within a tenant only
--   location(entry, shown)  the path of a new one, when it is not below that of the collection
--   create(t, value, params)                 a transaction; or nil and a problem
--   change(op, entry, value, if_match)       a transaction
--   prepare(value, entry)   changes what came in, or returns a problem
local elements = require "veloflux.control.elements"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local plugin_kind = require "veloflux.model.kinds.plugin"
local problem = require "veloflux.admin.problem"
local certificate = require "veloflux.model.kinds.certificate"
local crypto = require "veloflux.pdk.crypto"
local queue = require "veloflux.control.queue"
local encoding = require "veloflux.pdk.encoding"
local status = require "veloflux.admin.status"
local view = require "veloflux.model.view"
local x509 = require "veloflux.x509"

local M = {}

local ALL = { PUT = true, PATCH = true, DELETE = true }
local STRING, INTEGER, NUMBER = { type = "string" }, { type = "integer" }, { type = "number" }
local STRINGS = { type = "array", items = { type = "string" } }
local BOOLEAN, TIME = { type = "boolean" }, { type = { "string", "null" }, format = "date-time" }

--- What every object has.
local COMMON = {
  { "id", STRING, "What it is called in paths." },
  { "tenant_id", STRING, "Whose it is.", takes = true },
  { "version", INTEGER, "The version in which it last changed, its ETag." },
  { "created_at", TIME, "When it was made." },
  { "updated_at", TIME, "When it last changed." },
  { "origin", { type = "string", enum = { "api", "file" } }, "file: it stands in the conf file and is changed there." },
  { "source", STRING, "FILE:LINE where it stands, of origin file." },
}

local function with_common(...)
  local all = {}
  for _, list in ipairs { COMMON, ... } do
    for _, field in ipairs(list) do all[#all + 1] = field end
  end
  return all
end

local function invalid(pointer, detail)
  return problem.new("invalid", ("%s: %s"):format(pointer == "" and "body" or pointer:sub(2), detail),
    { errors = { { pointer = pointer, detail = detail } } })
end
M.invalid = invalid

local function not_found(noun, name)
  return problem.new("not_found", ("There is no %s %s."):format(noun, name))
end
M.not_found = not_found

-- What entries say by themselves, without being shown.
local BY_NAME = { name = function(entry) return entry.name end }

local function tenant_of(params) return params.tenant_id or "default" end

--- A resource whose objects are entities.
local function entity(resource)
  local kind = resource.kind
  resource.list = function(t) return entities.list(t, kind) end
  resource.find = resource.find or function(t, params)
    return entities.find(t, kind, kind ~= "tenants" and tenant_of(params) or nil, params.id)
  end
  resource.create = resource.create or function(_, value, params)
    local tenant = kind ~= "tenants" and (value.tenant or tenant_of(params)) or nil
    if kind ~= "tenants" then value.tenant = tenant end
    return entities.create(kind, tenant, value, value.name)
  end
  resource.change, resource.quick = entities.change, resource.quick or BY_NAME
  return resource
end

-- Pools ---------------------------------------------------------------------------------------------------

local BACKEND_FIELDS = with_common {
  { "pool", STRING, "The pool that it serves.", takes = true },
  { "status", { type = "string", enum = { "healthy", "unhealthy", "unknown", "ejected", "draining", "disabled" } },
    "What is known of it." },
  { "healthy", BOOLEAN, "It gets new requests." },
  { "reason", STRING, "Why it is so." },
  { "drain", { type = "string", enum = { "none", "draining", "disabled" } }, "Set at run time." },
  { "effective_weight", INTEGER, "The weight in force: that of run time, else the configured one." },
  { "connections", INTEGER, "Open now." },
  { "in_flight", INTEGER, "Requests under way." },
  { "requests", INTEGER, "Since the start." },
  { "errors", INTEGER, "Answers of 500 and more." },
  { "error_rate", NUMBER, "Their share of the requests." },
  { "response_time", NUMBER, "Milliseconds, a moving average." },
  { "responseTime", NUMBER, "The same." },
  { "latency", NUMBER, "The same." },
  { "load", NUMBER, "Its connections in use, in percent of the open ones." },
  { "uptime", INTEGER, "Seconds since it became usable." },
  { "last_check", TIME, "When it was checked; null: never." },
}

local function backend_id(entry) return elements.backend_id(entry.tenant, entry.name, entry.record.address.text) end

local function show_backend(entry, shown)
  shown.id, shown.pool = backend_id(entry), entry.name
  live.backend(entry.tenant, entry.name, entry.record.address.text, shown)
end

local function show_pool(entry, shown)
  for i, backend in ipairs(entities.elements(entry, "backends")) do
    show_backend(backend, shown.backends[i])
    shown.backends[i].tenant_id = entry.tenant
  end
  live.pool(entry.tenant, entry.name, shown)
end

local function is_own_field(fields, name)
  for _, field in ipairs(fields) do
    if field[1] == name then return true end
  end
end

--- Refuses to list the backends of pools that are not there.
local function check_pools(t, where, params)
  for _, name in ipairs(params.pool or {}) do
    for _, pool in ipairs(entities.list(t, "pools")) do
      if pool.name == name and pool.tenant == (where.tenant_id or pool.tenant) then return nil end
    end
  end
  return params.pool and not_found("pool", params.pool[#params.pool])
end

--- Takes what is only shown out of the elements of a list that came in.
local function forget_shown(list, fields)
  if not json.is_array(list) then return end
  for _, element in ipairs(list) do
    if type(element) == "table" then
      for name in pairs(element) do
        if is_own_field(fields, name) then element[name] = nil end
      end
    end
  end
end

M.pools = entity {
  name = "pools", noun = "pool", kind = "pools", permission = "pools", is_per_tenant = true,
  methods = ALL, order = "tenant_id,name",
  forms = { { collection = "/api/pools", single = "/api/pools/{id}" } },
  fields = with_common {
    { "status", { type = "string", enum = { "healthy", "degraded", "unhealthy" } }, "Of its backends together." },
    { "active_backends", INTEGER, "Backends that get new requests." },
    { "total_backends", INTEGER, "All of them." },
    { "requests", INTEGER, "Since the start." },
    { "errors", INTEGER, "Answers of 500 and more." },
    { "unavailable", INTEGER, "Requests for which there was no backend." },
  },
  show = show_pool,
  prepare = function(value) forget_shown(value.backends, BACKEND_FIELDS) end,
}

-- Backends ------------------------------------------------------------------------------------------------

local DEFAULT_POOL = "web-servers" -- what older clients mean that name none

local function backends_of(t, params)
  local entries = {}
  local pools
  if params.pool_name then
    local pool = entities.find(t, "pools", tenant_of(params), params.pool_name)
    if not pool then return nil, not_found("pool", params.pool_name) end
    pools = { pool }
  else
    pools = entities.list(t, "pools")
  end
  for _, pool in ipairs(pools) do
    for _, entry in ipairs(entities.elements(pool, "backends")) do entries[#entries + 1] = entry end
  end
  return entries
end

local function find_backend(t, params)
  local entries, bad = backends_of(t, params)
  if not entries then return nil, bad end
  local found
  for _, entry in ipairs(entries) do
    if backend_id(entry) == params.id then return entry end
    if entry.record.address.text == params.id and (not params.tenant_id or entry.tenant == params.tenant_id) then
      if found then
        return nil, problem.new("conflict", ("The backend %s is in the pools %s and %s: use its id."):format(params.id,
          found.name, entry.name))
      end
      found = entry
    end
  end
  return found
end

local function default_pool(t, params)
  return entities.find(t, "pools", tenant_of(params), DEFAULT_POOL) and DEFAULT_POOL
end

local function create_backend(t, value, params)
  local name = params.pool_name or value.pool or default_pool(t, params)
  if type(name) ~= "string" then return nil, invalid("/pool", "required: the name of a pool") end
  if params.pool_name and value.pool and value.pool ~= params.pool_name then
    return nil, invalid("/pool", "is not the pool of the path")
  end
  local tenant = value.tenant or tenant_of(params)
  local pool = entities.find(t, "pools", tenant, name)
  if not pool then return nil, not_found("pool", name) end
  value.pool, value.tenant = nil, nil
  for _, entry in ipairs(entities.elements(pool, "backends")) do
    if entry.record.address.text == value.address then
      return nil, problem.new("exists", ("The pool %s has the backend %s already."):format(name, value.address),
        { members = { rival = backend_id(entry) } })
    end
  end
  return entities.change_element("create", pool, "backends", nil, value), nil,
    { owner = pool, field = "backends", index = #entities.elements(pool, "backends") + 1 }
end

M.backends = {
  name = "backends", noun = "backend", kind = "pools", field = "backends", permission = "backends", methods = ALL,
  order = "tenant_id,pool,address", is_element = true,
  forms = { { collection = "/api/backends", single = "/api/backends/{id}" },
    { collection = "/api/pools/{pool_name}/backends" }, { single = "/api/backends/{pool_name}/{id}" } },
  fields = BACKEND_FIELDS,
  list = backends_of, check_filters = check_pools, find = find_backend, show = show_backend, create = create_backend,
  location = function(_, shown) return "/api/backends/" .. shown.id end,
  quick = { pool = function(entry) return entry.name end,
    address = function(entry) return entry.record.address.text end },
  change = function(op, entry, value)
    return entities.change_element(op, entry.owner, "backends", entry.index, value)
  end,
  prepare = function(value, entry)
    if not entry then return nil end
    if value.pool ~= nil and value.pool ~= entry.name then return invalid("/pool", "cannot be changed") end
    value.pool = nil
    if value.address == nil then value.address = entry.record.address.text end
  end,
}

-- Routes --------------------------------------------------------------------------------------------------

local function find_route(t, params)
  local found = entities.find(t, "routes", tenant_of(params), params.id)
  if found then return found end
  local host = params.id:lower()
  for _, entry in ipairs(entities.list(t, "routes")) do
    if entry.tenant == tenant_of(params) and (rawget(entry.record, "host") or ""):lower() == host then
      if found then
        return nil, problem.new("conflict", ("The host %s has several routes, such as %s and %s: use the id.")
          :format(params.id, found.name, entry.name))
      end
      found = entry
    end
  end
  return found
end

--- Returns what a route that names no host or no path is for: every host, and all paths. nil: it names them.
local function implied_host(record) return not (rawget(record, "host") or rawget(record, "hosts")) and "*" or nil end

local function implied_prefix(record)
  local path = rawget(record, "path") or rawget(record, "path_prefix") or rawget(record, "path_regex")
  return not path and "/" or nil
end

local function show_route(entry, shown)
  shown.host = shown.host or implied_host(entry.record)
  shown.path_prefix = shown.path_prefix or implied_prefix(entry.record)
  live.route(entry.tenant, entry.name, shown)
end

--- What was shown because it is implied is no news when it comes back.
local function forget_implied(value, entry)
  if not entry then return end
  if value.host == implied_host(entry.record) then value.host = nil end
  if value.path_prefix == implied_prefix(entry.record) then value.path_prefix = nil end
end

--- Makes a name for a route that came without: of its host and path.
local function route_name(t, tenant, value)
  local host = type(value.host) == "string" and value.host or json.is_array(value.hosts) and value.hosts[1] or "any"
  local path = value.path or value.path_prefix or value.path_regex or ""
  local base = (tostring(host):gsub("%*", "any") .. tostring(path)):lower():gsub("[^%w._-]+", "-")
  base = base:gsub("^[^%w]+", ""):gsub("%-+$", ""):sub(1, 100)
  if base == "" then base = "route" end
  local name, count = base, 1
  while entities.find(t, "routes", tenant, name) do
    count = count + 1
    name = base .. "-" .. count
  end
  return name
end

M.routes = entity {
  name = "routes", noun = "route", kind = "routes", permission = "routes", is_per_tenant = true,
  methods = ALL, order = "tenant_id,name",
  forms = { { collection = "/api/routes", single = "/api/routes/{id}" } },
  fields = with_common {
    { "requests", INTEGER, "Since the start." },
    { "errors", INTEGER, "Answers of 500 and more." },
  },
  optional = { name = true },
  quick = { name = BY_NAME.name, host = function(entry)
    return entry.record.host or implied_host(entry.record)
  end },
  find = find_route, show = show_route, prepare = forget_implied,
  create = function(t, value, params)
    value.tenant = value.tenant or tenant_of(params)
    value.name = value.name or route_name(t, value.tenant, value)
    return entities.create("routes", value.tenant, value, value.name)
  end,
}

-- Consumers and credentials -------------------------------------------------------------------------------

local function credential_of(record) return plugin_kind.plugin_of(record).credential end

local function credential_id(entry)
  local record = entry.record
  return elements.credential_id(record.type, record[credential_of(record).id])
end

local CREDENTIAL_ID = { "credential_id", STRING, "What it is called in paths." }

local function show_credential(entry, shown)
  shown.credential_id, shown.consumer = credential_id(entry), entry.name
  if shown.id == entry.name and not rawget(entry.record, "id") then shown.id = shown.credential_id end
end

local function credentials_by_id(entry)
  local by_id = {}
  for _, credential in ipairs(entry and entities.elements(entry, "credentials") or {}) do
    by_id[credential_id(credential)] = credential
  end
  return by_id
end

M.consumers = entity {
  name = "consumers", noun = "consumer", kind = "consumers", permission = "consumers",
  is_per_tenant = true, methods = ALL,
  order = "tenant_id,name",
  forms = { { collection = "/api/consumers", single = "/api/consumers/{id}" } },
  fields = with_common {},
  show = function(entry, shown)
    for i, credential in ipairs(entities.elements(entry, "credentials")) do
      shown.credentials[i].credential_id = credential_id(credential)
    end
  end,
  prepare = function(value, entry)
    if not json.is_array(value.credentials) then return nil end
    local by_id = credentials_by_id(entry)
    for _, credential in ipairs(value.credentials) do
      if type(credential) == "table" then
        local before = by_id[credential.credential_id]
        credential.credential_id, credential.consumer = nil, nil
        if before then view.unmask(credential, entities.open(before)) end
      end
    end
  end,
}

local SECRET_BYTES = 32 -- of one that is made here

--- Makes the secret that a credential needs and did not bring.
local function complete(value)
  local world = queue.world()
  local plugin = world and type(value.type) == "string" and world.tools.plugins:find(value.type)
  local of = plugin and plugin.credential
  if not of then return end
  for _, single in ipairs(of.config.fields) do
    local name, attr = next(single)
    if attr.secret and attr.required and value[name] == nil then
      value[name] = encoding.base64url_encode(crypto.random_bytes(SECRET_BYTES))
    end
  end
end

local function consumer_of(t, params)
  local consumer = entities.find(t, "consumers", tenant_of(params), params.consumer)
  if not consumer then return nil, not_found("consumer", params.consumer) end
  return consumer
end

M.credentials = {
  name = "credentials", noun = "credential", kind = "consumers", field = "credentials", is_per_tenant = true,
  permission = "credentials",
  methods = { DELETE = true }, order = "type,credential_id", is_element = true, reveals = true,
  forms = { { collection = "/api/consumers/{consumer}/credentials",
    single = "/api/consumers/{consumer}/credentials/{id}" } },
  fields = { CREDENTIAL_ID, { "consumer", STRING, "Whose it is." }, unpack(COMMON, 2) }, -- `id` may be its own field
  list = function(t, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    return entities.elements(consumer, "credentials")
  end,
  find = function(t, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    return credentials_by_id(consumer)[params.id]
  end,
  show = show_credential,
  create = function(t, value, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    value.tenant = nil
    complete(value)
    return entities.change_element("create", consumer, "credentials", nil, value), nil,
      { owner = consumer, field = "credentials", index = #entities.elements(consumer, "credentials") + 1 }
  end,
  change = function(op, entry, value)
    return entities.change_element(op, entry.owner, "credentials", entry.index, value)
  end,
}

-- Instances of plugins ------------------------------------------------------------------------------------

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
local function scope_of(value)
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

M.scope_of = scope_of

local function create_plugin(t, value, params)
  local scope, owner_name, bad = scope_of(value)
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
  return entities.change_element("create", owner, "plugins", nil, value), nil,
    { owner = owner, field = "plugins", index = #entities.elements(owner, "plugins") + 1 }
end

M.plugins = {
  name = "plugins", noun = "plugin instance", kind = "plugins", permission = "plugins", methods = ALL, order = "id",
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

local function seconds(value) return status.time(value * 1000) end

M.certificates = entity {
  name = "certificates", noun = "certificate", kind = "certificates", permission = "certificates", is_per_tenant = true,
  methods = ALL, order = "tenant_id,name",
  forms = { { collection = "/api/certificates", single = "/api/certificates/{id}" } },
  fields = with_common {
    { "names", STRINGS, "The hosts that it is for." },
    { "subject", STRING, "Whose it is." },
    { "issuer", STRING, "Who has signed it." },
    { "serial", STRING, "Its number with the issuer." },
    { "not_before", TIME, "When it begins." },
    { "not_after", TIME, "When it ends; of the whole chain, the first end." },
    { "fingerprint", STRING, "The SHA-256 of the certificate, hexadecimal." },
    { "key_type", STRING, "The kind of its key and the bits: EC-256, RSA-2048." },
    { "chain_length", INTEGER, "Certificates in it." },
    { "warnings", STRINGS, "What is wrong, or soon will be." },
  },
  show = function(entry, shown)
    local facts = certificate.facts(entry.record)
    shown.names, shown.subject, shown.issuer, shown.serial = json.array(view.copy(facts.names)), facts.subject,
      facts.issuer, facts.serial
    shown.not_before, shown.not_after = seconds(facts.not_before), seconds(facts.chain_not_after)
    shown.fingerprint, shown.chain_length = facts.fingerprint, facts.n
    shown.key_type = ("%s-%d"):format(facts.key_kind, facts.key_bits)
    shown.warnings = json.array()
    for i, found in ipairs(x509.lint(facts, os.time())) do shown.warnings[i] = found.message end
  end,
}

M.tenants = entity {
  name = "tenants", noun = "tenant", kind = "tenants", permission = "tenants", methods = ALL, order = "name",
  forms = { { collection = "/api/tenants", single = "/api/tenants/{id}" } },
  fields = with_common {},
}

M.templates = entity {
  name = "templates", noun = "template", kind = "templates", permission = "templates", is_per_tenant = true,
  methods = ALL, order = "tenant_id,name",
  forms = {}, -- the plugin `config` says where
  fields = with_common {},
}

-- What plugins store --------------------------------------------------------------------------------------

--- Returns the resource of a kind that a plugin stores.
-- @param kind of plugin/control/kinds.lua
function M.of_kind(kind)
  local name = kind.kind
  local resource = entity { name = name, noun = kind.noun, kind = name, permission = name, compiled = kind.compiled,
    is_per_tenant = kind.is_per_tenant, methods = ALL, order = kind.is_per_tenant and "tenant_id,name" or "name",
    forms = {}, fields = with_common {} }
  if kind.is_per_tenant then return resource end
  resource.prepare = function(value)
    if value.tenant ~= nil and value.tenant ~= "default" then
      return invalid("/tenant_id", ("%s are of no tenant"):format(name))
    end
    value.tenant = nil
  end
  resource.create = function(_, value) return entities.create(name, nil, value, value.name) end
  return resource
end

M.stored = {} -- resources of plugins, in the order of their names

--- Replaces the resources of plugins.
function M.set_stored(list) M.stored = list end

--- Returns a resource by its name, or nil.
function M.find(name)
  for _, list in ipairs { M.ALL, M.stored } do
    for _, resource in ipairs(list) do
      if resource.name == name then return resource end
    end
  end
end

--- Returns all resources, those of plugins behind the others.
function M.all()
  local all = {}
  for _, list in ipairs { M.ALL, M.stored } do
    for _, resource in ipairs(list) do all[#all + 1] = resource end
  end
  return all
end

M.pools.elements = { backends = M.backends }

--- All of them but those of plugins, in the order of the reference.
M.ALL = { M.pools, M.backends, M.routes, M.consumers, M.credentials, M.plugins, M.tenants, M.templates, M.certificates }

return M

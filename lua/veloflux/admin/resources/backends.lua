--- The resource of backends: the elements of a list of their pools. They are called by an id, or by their address where
-- that tells them apart.
local elements = require "veloflux.control.elements"
local entities = require "veloflux.admin.entities"
local live = require "veloflux.admin.live"
local parts = require "veloflux.admin.resources.parts"
local problem = require "veloflux.admin.problem"

local STRING, INTEGER, NUMBER, BOOLEAN, TIME = parts.STRING, parts.INTEGER, parts.NUMBER, parts.BOOLEAN, parts.TIME
local with_common, invalid, not_found, tenant_of = parts.with_common, parts.invalid, parts.not_found, parts.tenant_of

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
  { "last_used", TIME, "When it last answered a request; null: not since the start." },
}

local function backend_id(entry) return elements.backend_id(entry.tenant, entry.name, entry.record.address.text) end

local function show_backend(entry, shown)
  shown.id, shown.pool = backend_id(entry), entry.name
  live.backend(entry.tenant, entry.name, entry.record.address.text, shown)
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
  return parts.create_element(pool, "backends", value)
end

return {
  name = "backends", noun = "backend", kind = "pools", field = "backends", permission = "backends",
  methods = parts.METHODS, order = "tenant_id,pool,address", is_element = true,
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

--- The entities of the published snapshot, for pdk/model.lua: found by tenant and name, without tables of all of them.
-- What was found is remembered until the next snapshot, within bounds. Live figures of backends come from the state
-- area.
local ffi = require "ffi"
local bit = require "bit"
local layout = require "veloflux.compiler.layout"
local area = require "veloflux.runtime.area"
local lru = require "veloflux.runtime.lru"
local snapshot = require "veloflux.runtime.snapshot"
require "veloflux.totals" -- declares struct vf_totals_backend and its reader

ffi.cdef [[
int memcmp(const void *, const void *, size_t);
size_t vf_method_list(uint64_t mask, char *out);
]]
local C = layout.C

local REMEMBERED = 1000 -- entities, twice
local METHOD_LIST_BYTES = 512 -- VF_METHOD_LIST_BYTES

local M = {}

local header, published -- struct vf_snap_header *, struct vf_snapshot *
local found = lru.new(REMEMBERED, math.huge)
local tenants = {} -- name -> index

--- A snapshot is published; it is held until the next one is.
function M.publish(pointer)
  published = ffi.cast("const struct vf_snapshot *", pointer)
  header = snapshot.open(pointer)
  found, tenants = lru.new(REMEMBERED, math.huge), {}
  local records, count = snapshot.section(header, C.VF_SNAP_TENANTS)
  for i = 0, count - 1 do tenants[snapshot.text(header, records[i].name)] = i end
end

local function text(value) return snapshot.text(header, value) end

local function is_text(value, name)
  return value.len == #name and C.memcmp(ffi.cast("const char *", header) + value.offset, name, #name) == 0
end

--- Finds an entity. Returns its index, or nil.
local function scan(section, tenant, name)
  local records, count = snapshot.section(header, section)
  for i = 0, count - 1 do
    if records[i].tenant == tenant and is_text(records[i].name, name) then return i end
  end
end

--- Finds the pool of another tenant that a route of this one forwards to.
local function scan_used_pool(tenant, name)
  local routes, count = snapshot.section(header, C.VF_SNAP_ROUTES)
  local pools = snapshot.section(header, C.VF_SNAP_POOLS)
  for i = 0, count - 1 do
    local route = routes[i]
    if route.tenant == tenant and route.action == C.VF_ACTION_POOL and is_text(pools[route.pool].name, name) then
      return route.pool
    end
  end
end

local function find(section, tenant_name, name, look_further)
  local tenant = tenants[tenant_name]
  if not tenant then return nil end
  local key = ("%d\0%d\0%s"):format(section, tenant, name)
  local known = found:find(key)
  if not known then
    known = { index = scan(section, tenant, name) or look_further and look_further(tenant, name), bytes = 0 }
    found:put(key, known)
  end
  return known.index
end

-- Routes ----------------------------------------------------------------------------------------------

local PATH_KINDS = { [C.VF_PATH_EXACT] = "exact", [C.VF_PATH_REGEX] = "regex", [C.VF_PATH_PREFIX] = "prefix" }
local ACTIONS = { [C.VF_ACTION_POOL] = "pool", [C.VF_ACTION_REDIRECT] = "redirect", [C.VF_ACTION_RESPOND] = "respond" }

local function hosts_of(route)
  local bindings, hosts = snapshot.section(header, C.VF_SNAP_BINDINGS), {}
  for i = 0, route.bindings.count - 1 do hosts[i + 1] = text(bindings[route.bindings.first + i].host) end
  return hosts
end

local function methods_of(route)
  local methods = {}
  if route.methods == 0 then return methods end
  local out = ffi.new("char[?]", METHOD_LIST_BYTES)
  local known, more = ffi.string(out, C.vf_method_list(route.methods, out)), text(route.more_methods)
  for name in (known .. ", " .. more):gmatch "[^, ]+" do methods[#methods + 1] = name end
  return methods
end

local function name_of(section, index)
  local records = snapshot.section(header, section)
  return text(records[index].name)
end

local function plugins_of(chain)
  local list = {}
  if chain == ffi.cast("uint32_t", C.VF_SNAP_NONE) then return list end
  local record = snapshot.section(header, C.VF_SNAP_CHAINS)[chain]
  local members = snapshot.section(header, C.VF_SNAP_MEMBERS)
  local instances = snapshot.section(header, C.VF_SNAP_INSTANCES)
  for i = 0, record.members.count - 1 do
    local instance = instances[members[record.members.first + i]]
    list[i + 1] = { name = name_of(C.VF_SNAP_PLUGINS, instance.plugin), as = text(instance.as) }
  end
  return list
end

--- Returns a route as a table, or nil.
function M.route(tenant, name)
  local index = find(C.VF_SNAP_ROUTES, tenant, name)
  if not index then return nil end
  local route = snapshot.section(header, C.VF_SNAP_ROUTES)[index]
  local path = text(route.path)
  local out = { name = name, tenant = tenant, hosts = hosts_of(route), methods = methods_of(route),
    path = path == "" and "/" or path, path_kind = PATH_KINDS[route.path_kind], priority = route.priority,
    action = ACTIONS[route.action], strip_prefix = route.strip_prefix ~= 0, plugins = plugins_of(route.chain) }
  if route.action == C.VF_ACTION_POOL then
    out.pool = name_of(C.VF_SNAP_POOLS, route.pool)
  else
    out.status = route.status
    if route.action == C.VF_ACTION_REDIRECT then out.location = text(route.target) end
  end
  return out
end

-- Pools ---------------------------------------------------------------------------------------------------

local ALGORITHMS = { [C.VF_BALANCE_ROUND_ROBIN] = "round_robin", [C.VF_BALANCE_LEAST_CONN] = "least_conn",
  [C.VF_BALANCE_RANDOM] = "random", [C.VF_BALANCE_IP_HASH] = "ip_hash",
  [C.VF_BALANCE_CONSISTENT_HASH] = "consistent_hash", [C.VF_BALANCE_PEAK_EWMA] = "peak_ewma" }
local HEALTH = { [0] = "unknown", "up", "down" } -- enum vf_health_status
local DRAIN = { [0] = "active", "draining", "disabled" }

local figures = ffi.new "struct vf_totals_backend"

local function backend(index)
  C.vf_totals_backend(area.state(), published, index, figures)
  return { address = ffi.string(figures.address.data, figures.address.len), weight = figures.weight,
    configured_weight = figures.configured_weight, health = HEALTH[figures.health] or "unknown",
    state = DRAIN[figures.drain] or "active", is_usable = figures.is_usable ~= 0,
    in_flight = tonumber(figures.in_flight), connections = tonumber(figures.open),
    latency = tonumber(figures.latency_us) / 1e6 }
end

--- Returns a pool with its backends as they are now, or nil.
function M.pool(tenant, name)
  local index = find(C.VF_SNAP_POOLS, tenant, name, scan_used_pool)
  if not index then return nil end
  local pool = snapshot.section(header, C.VF_SNAP_POOLS)[index]
  local out = { name = name, tenant = name_of(C.VF_SNAP_TENANTS, pool.tenant), algorithm = ALGORITHMS[pool.algorithm],
    is_sticky = bit.band(pool.flags, C.VF_POOL_STICKY) ~= 0, backends = {} }
  for i = 0, pool.backends.count - 1 do out.backends[i + 1] = backend(pool.backends.first + i) end
  return out
end

-- Plugins -------------------------------------------------------------------------------------------------

local SCOPES = { [C.VF_SCOPE_GLOBAL] = "global", [C.VF_SCOPE_TENANT] = "tenant", [C.VF_SCOPE_POOL] = "pool",
  [C.VF_SCOPE_ROUTE] = "route", [C.VF_SCOPE_CONSUMER] = "consumer" }

--- Returns the instances that concern a tenant: its own, and those of none.
function M.plugins(tenant_name)
  local records, count = snapshot.section(header, C.VF_SNAP_INSTANCES)
  local list, none = {}, ffi.cast("uint32_t", C.VF_SNAP_NONE)
  for i = 0, count - 1 do
    local instance = records[i]
    if instance.tenant == none or instance.tenant == tenants[tenant_name] then
      list[#list + 1] = { name = name_of(C.VF_SNAP_PLUGINS, instance.plugin), as = text(instance.as),
        scope = SCOPES[instance.scope], priority = instance.priority,
        on_error = instance.on_error == C.VF_ON_ERROR_CONTINUE and "continue" or "fail" }
    end
  end
  return list
end

return M

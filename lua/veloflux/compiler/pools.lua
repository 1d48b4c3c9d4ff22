--- Pools, backends and health checks.
local bit = require "bit"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local slices = require "veloflux.slices"
local traffic = require "veloflux.compiler.traffic"

local C, NONE, u64 = layout.C, layout.NONE, sink.u64

local ALGORITHMS = {
  round_robin = C.VF_BALANCE_ROUND_ROBIN, weighted_round_robin = C.VF_BALANCE_ROUND_ROBIN,
  least_conn = C.VF_BALANCE_LEAST_CONN, least_connections = C.VF_BALANCE_LEAST_CONN,
  random = C.VF_BALANCE_RANDOM, ip_hash = C.VF_BALANCE_IP_HASH,
  consistent_hash = C.VF_BALANCE_CONSISTENT_HASH, peak_ewma = C.VF_BALANCE_PEAK_EWMA,
}
local HASH_ON = { ip = C.VF_HASH_ON_IP, header = C.VF_HASH_ON_HEADER, cookie = C.VF_HASH_ON_COOKIE,
  query = C.VF_HASH_ON_QUERY, path = C.VF_HASH_ON_PATH }
local PROXY_PROTOCOL = { off = 0, v1 = 1, v2 = 2 }
local PROTOCOL = { h1 = C.VF_PROTOCOL_H1, h2 = C.VF_PROTOCOL_H2, auto = C.VF_PROTOCOL_AUTO }
local HEALTH_TYPES = { http = C.VF_HEALTH_HTTP, tcp = C.VF_HEALTH_TCP }

local M = {}

local function is_on(health) return health and health.enabled end

--- Merges the pool's health check and the backend's own fields. Returns nil when it is not checked.
local function health_of(pool, backend)
  local general, own = pool.health_check, backend.health_check
  if own == false then return nil end
  if not own then return is_on(general) and general or nil end
  local base = general or M.default_health
  local merged = setmetatable({}, { __index = function(_, key)
    local value = rawget(own, key)
    if value ~= nil then return value end
    return base[key]
  end })
  return is_on(merged) and merged or nil
end

--- The defaults of a health check, for backends that are checked in a pool that is not.
M.default_health = require("veloflux.model").types.pools.by_name.health_check.forms.map.from_default {}

local function write_ranges(record, expected)
  local list = type(expected) == "table" and expected or { expected }
  for i, text in ipairs(list) do
    local low, high = text:match "^(%d+)%-(%d+)$"
    record.ranges[i - 1].low = tonumber(low or text)
    record.ranges[i - 1].high = tonumber(high or text)
  end
  record.n_ranges = #list
end

local function write_health(to, health)
  if not health then return NONE end
  local record, index = to:add(C.VF_SNAP_HEALTH)
  record.type = HEALTH_TYPES[health.type]
  record.rise, record.fall = health.rise, health.fall
  record.interval_ms, record.timeout_ms = health.interval, health.timeout
  to:text(health.path, record.path)
  to:text(health.host or "", record.host)
  write_ranges(record, health.expected_status)
  return index
end

local function write_backend(to, pool, pool_index, backend, record, shared_health)
  local address = backend.address
  record.id = sink.id("backend", pool.tenant, pool.name, address.text)
  record.slot = to:slot("backends", record.id)
  record.pool, record.weight = pool_index, backend.weight
  to:text(address.text, record.address_text)
  to:text(address.host, record.host)
  sink.address(address, record.address)
  if backend.health_check == nil then
    record.health = shared_health
  else
    record.health = write_health(to, health_of(pool, backend))
  end
end

local function write_backends(to, pool, pool_index, out)
  local backends = pool.backends
  if #backends == 0 then return end
  local shared_health = write_health(to, health_of(pool, {}))
  local records, first = to:add(C.VF_SNAP_BACKENDS, #backends)
  for i, backend in ipairs(backends) do
    write_backend(to, pool, pool_index, backend, records + (i - 1), shared_health)
  end
  out.first, out.count = first, #backends
end

local function flags_of(pool)
  local via = pool.via
  if type(via) == "boolean" then via = { request = via, response = via } end
  return bit.bor(
    via.request and C.VF_POOL_VIA_REQUEST or 0,
    via.response and C.VF_POOL_VIA_RESPONSE or 0,
    pool.x_forwarded and C.VF_POOL_X_FORWARDED or 0,
    pool.forwarded and C.VF_POOL_FORWARDED or 0,
    pool.sticky_sessions and C.VF_POOL_STICKY or 0,
    pool.passive_health and C.VF_POOL_PASSIVE_HEALTH or 0,
    pool.shared and C.VF_POOL_SHARED or 0)
end

local function write_sticky(to, pool, record)
  local sticky = pool.sticky_sessions
  if not sticky then return end
  local settings = type(sticky) == "table" and sticky or M.default_sticky
  to:text(settings.cookie, record.sticky_cookie)
  record.sticky_ttl_ms = settings.ttl == math.huge and 0 or settings.ttl
end

M.default_sticky = require("veloflux.model").types.pools.by_name.sticky_sessions.forms.map.from_default {}

local function write_pool(to, pool, record, tenants, secure)
  record.id = sink.id("pool", pool.tenant, pool.name)
  record.slot = to:slot("pools", record.id)
  record.tenant = tenants[pool.tenant].index
  to:text(pool.name, record.name)
  record.algorithm = ALGORITHMS[pool.algorithm]
  record.hash_on = HASH_ON[pool.hash_on.type]
  to:text(pool.hash_on.name or "", record.hash_name)
  record.flags = flags_of(pool)
  record.proxy_protocol = PROXY_PROTOCOL[pool.proxy_protocol]
  record.max_connections = u64(pool.max_connections)
  record.protocol = PROTOCOL[pool.protocol]
  record.tls = secure:upstream(pool)
  write_sticky(to, pool, record)
end

--- Returns the positions of the pools that are to be written, as runs: {position, length, ...}.
local function to_write(model, carried, first)
  if carried then return carried:pools(first) end
  return { 1, #model.pools }
end

--- Writes the TLS of pools that were carried over: what it refers to is written anew.
local function write_carried_tls(records, indexes, first, carried, secure, tls_pools)
  for _, pool in ipairs(carried:tls_pools()) do
    local index = indexes[pool]
    if index then
      records[index - first].tls = secure:upstream(pool)
      tls_pools[#tls_pools + 1] = pool
    end
  end
end

--- Writes all pools.
-- @param tenants name -> {index, ...}
-- @param secure compiler/tls.lua
-- @param carried compiler/carry.lua, or nil: nothing is carried over
-- @return table from pool record to its index; what the next compilation needs: {plain_policy, tls_pools}
function M.write(to, model, tenants, secure, carried)
  local indexes, pools, tls_pools, policies = {}, model.pools, {}, {}
  if #pools == 0 then return indexes, { tls_pools = tls_pools } end
  local records, first = to:add(C.VF_SNAP_POOLS, #pools)
  local fresh = to_write(model, carried, first)
  if carried then
    for i = 1, #pools do indexes[pools[i]] = first + i - 1 end
    for k = 1, #fresh, 2 do
      for i = fresh[k], fresh[k] + fresh[k + 1] - 1 do indexes[pools[i]] = nil end
    end
    write_carried_tls(records, indexes, first, carried, secure, tls_pools)
    policies.plain = carried:plain_policy()
  end
  for k = 1, #fresh, 2 do
    for i = fresh[k], fresh[k] + fresh[k + 1] - 1 do
      slices.pause()
      local pool, record = pools[i], records[i - 1]
      indexes[pool] = first + i - 1
      write_pool(to, pool, record, tenants, secure)
      if pool.tls then tls_pools[#tls_pools + 1] = pool end
      record.policy = traffic.complete_pool(to, model.node, pool, policies)
      write_backends(to, pool, first + i - 1, record.backends)
    end
  end
  if carried then carried:note_pools(indexes) end
  return indexes, { plain_policy = policies.plain, tls_pools = tls_pools }
end

return M

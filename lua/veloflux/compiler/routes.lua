--- Routes, the hosts that they answer for, and their conditions. The loop that counts: 10,000 routes.
local ffi = require "ffi"
local bit = require "bit"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local slices = require "veloflux.slices"
local traffic = require "veloflux.compiler.traffic"
local sorted = require "veloflux.sorted"
local hosts_of = require("veloflux.model.check").hosts_of

ffi.cdef [[ int vf_method_read(const char *name, size_t len); ]]
local C = layout.C
local EXTENSION = 63 -- VF_METHOD_OTHER
local EVERY_HOST = { "*" }
local DOT, SLASH = 46, 47

local M = {}

local function write_bindings(to, index, route, tenant)
  local _, hosts = hosts_of(route)
  if not hosts then hosts = tenant.name == "default" and EVERY_HOST or tenant.hosts end
  local records = to:add(C.VF_SNAP_BINDINGS, #hosts)
  for i = 1, #hosts do
    records[i - 1].route = index
    local host = hosts[i]:lower()
    if host:byte(-1) == DOT then host = host:sub(1, -2) end
    to:text(host, records[i - 1].host)
  end
end

local function write_path(to, route, record)
  local path = route.path
  if path then
    record.path_kind = C.VF_PATH_EXACT
  elseif route.path_regex then
    path, record.path_kind = route.path_regex, C.VF_PATH_REGEX
  else
    path, record.path_kind = route.path_prefix or "/", C.VF_PATH_PREFIX
    if path:byte(-1) == SLASH then path = path:sub(1, -2) end
  end
  to:text(path, record.path)
end

local function write_methods(to, route, record)
  local more = {}
  for _, name in ipairs(route.methods) do
    local method = C.vf_method_read(name, #name)
    if method == EXTENSION then more[#more + 1] = name end
    record.methods = bit.bor(record.methods, bit.lshift(1ULL, method))
  end
  if more[1] then to:text(table.concat(more, ", "), record.more_methods) end
end

local function test_of(wanted)
  if type(wanted) == "string" then return C.VF_TEST_EQUAL, wanted end
  if wanted.regex then return C.VF_TEST_REGEX, wanted.regex end
  return wanted.present and C.VF_TEST_PRESENT or C.VF_TEST_ABSENT, ""
end

local function write_conditions(to, kind, map, out)
  for _, name in ipairs(sorted.names(map)) do
    local record, index = to:add(C.VF_SNAP_CONDITIONS)
    local test, value = test_of(map[name])
    record.kind, record.test = kind, test
    to:text(kind == C.VF_CONDITION_HEADER and name:lower() or name, record.name)
    to:secret(value, record.value)
    if out.count == 0 then out.first = index end
    out.count = out.count + 1
  end
end

local function write_action(to, route, record, pools)
  record.pool = layout.NONE
  local redirect, respond = route.redirect, route.respond
  if route._pool then
    record.action, record.pool = C.VF_ACTION_POOL, pools[route._pool]
  elseif redirect then
    record.action = C.VF_ACTION_REDIRECT
    record.status = type(redirect) == "table" and redirect.status or 301
    to:text(type(redirect) == "table" and redirect.to or redirect, record.target)
  else
    record.action, record.status = C.VF_ACTION_RESPOND, respond.status
    to:text(respond.body, record.body)
    to:text(respond.type, record.content_type)
  end
  if route.strip_prefix then record.strip_prefix = 1 end
  if route.rewrite then
    record.has_rewrite = 1
    to:text(route.rewrite, record.rewrite)
  end
end

local function write_edits(to, route, record, shared)
  local pool = route._pool
  local own = rawget(route, "headers")
  if not own and not (pool and pool.headers) then return end
  if not own and shared[pool] then
    record.edits = shared[pool]
    return
  end
  traffic.edits(to, { pool or {}, route }, record.edits)
  if not own then shared[pool] = ffi.new("struct vf_snap_edits", record.edits) end
end

local Writer = {}
Writer.__index = Writer

--- Writes the route at a position of the model.
function Writer:route(position)
  local to, route, record, places = self.to, self.routes[position], self.records[position - 1], self.places
  local tenant = places.tenants[route.tenant]
  record.id = sink.id("route", route.tenant, route.name)
  record.slot = to:slot("routes", record.id)
  record.tenant = tenant.index
  record.inactive = tenant.active and 0 or 1
  record.priority = route.priority
  to:text(route.name, record.name)
  to:text(route._file .. ":" .. route._line, record.source)
  write_path(to, route, record)
  write_bindings(to, self.first + position - 1, route, tenant)
  if rawget(route, "methods") then write_methods(to, route, record) end
  if route.match then
    write_conditions(to, C.VF_CONDITION_HEADER, route.match.headers, record.conditions)
    write_conditions(to, C.VF_CONDITION_QUERY, route.match.query, record.conditions)
  end
  write_action(to, route, record, places.pools)
  record.chain = places.chains:of_route(route._chain)
  record.client_cert = places.secure:route(route)
  record.policy = traffic.overrides(to, route._pool, route, self.shared_policies)
  write_edits(to, route, record, self.shared_edits)
end

--- Writes all routes.
-- @param places {pools = pool record -> index, tenants = name -> {index, name, hosts, active}, chains = of
-- compiler/plugins.lua, secure = of compiler/tls.lua}
-- @param carried compiler/carry.lua, or nil: nothing is carried over
function M.write(to, model, places, carried)
  local routes = model.routes
  if #routes == 0 then return carried and carried:close() end
  local records, first = to:add(C.VF_SNAP_ROUTES, #routes)
  local writer = setmetatable({ to = to, routes = routes, places = places, records = records, first = first,
    shared_policies = {}, shared_edits = {} }, Writer)
  if carried then return carried:routes(first, places, function(i) writer:route(i) end) end
  for i = 1, #routes do
    slices.pause()
    writer:route(i)
  end
end

return M

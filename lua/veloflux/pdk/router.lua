--- The route that was found, and what it forwards to.
local bit = require "bit"
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local C = layout.C

ffi.cdef [[ struct vf_str vf_method_name(int method); ]]

---@class pdk.router
local M = {}

local ANY = phase.set("request")
local HEADER, EQUAL, REGEX, PRESENT = C.VF_CONDITION_HEADER, C.VF_TEST_EQUAL, C.VF_TEST_REGEX, C.VF_TEST_PRESENT
local MOST = 1000 -- hosts or conditions
local found, pool = ffi.new "struct vf_route_view", ffi.new "struct vf_service_view"
local host, condition = ffi.new "struct vf_str", ffi.new "struct vf_condition_view"

--- Entities as plugins see them, by kind, tenant and name: of one snapshot they do not change, so they are made once.
local known, known_version = { routes = {}, services = {} }, 0ULL

--- Returns where the entities of a tenant are kept.
local function shelf(kind, version, tenant)
  if version ~= known_version then known, known_version = { routes = {}, services = {} }, version end
  local of_kind = known[kind]
  local of_tenant = of_kind[tenant]
  if not of_tenant then
    of_tenant = {}
    of_kind[tenant] = of_tenant
  end
  return of_tenant
end

local function hosts()
  local list = {}
  for i = 0, MOST do
    if C.vf_view_route_host(task.run.ex, i, host) == 0 then break end
    local name = view.text(host)
    if name ~= "*" then list[#list + 1] = name end
  end
  return list[1] and list or nil
end

local function methods()
  local list = {}
  for number = 0, 62 do
    local name = bit.band(bit.rshift(found.methods, number), 1) ~= 0 and view.text(C.vf_method_name(number)) or ""
    if name ~= "" then list[#list + 1] = name end
  end
  for name in view.text(found.more_methods):gmatch "[^, ]+" do list[#list + 1] = name end
  return list[1] and list or nil
end

--- Returns what header fields have to be: lists by name, expressions behind `~*`.
local function headers()
  local wanted
  for i = 0, MOST do
    if C.vf_view_route_condition(task.run.ex, i, condition) == 0 then break end
    local test, value = condition.test, view.text(condition.value)
    if condition.kind == HEADER and (test == EQUAL or test == REGEX or test == PRESENT) then
      wanted = wanted or {}
      local name = view.text(condition.name)
      wanted[name] = wanted[name] or {}
      table.insert(wanted[name], test == EQUAL and value or "~*" .. (test == REGEX and value or ".*"))
    end
  end
  return wanted
end

local function make_route()
  local name, path = view.text(found.name), view.text(found.path)
  local is_regex = found.path_kind == C.VF_PATH_REGEX
  local shown = is_regex and "~" .. path or path == "" and "/" or path
  return { id = name, name = name, tenant = view.text(found.tenant), protocols = { "http", "https" }, hosts = hosts(),
    methods = methods(), headers = headers(), paths = { shown }, path_regex = is_regex and path or nil,
    strip_path = found.strip_prefix ~= 0, preserve_host = true, regex_priority = found.priority, path_handling = "v0",
    https_redirect_status_code = 426, request_buffering = false, response_buffering = false,
    service = found.pool.len > 0 and { id = view.text(found.pool) } or nil }
end

--- Returns the route: {id, name, tenant, protocols, hosts, methods, headers, paths, path_regex, regex_priority,
-- strip_path, preserve_host, service}, and path_handling, request_buffering, response_buffering and
-- https_redirect_status_code, which are the same for all; a regular expression is in `paths` behind `~`. nil when no
-- route was found. The table is shared: do not change it.
---@return table|nil
function M.get_route()
  if not ANY[task.run.phase] then phase.wrong(ANY, "router.get_route") end
  if C.vf_view_route(task.run.ex, found) == 0 then return nil end
  if found.version == 0 then return make_route() end
  local of_tenant, name = shelf("routes", found.version, view.text(found.tenant)), view.text(found.name)
  local route = of_tenant[name]
  if not route then
    route = make_route()
    of_tenant[name] = route
  end
  return route
end

local OFF = 0xffffffffffffffffULL

local function milliseconds(value) return value ~= OFF and tonumber(value) or nil end

--- The scheme that requests to a pool would have in a URL.
local function protocol()
  if pool.protocol == C.VF_PROTOCOL_H2 then return pool.is_tls ~= 0 and "grpcs" or "grpc" end
  return pool.is_tls ~= 0 and "https" or "http"
end

local function make_service(name)
  local service = { id = name, name = name, tenant = view.text(pool.tenant), enabled = true, protocol = protocol(),
    host = name, port = pool.port ~= 0 and pool.port or pool.is_tls ~= 0 and 443 or 80, retries = pool.max_tries - 1,
    connect_timeout = milliseconds(pool.connect_ms), write_timeout = milliseconds(pool.write_ms),
    read_timeout = milliseconds(pool.read_ms) }
  if pool.is_tls ~= 0 then service.tls_verify, service.tls_verify_depth = pool.verify ~= 0, pool.depth end
  return service
end

--- Returns the pool that the route names, also when a plugin has chosen another one: {id, name, tenant, enabled,
-- protocol, host, port, retries, connect_timeout, write_timeout, read_timeout (ms, nil: none), tls_verify,
-- tls_verify_depth}. `protocol` is "http", "https" with `tls`, "grpc" or "grpcs" with `protocol: h2`; `host` is the
-- pool's name, `port` that of its first backend. nil when the route names none. The table is shared: do not change it.
---@return table|nil
function M.get_service()
  if not ANY[task.run.phase] then phase.wrong(ANY, "router.get_service") end
  if C.vf_view_service(task.run.ex, pool) == 0 then
    if C.vf_view_route(task.run.ex, found) == 0 or found.pool.len == 0 or found.version ~= 0 then return nil end
    local name = view.text(found.pool) -- the exchange has outlived its snapshot
    return { id = name, name = name, host = name }
  end
  local of_tenant, name = shelf("services", pool.version, view.text(pool.tenant)), view.text(pool.name)
  local service = of_tenant[name]
  if not service then
    service = make_service(name)
    of_tenant[name] = service
  end
  return service
end

return M

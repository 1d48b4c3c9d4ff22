--- The route that was found, and what it forwards to.
local bit = require "bit"
local ffi = require "ffi"
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local C = ffi.C

ffi.cdef [[ struct vf_str vf_method_name(int method); ]]

---@class pdk.router
local M = {}

local ANY = phase.set("request")
local found = ffi.new "struct vf_route_view"
local host = ffi.new "struct vf_str"

--- Routes as plugins see them, by tenant and name: of one snapshot they do not change, so they are made once.
local known, known_version = {}, 0ULL

local function hosts()
  local list = {}
  for i = 0, 1000 do
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

local function make_route()
  local name, path = view.text(found.name), view.text(found.path)
  local is_regex = found.path_kind == 1
  local shown = is_regex and "~" .. path or path == "" and "/" or path
  return { id = name, name = name, tenant = view.text(found.tenant), protocols = { "http", "https" }, hosts = hosts(),
    methods = methods(), paths = { shown }, path_regex = is_regex and path or nil,
    strip_path = found.strip_prefix ~= 0, preserve_host = true,
    service = found.pool.len > 0 and { id = view.text(found.pool) } or nil }
end

--- Returns the route: {id, name, tenant, protocols, hosts, methods, paths, path_regex, strip_path, preserve_host,
-- service}; a regular expression is in `paths` behind `~`. nil when no route was found. The table is shared: do not
-- change it.
---@return table|nil
function M.get_route()
  if not ANY[task.run.phase] then phase.wrong(ANY, "router.get_route") end
  if C.vf_view_route(task.run.ex, found) == 0 then return nil end
  if found.version == 0 then return make_route() end
  if found.version ~= known_version then known, known_version = {}, found.version end
  local tenant, name = view.text(found.tenant), view.text(found.name)
  local of_tenant = known[tenant]
  if not of_tenant then
    of_tenant = {}
    known[tenant] = of_tenant
  end
  local route = of_tenant[name]
  if not route then
    route = make_route()
    of_tenant[name] = route
  end
  return route
end

--- Returns the pool that the route forwards to: {id, name, host, protocol}; nil when it forwards to none.
---@return table|nil
function M.get_service()
  if not ANY[task.run.phase] then phase.wrong(ANY, "router.get_service") end
  if C.vf_view_route(task.run.ex, found) == 0 or found.pool.len == 0 then return nil end
  local name = view.text(found.pool)
  return { id = name, name = name, host = name, protocol = "http" }
end

return M

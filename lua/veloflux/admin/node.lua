--- The node itself: what was built and where it runs.
local cluster = require "veloflux.cluster"
local ffi = require "ffi"
local host = require "veloflux.admin.host"
local json = require "veloflux.pdk.json"
local nodes = require "veloflux.pdk.node"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

ffi.cdef [[
const char *uv_version_string(void);
const char *OpenSSL_version(int which);
const char *vf_build_date(void);
]]

local M = {}

--- Splits the version of this build, "0.1.0+abc1234": the revision is null outside of a repository.
local function parts_of(version)
  local commit = version:match "%+(%x+)$"
  return version:match "^[^+]+", commit or json.null
end

local function build_date() return ffi.string(ffi.C.vf_build_date()) end

--- Returns the document of GET /api/version.
function M.version(version)
  local release, commit = parts_of(version)
  return { name = "VeloFlux", version = version, release = release, commit = commit, build_date = build_date() }
end

local function plugins_of(model)
  local seen, names = {}, json.array()
  local function take(instance)
    if not seen[instance.name] then names[#names + 1] = instance.name end
    seen[instance.name] = true
  end
  for _, instance in ipairs(model.plugins) do take(instance) end
  for _, kind in ipairs { "tenants", "pools", "routes", "consumers" } do
    for _, entity in ipairs(model[kind]) do
      for _, instance in ipairs(rawget(entity, "plugins") or {}) do take(instance) end
    end
  end
  table.sort(names)
  return names
end

local function features_of(model)
  local node = model.node
  local listeners = json.array()
  for i, listener in ipairs(node.listeners) do listeners[i] = listener.name end
  return { listeners = listeners, authentication = node.admin.auth.enabled, metrics_open = node.admin.metrics_open,
    plugins = plugins_of(model), tenants = #model.tenants }
end

--- Returns the document of GET /api/system/info.
-- @param version of this build
-- @param model or nil: none was published
function M.info(version, model)
  local node, memory = totals.node(), host.memory()
  local release, commit = parts_of(version)
  local build = { release = release, commit = commit, date = build_date(), lua = jit.version,
    libuv = ffi.string(ffi.C.uv_version_string()), openssl = ffi.string(ffi.C.OpenSSL_version(0)) }
  return { version = version, build = build, hostname = nodes.get_hostname(), os = jit.os:lower(), arch = jit.arch,
    kernel = host.kernel() or json.null, cpus = host.CORES, memory_total = memory and memory.total or json.null,
    started_at = status.time(node.started_wall_ms), node_id = cluster.id() or json.null, workers = node.n_workers,
    generation = node.generation, features = model and features_of(model) or json.null }
end

return M

--- The configuration of a gateway under test: one route to one pool, the plugins of the spec on it, and whatever the
-- spec says besides. It goes the way of every conf: model, compiler, snapshot.
local ffi = require "ffi"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local grammar = require "veloflux.conf.grammar"
local json = require "veloflux.pdk.json"
local plugin_loader = require "veloflux.plugin.loader"
local plugin_schema = require "veloflux.plugin.schema"
local tables = require "veloflux.compiler.tables"
local native = require "veloflux.kit.native"

local C = native.C

local M = {}

--- Where the pool of the spec's route is (RFC 5737), and whom its connections are for.
M.UPSTREAM = "192.0.2.80:80"
M.NAME = "kit.start" -- of the conf, in problems
local MASTER_KEY = ("plugin kit "):rep(3)
-- Or they would be made, and written down.
local ADMIN, CLUSTER = { auth = { password = "of the plugin kit" } }, { node_id = "kit" }

--- An empty table of a spec may be a list: the schema knows.
local function with_lists(compiled, value)
  if type(value) ~= "table" or type(compiled) ~= "table" then return value end
  if compiled.element and next(value) == nil then return json.array {} end
  local result = {}
  for key, each in pairs(value) do
    local of = compiled.by_name and compiled.by_name[key] or compiled.element or compiled.value
    result[key] = with_lists(of, each)
  end
  return result
end

local function merged(base, more)
  local result = {}
  for key, value in pairs(base) do result[key] = value end
  for key, value in pairs(more or {}) do result[key] = value end
  return result
end

local function plugins_of(loader, list)
  local result = {}
  for i, item in ipairs(list or {}) do
    if type(item) == "string" then item = { name = item } end
    local plugin = loader:find(item.name or "")
    result[i] = item
    if plugin and item.config then
      result[i] = merged(item, { config = with_lists(plugin.compiled, item.config) })
    end
  end
  return json.array(result)
end

--- Returns the conf of a gateway as a table.
-- @param options of kit.start
-- @param paths list of folders of plugins
function M.conf(options, paths)
  local loader = plugin_loader.new(paths)
  local function plugins(list) return plugins_of(loader, list) end
  local route = merged({ name = "route", pool = "upstream", plugins = options.plugins or {} }, options.route)
  local pool = merged({ name = "upstream", backends = { { address = M.UPSTREAM } } }, options.pool)
  local root = merged({
    plugin_path = paths, master_key = MASTER_KEY, admin = ADMIN, cluster = CLUSTER,
    listeners = { { name = "http", address = "127.0.0.1:8000" } },
    log = { level = options.log_level or "info", access = { path = "off" } },
    pools = { pool }, routes = { route },
    consumers = options.consumers, plugins = options.global_plugins, tenants = options.tenants,
  }, options.conf)
  for _, kind in ipairs { "routes", "pools", "consumers", "tenants" } do
    for i, entity in ipairs(root[kind] or {}) do
      if entity.plugins then root[kind][i] = merged(entity, { plugins = plugins(entity.plugins) }) end
    end
  end
  if root.plugins then root.plugins = plugins(root.plugins) end
  return with_lists(grammar.file, root)
end

--- Reads a conf. Returns the model, or nil and the problems.
function M.load(root)
  local text = assert(json.canonical(root))
  return conf.load { source = { text = text, name = M.NAME, dir = "/" }, env = {} }
end

local function kind_of(credential) return getmetatable(credential).plugin.credential end

local function stage(model, compiled)
  return assert(tables.stage(model, { kind_of = kind_of,
    plain = function(credential) return plugin_schema.plain(kind_of(credential).record, credential) end,
    chain_of = function(consumer)
      local chain = compiled.consumer_chains and compiled.consumer_chains[consumer]
      return chain and tables.chain_key(chain.hash)
    end }))
end

--- Compiles a model and makes a gateway use it.
-- @param kit struct vf_kit *
-- @return true; or nil and a message
function M.publish(kit, model, version)
  local state = C.vf_kit_state(kit)
  local compiled, problem = compiler.compile(model, { version = version, state = state })
  if not compiled then return nil, conf.format(problem) end
  local fd = assert(compiler.memfd(compiled))
  assert(tables.publish(stage(model, compiled), C.vf_kit_publish_stage))
  local fault = ffi.new "char[1024]"
  local rc = C.vf_kit_publish(kit, fd, fault, ffi.sizeof(fault))
  if rc ~= 0 then return nil, ffi.string(fault) end
  compiler.sweep(compiled, state)
  return true
end

return M

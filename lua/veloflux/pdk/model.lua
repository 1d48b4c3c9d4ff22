--- The configuration as this process has it: routes, pools with the live state of their backends, consumers, plugins.
--
--     local pool = pdk.model.pool "web"
--     for _, backend in ipairs(pool and pool.backends or {}) do
--       if backend.is_usable then spare = spare + backend.weight end
--     end
--
-- Everything is a copy, to be kept or changed at will; it changes nothing. Configurations of plugins, credentials and
-- secrets are not in it.
--
-- In a request the tenant is that of the request's route, and only what belongs to it is found (and pools of others
-- that its routes forward to). In timers, init_worker and configure the caller names the tenant, `default` when left
-- out.
--
-- May be called in every phase and in timers, but not while the plugin's code is loaded. Calls cost some microseconds;
-- the first for a name looks at all entities of its kind.
--
-- In control (api.lua, jobs.lua) `list` and `find` give whole entities besides, those of plugins too, as the admin API
-- shows them: secrets are masked but those of the plugin's own kinds. They wait.
local client = require "veloflux.pdk.client"
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

---@class pdk.model
local M = {}

---@class pdk.model.entity what the admin API shows of one: its fields, and
---@field name string
---@field tenant_id string
---@field version integer in which it last changed
---@field origin "api"|"file"
---@field source? string FILE:LINE of what stands in the conf file
---@field created_at? string
---@field updated_at? string

---@class pdk.model.route
---@field name string
---@field tenant string
---@field hosts string[] "*" among them: any
---@field methods string[] none: any
---@field path string
---@field path_kind "exact"|"regex"|"prefix"
---@field priority integer
---@field action "pool"|"redirect"|"respond"
---@field pool? string
---@field status? integer of a redirect or a fixed answer
---@field location? string of a redirect
---@field strip_prefix boolean
---@field plugins { name: string, as: string }[] in the order in which they run

---@class pdk.model.pool
---@field name string
---@field tenant string
---@field algorithm string
---@field is_sticky boolean
---@field backends pdk.model.backend[]

---@class pdk.model.backend
---@field address string HOST:PORT
---@field weight integer in force
---@field configured_weight integer
---@field health "unknown"|"up"|"down" by active checks
---@field state "active"|"draining"|"disabled"
---@field is_usable boolean new requests may go there
---@field in_flight integer exchanges under way, of all workers
---@field connections integer open ones, of all workers
---@field latency number moving average of the time to the first byte, in seconds; 0: not known

---@class pdk.model.plugin
---@field name string
---@field as string
---@field scope "global"|"tenant"|"pool"|"route"|"consumer"
---@field priority integer
---@field on_error "fail"|"continue"

local function entities() return require "veloflux.runtime.entities" end -- needs the C side when it is loaded

local function expect_name(name, what, of)
  if type(name) ~= "string" or name == "" then
    error(("%s: expected the name of a %s, a string"):format(of, what), 3)
  end
end

--- Returns whose entities are meant.
local function tenant_of(given, of)
  network.check(of)
  if task.run.ex ~= nil then
    if given ~= nil then error(of .. ": in a request the tenant is that of its route", 3) end
    return client.tenant()
  end
  if given ~= nil and type(given) ~= "string" then error(of .. ": expected the name of a tenant", 3) end
  return given or "default"
end

--- Returns a route.
---@param name string
---@param tenant? string outside of requests
---@return pdk.model.route? route nil: there is none
function M.route(name, tenant)
  tenant = tenant_of(tenant, "model.route")
  expect_name(name, "route", "model.route")
  return entities().route(tenant, name)
end

--- Returns a pool and its backends as they are now.
---@param name string
---@param tenant? string outside of requests
---@return pdk.model.pool? pool nil: there is none
function M.pool(name, tenant)
  tenant = tenant_of(tenant, "model.pool")
  expect_name(name, "pool", "model.pool")
  return entities().pool(tenant, name)
end

local function consumer_in_control(name, tenant)
  local found = M.find("consumers", name, tenant)
  return found and { id = name, username = name, name = name, custom_id = found.custom_id,
    groups = found.groups or {}, tenant = tenant } or nil
end

--- Returns a consumer: {id, username, name, custom_id, groups, tenant}.
---@param name string
---@param tenant? string outside of requests
---@return table? consumer nil: there is none
function M.consumer(name, tenant)
  tenant = tenant_of(tenant, "model.consumer")
  expect_name(name, "consumer", "model.consumer")
  if control.is_here() then return consumer_in_control(name, tenant) end
  local found = require("veloflux.runtime.consumers").find_consumer(tenant, name)
  if not found then return nil end
  local groups = {}
  for i, group in ipairs(found.groups or {}) do groups[i] = group end
  return { id = found.id, username = found.username, name = found.name, custom_id = found.custom_id, groups = groups,
    tenant = tenant }
end

--- Returns the plugin instances that concern the tenant: its own, and global ones.
---@param tenant? string outside of requests
---@return pdk.model.plugin[]
function M.plugins(tenant)
  local whose = tenant_of(tenant, "model.plugins")
  return entities().plugins(whose)
end

--- Returns all entities of a kind, in control.
---@async
---@param kind string "pools", "routes", "consumers", "tenants", "plugins" or a kind of a plugin
---@param options? { tenant?: string, where?: table } where: fields and the values that they have to have; a field that
--- the kind names in `indexes` or `unique` is found without looking at all
---@return pdk.model.entity[]
function M.list(kind, options)
  local of = control.current "model.list"
  expect_name(kind, "kind", "model.list")
  options = options or {}
  return control.call("list", of, network.plugin_name(), kind, { tenant = options.tenant, where = options.where })
end

--- Returns an entity, in control.
---@async
---@param kind string
---@param name string
---@param tenant? string "default" when left out; that of a tenant's own user who asks
---@return pdk.model.entity? entity nil: there is none
function M.find(kind, name, tenant)
  local of = control.current "model.find"
  expect_name(kind, "kind", "model.find")
  expect_name(name, "entity", "model.find")
  return control.call("find", of, network.plugin_name(), kind, name, tenant)
end

return M

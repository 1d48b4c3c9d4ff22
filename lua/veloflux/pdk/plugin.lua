--- The plugin instance that runs.
local chain = require "veloflux.runtime.chain"
local task = require "veloflux.runtime.task"

---@class pdk.plugin
local M = {}

--- Where in a tenant an instance stands, by its scope; nil: nowhere narrower.
local PLACES = {
  pool = function()
    local service = require("veloflux.pdk.router").get_service()
    return service and service.name
  end,
  route = function()
    local route = require("veloflux.pdk.router").get_route()
    return route and route.name
  end,
  consumer = function()
    local consumer = require("veloflux.pdk.client").get_consumer()
    return consumer and tostring(consumer.id or consumer.name)
  end,
}

local MOST_IDS = 10000
local ids, n_ids = {}, 0 -- text -> UUID

--- Returns a UUID made of a text: of version 8 (RFC 9562), from SHA-256.
local function uuid_of(text)
  local uuid = ids[text]
  if uuid then return uuid end
  if n_ids >= MOST_IDS then ids, n_ids = {}, 0 end
  local hex = require("veloflux.pdk.encoding").hex_encode(require("veloflux.pdk.crypto").hash("sha256", text))
  uuid = ("%s-%s-8%s-8%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 15), hex:sub(16, 18), hex:sub(19, 30))
  ids[text], n_ids = uuid, n_ids + 1
  return uuid
end

local function name_of(instance)
  return instance.as == instance.name and instance.name or instance.name .. "/" .. instance.as
end

--- Returns the name of the running instance: the plugin's, with `/AS` where it runs under another one.
---@return string|nil
function M.get_name()
  local instance = chain.current()
  return instance and name_of(instance)
end

--- Returns the id of the running instance: a UUID made of its name and of where its configuration stands, so that it
-- is the same on all nodes and after a restart, and another one for each tenant, pool, route or consumer. Outside of a
-- request, where a configuration has no place, it is made of the name alone.
---@return string|nil
function M.get_id()
  local instance = chain.current()
  if not instance then return nil end
  local name, scope = name_of(instance), instance.scope
  if scope == "global" or task.run.ex == nil then return uuid_of(name) end
  local place = PLACES[scope] and PLACES[scope]()
  return uuid_of(("%s\0%s\0%s\0%s"):format(name, scope, require("veloflux.pdk.client").tenant(), place or ""))
end

--- Returns the scope of the running instance: where in the conf it stands, the narrowest place if several had
-- a part in it.
---@return "global"|"tenant"|"pool"|"route"|"consumer"|nil
function M.get_scope()
  local instance = chain.current()
  return instance and instance.scope
end

return M

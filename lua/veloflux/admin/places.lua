--- Where what runs was said: FILE:LINE of a conf file, or "api".
-- Routes whose lists of plugins say the same share one chain (plugin/resolve.lua), whose items stand where the
-- first of them does; here each finds its own place again.
local json = require "veloflux.pdk.json"

local M = {}

local POOL, ROUTE, CONSUMER = 2, 3, 4 -- enum vf_snap_scope

--- Returns the place of an entity or of an instance of a plugin; null when there is none.
function M.of(entity)
  local file, line = rawget(entity, "_file"), rawget(entity, "_line")
  if not file then return json.null end
  if file:find "^api:" then return "api" end
  return line and ("%s:%d"):format(file, line) or file
end

local function list_of(scope, route, consumer)
  local owner = scope == ROUTE and route or scope == POOL and route and route._pool or scope == CONSUMER and consumer
  return owner and rawget(owner, "plugins") or {}
end

local function own_instance(layer, route, consumer)
  for _, instance in ipairs(list_of(layer.scope, route, consumer)) do
    if instance.name == layer.name and (instance.as or instance.name) == layer.as then return instance end
  end
  return layer.instance
end

local function placed(layer, route, consumer)
  local source = M.of(own_instance(layer, route, consumer))
  return setmetatable({ source = source ~= json.null and source or layer.source }, { __index = layer })
end

--- Returns an item of a chain as it stands for a route and a consumer (each may be nil), for plugin/origins.lua.
function M.item(item, route, consumer)
  local layers = {}
  for i, layer in ipairs(item.layers) do layers[i] = placed(layer, route, consumer) end
  local own = placed(item, route, consumer)
  own.layers = layers
  return own
end

return M

--- The resource of pools, shown with what is known of their backends.
local backends = require "veloflux.admin.resources.backends"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local parts = require "veloflux.admin.resources.parts"

local INTEGER = parts.INTEGER
local with_common, entity = parts.with_common, parts.entity

local function show_pool(entry, shown)
  for i, backend in ipairs(entities.elements(entry, "backends")) do
    backends.show(backend, shown.backends[i])
    shown.backends[i].tenant_id = entry.tenant
  end
  live.pool(entry.tenant, entry.name, shown)
end

local function is_own_field(fields, name)
  for _, field in ipairs(fields) do
    if field[1] == name then return true end
  end
end

--- Takes what is only shown out of the elements of a list that came in.
local function forget_shown(list, fields)
  if not json.is_array(list) then return end
  for _, element in ipairs(list) do
    if type(element) == "table" then
      for name in pairs(element) do
        if is_own_field(fields, name) then element[name] = nil end
      end
    end
  end
end

return entity {
  name = "pools", noun = "pool", kind = "pools", permission = "pools", is_per_tenant = true,
  methods = parts.METHODS, order = "tenant_id,name",
  forms = { { collection = "/api/pools", single = "/api/pools/{id}" } },
  fields = with_common {
    { "status", { type = "string", enum = { "healthy", "degraded", "unhealthy" } }, "Of its backends together." },
    { "active_backends", INTEGER, "Backends that get new requests." },
    { "total_backends", INTEGER, "All of them." },
    { "requests", INTEGER, "Since the start." },
    { "errors", INTEGER, "Answers of 500 and more." },
    { "unavailable", INTEGER, "Requests for which there was no backend." },
  },
  elements = { backends = backends },
  show = show_pool,
  prepare = function(value) forget_shown(value.backends, backends.fields) end,
}

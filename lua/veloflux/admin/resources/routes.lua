--- The resource of routes. One may also be called by its host, where that tells it apart; one that comes without a name
-- gets one.
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local parts = require "veloflux.admin.resources.parts"
local problem = require "veloflux.admin.problem"

local INTEGER = parts.INTEGER
local with_common, tenant_of, entity = parts.with_common, parts.tenant_of, parts.entity

local function find_route(t, params)
  local found = entities.find(t, "routes", tenant_of(params), params.id)
  if found then return found end
  local host = params.id:lower()
  for _, entry in ipairs(entities.list(t, "routes")) do
    if entry.tenant == tenant_of(params) and (rawget(entry.record, "host") or ""):lower() == host then
      if found then
        return nil, problem.new("conflict", ("The host %s has several routes, such as %s and %s: use the id.")
          :format(params.id, found.name, entry.name))
      end
      found = entry
    end
  end
  return found
end

--- Returns what a route that names no host or no path is for: every host, and all paths. nil: it names them.
local function implied_host(record) return not (rawget(record, "host") or rawget(record, "hosts")) and "*" or nil end

local function implied_prefix(record)
  local path = rawget(record, "path") or rawget(record, "path_prefix") or rawget(record, "path_regex")
  return not path and "/" or nil
end

local function show_route(entry, shown)
  shown.host = shown.host or implied_host(entry.record)
  shown.path_prefix = shown.path_prefix or implied_prefix(entry.record)
  live.route(entry.tenant, entry.name, shown)
end

--- What was shown because it is implied is no news when it comes back.
local function forget_implied(value, entry)
  if not entry then return end
  if value.host == implied_host(entry.record) then value.host = nil end
  if value.path_prefix == implied_prefix(entry.record) then value.path_prefix = nil end
end

--- Makes a name for a route that came without: of its host and path.
local function route_name(t, tenant, value)
  local host = type(value.host) == "string" and value.host or json.is_array(value.hosts) and value.hosts[1] or "any"
  local path = value.path or value.path_prefix or value.path_regex or ""
  local base = (tostring(host):gsub("%*", "any") .. tostring(path)):lower():gsub("[^%w._-]+", "-")
  base = base:gsub("^[^%w]+", ""):gsub("%-+$", ""):sub(1, 100)
  if base == "" then base = "route" end
  local name, count = base, 1
  while entities.find(t, "routes", tenant, name) do
    count = count + 1
    name = base .. "-" .. count
  end
  return name
end

return entity {
  name = "routes", noun = "route", kind = "routes", permission = "routes", is_per_tenant = true,
  methods = parts.METHODS, order = "tenant_id,name",
  forms = { { collection = "/api/routes", single = "/api/routes/{id}" } },
  fields = with_common {
    { "requests", INTEGER, "Since the start." },
    { "errors", INTEGER, "Answers of 500 and more." },
  },
  optional = { name = true },
  quick = { name = parts.BY_NAME.name, host = function(entry)
    return entry.record.host or implied_host(entry.record)
  end },
  find = find_route, show = show_route, prepare = forget_implied,
  create = function(t, value, params)
    value.tenant = value.tenant or tenant_of(params)
    value.name = value.name or route_name(t, value.tenant, value)
    return entities.create("routes", value.tenant, value, value.name)
  end,
}

--- What runs, as one answer. The rest of /api/config is the plugin `config`.
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local tags = require "veloflux.admin.rest.tags"

local M = {}

local JSON = "application/json"

local function shown_list(context, resource)
  local entries = resource.list(context.transactions(), {})
  return query.encode(entries, 1, #entries, function(entry) return rest.show(resource, entry) end)
end

local function address_of(node, has_tls)
  for _, listener in ipairs(node.listeners) do
    if (rawget(listener, "tls") ~= nil) == has_tls then return listener.address.text end
  end
  return json.null
end

local function running(context, request)
  local params, names = query.parse(request.query)
  local bad = not params and names or query.unknown(names, {})
  if bad then return bad end
  local current = context.current()
  local tag = ('"%d"'):format(current.version)
  if tags.has(request.headers["if-none-match"] or "", tag, true) then
    return { status = 304, headers = { "ETag", tag }, body = "" }
  end
  local node = current.model.node
  local admin = node.admin.address
  local global = { bind_address = address_of(node, false), tls_bind_address = address_of(node, true),
    metrics_address = type(admin) == "table" and admin.text or json.null }
  return { headers = { "ETag", tag }, json_text = ('{"version":%d,"global":%s,"routes":%s,"pools":%s}'):format(
    current.version, json.lenient(global), shown_list(context, resources.routes),
    shown_list(context, resources.pools)) }
end

-- Registration ----------------------------------------------------------------------------------------------

--- Registers what the core answers itself; the rest is the plugin `config`.
function M.register(router, context)
  router:register { method = "GET", path = "/api/config", permission = "config:read",
    doc = { tag = "config", summary = "What runs: addresses, routes and pools. Its ETag is the version of the system.",
      answers = { ["200"] = { "The answer.", { [JSON] = { type = "object" } } },
        ["304"] = { "It is as If-None-Match says." } } },
    handler = function(request)
      if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
      if not bodies.accepts(request, JSON) then
        return problem.new("not_acceptable", "This is answered as application/json.")
      end
      return running(context, request)
    end }
end

return M

--- What runs, as one answer; and how changes of many entities are answered. The rest of /api/config is the plugin
-- `config`.
local bodies = require "veloflux.admin.body"
local conf = require "veloflux.conf"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"

local M = {}

local JSON = "application/json"

--- Reads the query of a request that knows the parameters of `known`. Returns a map from name to the last value and
-- the whole query; or nil and a problem.
local function read_query(request, known)
  local params, names = query.parse(request.query)
  if not params then return nil, names end
  local bad = query.unknown(names, known)
  if bad then return nil, bad end
  local last = {}
  for name, values in pairs(params) do last[name] = values[#values] end
  return last, params
end

local function listed(list)
  local result = json.array()
  for i, value in ipairs(list or {}) do
    result[i] = type(value) == "table" and value.message and conf.format(value) or value
  end
  return result
end

--- Names what a change adds, changes and removes.
local function counts_of(counts) return { added = counts.added, updated = counts.changed, removed = counts.removed } end

--- Answers a change of many entities.
-- @param word what has happened, of "status"
-- @param result outcome of transactions.apply
-- @param members further ones of the answer, or nil
function M.changed(word, result, is_dry, members)
  local body = { status = is_dry and "dry_run" or word, dry_run = is_dry,
    version = not is_dry and result.version or nil, changes = counts_of(result.counts), summary = result.summary,
    skipped = json.array(result.skipped or {}), warnings = listed(result.warnings),
    findings = outcomes.findings(result) }
  for name, value in pairs(members or {}) do body[name] = value end
  if is_dry then
    body.affected_routes, body.affected_count = json.array(result.affected_routes or {}), result.affected_count
  end
  local late = not is_dry and outcomes.laggards(result) > 0
  local diff = outcomes.diff(result.diff)
  local text = ('%s,"diff":%s}'):format(json.lenient(body):sub(1, -2), query.encode(diff, 1, #diff))
  return { status = late and 202 or 200, json_text = text, headers = not is_dry and outcomes.headers(result) or nil }
end

-- What runs -------------------------------------------------------------------------------------------------

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
  local known, bad = read_query(request, {})
  if not known then return bad end
  local current = context.current()
  local tag = ('"%d"'):format(current.version)
  local seen = request.headers["if-none-match"]
  if seen and (seen == "*" or seen:find(tag, 1, true)) then
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
      answers = { ["200"] = { "The answer.", { [JSON] = { type = "object" } } } } },
    handler = function(request)
      if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
      if not bodies.accepts(request, JSON) then
        return problem.new("not_acceptable", "This is answered as application/json.")
      end
      return running(context, request)
    end }
end

return M

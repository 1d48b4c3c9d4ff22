--- What is done to backends at run time: draining, disabling, another weight. Nothing of it is configuration: it makes
-- no version, is allowed on what stands in the conf file too, and holds through reloads until it is taken back.
local bodies = require "veloflux.admin.body"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local outcomes = require "veloflux.admin.outcomes"
local overrides = require "veloflux.control.overrides"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local status = require "veloflux.admin.status"
local tags = require "veloflux.admin.rest.tags"
local totals = require "veloflux.totals"

local M = {}

local AS_IT_IS, CONFIGURED = overrides.AS_IT_IS, overrides.CONFIGURED
local NONE, DRAINING, DISABLED = overrides.NONE, overrides.DRAINING, overrides.DISABLED
local MAX_WEIGHT = 1000000

local data_dir -- function() -> that of what runs

--- Does something to backends. Returns nil, or the entry of one that is not running.
local function override(entries, drain, weight)
  local backends = {}
  for i, entry in ipairs(entries) do
    backends[i] = { tenant = entry.tenant, pool = entry.name, address = entry.record.address.text }
  end
  return entries[overrides.set(totals.state(), data_dir(), backends, drain, weight) or 0]
end

local function note(request, event, entry)
  log.write("info", event, { "tenant", entry.tenant, "pool", entry.name, "backend",
    entry.record.address and entry.record.address.text or "all", "by", request.identity.name,
    "request_id", request.request_id })
end

--- Reads the body of a drain: {"mode": "drain" or "disable"}.
local function read_mode(request)
  local body, bad = bodies.object(request, { "mode" }, true)
  if not body then return nil, bad end
  if body.mode == nil or body.mode == "drain" then return DRAINING end
  if body.mode == "disable" then return DISABLED end
  return nil, resources.invalid("/mode", "expected drain or disable")
end

local function read_none(request)
  local body, bad = bodies.object(request, {}, true)
  if not body then return nil, bad end
  return NONE
end

local function read_weight(request)
  local body, bad = bodies.read(request, bodies.JSON)
  if not body then return nil, bad end
  bad = bodies.unknown(request, body, { "weight" })
  if bad then return nil, bad end
  local weight = body.weight
  if weight == json.null then return CONFIGURED end
  if type(weight) ~= "number" or weight % 1 ~= 0 or weight < 0 or weight > MAX_WEIGHT then
    return nil, resources.invalid("/weight", ("expected an integer between 0 and %d, or null"):format(MAX_WEIGHT))
  end
  return weight
end

local function gone(entry)
  return problem.new("conflict", ("The backend %s is not running yet."):format(entry.record.address.text))
end

-- What is set, as backends show it: its field, and the text or number that a value becomes there.
local DRAIN = { field = "drain", shown = function(_, value) return status.DRAIN[value] end }
local WEIGHED = { field = "effective_weight", shown = function(entry, value)
  return value == CONFIGURED and entry.record.weight or value
end }

--- Answers a dry run: which backends would be changed.
local function would_set(what, backends, value)
  local diff = {}
  for _, entry in ipairs(backends) do
    local address = entry.record.address.text
    local before, after = rest.show(resources.backends, entry)[what.field], what.shown(entry, value)
    if before ~= after then
      diff[#diff + 1] = { action = "changed", kind = "backends", tenant = entry.tenant, name = address,
        key = ("%s/%s/%s"):format(entry.tenant, entry.name, address),
        changes = { { pointer = "/" .. what.field, before = before, after = after } } }
    end
  end
  return outcomes.dry({ diff = diff, summary = #diff > 0 and ("backends: %d changed"):format(#diff) or "no changes" })
end

--- Finds what a request is about, and reads what is to be set. Returns both and whether it is a dry run; or nil and a
-- problem.
local function take(resource, context, request, read)
  local entry, params = rest.find(resource, context, request, { dry_run = true })
  if not entry then return nil, params end
  local is_dry, bad = query.flag(params, "dry_run")
  bad = bad or select(2, tags.precondition(request, entry))
  if bad then return nil, bad end
  local value
  value, bad = read(request)
  if not value then return nil, bad end
  return entry, value, is_dry
end

local function of_backend(event, read, apply, what)
  return function(context, request)
    local entry, value, is_dry = take(resources.backends, context, request, read)
    if not entry then return value end
    if is_dry then return would_set(what, { entry }, value) end
    if apply(entry, value) then return gone(entry) end
    note(request, event, entry)
    return { json = rest.show(resources.backends, entry) }
  end
end

local function of_pool(event, read)
  return function(context, request)
    local entry, value, is_dry = take(resources.pools, context, request, read)
    if not entry then return value end
    local backends = entities.elements(entry, "backends")
    if is_dry then return would_set(DRAIN, backends, value) end
    local missing = override(backends, value, AS_IT_IS)
    if missing then return gone(missing) end
    note(request, event, entry)
    return { json = rest.show(resources.pools, entry) }
  end
end

local function set_drain(entry, value) return override({ entry }, value, AS_IT_IS) end
local function set_weight(entry, value) return override({ entry }, AS_IT_IS, value) end

local JSON = "application/json"
local MODE = { [JSON] = { type = "object", additionalProperties = false,
  properties = { mode = { type = "string", enum = { "drain", "disable" } } } } }
local NOTHING = { [JSON] = { type = "object", additionalProperties = false } }
local WEIGHT = { [JSON] = { type = "object", additionalProperties = false, required = { "weight" },
  properties = { weight = { type = { "integer", "null" }, minimum = 0, maximum = MAX_WEIGHT } } } }

local ROWS = {
  { "/api/backends/{id}/drain", "backends", of_backend("backend.drain", read_mode, set_drain, DRAIN), MODE, true,
    "Backend",
    "Drains a backend: no new requests but those of clients that stick to it; with mode disable none at all." },
  { "/api/backends/{id}/undrain", "backends", of_backend("backend.undrain", read_none, set_drain, DRAIN), NOTHING,
    true, "Backend", "Takes back what drain did." },
  { "/api/backends/{id}/weight", "backends", of_backend("backend.weight", read_weight, set_weight, WEIGHED), WEIGHT,
    false, "Backend", "Sets the weight at run time; null: the configured one again." },
  { "/api/pools/{id}/drain", "pools", of_pool("pool.drain", read_mode), MODE, true, "Pool",
    "Drains all backends of a pool." },
  { "/api/pools/{id}/undrain", "pools", of_pool("pool.undrain", read_none), NOTHING, true, "Pool",
    "Takes back what drain did to all of them." },
}

--- Registers them.
function M.register(router, context)
  function data_dir() return context.current().model.node.data_dir end
  for _, row in ipairs(ROWS) do
    router:register { method = "POST", path = row[1], permission = row[2] .. ":write",
      is_of_tenant = true,
      handler = rest.post(context, row[3]),
      doc = { tag = row[2], summary = row[7], has_etag = true, body = row[4], is_body_optional = row[5],
        is_of_tenant = true, may_be_tried = true, answers = { ["200"] = { "How it is now.", { [JSON] = row[6] } },
          ["404"] = { "There is none." }, ["409"] = { "It is not running yet." } } } }
  end
end

return M

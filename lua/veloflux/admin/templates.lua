--- POST /api/config/templates/{name}/apply: what a template gives with parameters, made as one transaction. Templates
-- themselves are resources like others (resources.lua).
local bodies = require "veloflux.admin.body"
local configuration = require "veloflux.admin.configuration"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local templates = require "veloflux.control.templates"

local M = {}

local MODES = { create = true, replace = true }
local FIELDS = { parameters = true, tenant_id = true, mode = true, reason = true }

--- Reads {parameters, tenant_id, mode, reason}. Returns it, or nil and a problem.
local function read_body(request)
  local body, bad = bodies.read(request, bodies.JSON, true)
  if not body then return nil, bad end
  for name in pairs(body) do
    if not FIELDS[name] then
      return nil, resources.invalid("/" .. name, "unknown key, expected parameters, tenant_id, mode or reason")
    end
  end
  local given = body.parameters
  if given == nil or given == json.null then given = {} end
  if type(given) ~= "table" or json.is_array(given) then
    return nil, resources.invalid("/parameters", "expected a map from names to values")
  end
  if body.mode ~= nil and not MODES[body.mode] then
    return nil, resources.invalid("/mode", "expected create or replace")
  end
  for _, name in ipairs { "tenant_id", "reason" } do
    local value = body[name]
    if value ~= nil and (type(value) ~= "string" or #value > 1000) then
      return nil, resources.invalid("/" .. name, "expected a short text")
    end
  end
  body.parameters = given
  return body
end

local function refused(errors, members)
  local first = errors[1]
  return problem.new("invalid", ("%s: %s"):format(first.pointer:sub(2), first.detail),
    { errors = errors, members = members })
end

--- A fault of a rendered entity is the parameter's when it made the very value, else the entity's.
local function located(result, places, origins)
  local answer = outcomes.refused(result)
  for i, found in ipairs(result.errors or {}) do
    local place, entry = places[found.op], answer.errors[i]
    if place then
      local pointer = place.pointer .. (found.pointer or "")
      local name = templates.origin(origins, pointer)
      entry.entity, entry.parameter = pointer, name
      entry.pointer = origins[pointer] and "/parameters/" .. name or pointer
    end
  end
  local first = answer.errors[1]
  if first and first.entity then answer.detail = ("%s: %s"):format(first.pointer:sub(2), answer.detail) end
  return answer
end

local function listed(places)
  local list = json.array()
  for i, place in ipairs(places) do
    list[i] = { kind = place.kind, tenant = place.tenant or json.null, name = place.name, pointer = place.pointer }
  end
  return list
end

local function apply(context, request)
  local entry, params = rest.find(resources.templates, context, request, { dry_run = true })
  if not entry then return params end
  local is_dry, bad = query.flag(params, "dry_run")
  if bad then return bad end
  local body
  body, bad = read_body(request)
  if not body then return bad end
  local values, errors = templates.parameters(entry.record, body.parameters)
  if not values then return refused(errors) end
  local entities, origins = templates.render(entry.record, values)
  if not entities then return refused(origins) end
  local ops, places = templates.operations(entities, body.tenant_id or entry.tenant, body.mode == "replace")
  if not ops then return refused(places) end
  local own = rest.context_of(request, is_dry)
  own.reason = body.reason or own.reason or "template " .. entry.name
  local result = rest.apply(context, ops, own)
  if not result.ok then return located(result, places, origins) end
  return configuration.changed("applied", result, is_dry, { entities = listed(places) })
end

local STRING, JSON = { type = "string" }, "application/json"
local BODY = { [JSON] = { type = "object", additionalProperties = false, properties = {
  parameters = { type = "object", additionalProperties = true },
  tenant_id = STRING, reason = STRING, mode = { type = "string", enum = { "create", "replace" } } } } }

--- Registers it.
function M.register(router, context)
  router:register { method = "POST", path = "/api/config/templates/{id}/apply", permission = "config:write",
    takes_probation = true,
    handler = rest.post(context, apply),
    doc = { tag = "templates", is_of_tenant = true, body = BODY, is_body_optional = true,
      summary = "Makes what the template gives with these parameters, all or nothing. `tenant_id` in the body says "
        .. "whose it is, else the template's tenant; with `mode` replace what there is by the same names is replaced. "
        .. "Faults point into `/parameters` or into the rendered `/entities`.",
      parameters = { { "dry_run", { type = "boolean" }, "Only say what would change." } },
      answers = { ["200"] = { "What was made.", { [JSON] = { type = "object" } } },
        ["202"] = { "The same; it is not live in all processes yet.", { [JSON] = { type = "object" } } },
        ["404"] = { "There is no such template." } } } }
end

return M

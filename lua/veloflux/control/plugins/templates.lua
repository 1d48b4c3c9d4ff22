--- What pdk.templates asks for: what a template gives, made as one transaction.
local changes = require "veloflux.control.plugins.changes"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local seam = require "veloflux.runtime.control"
local services = require "veloflux.control.plugins.services"
local templates = require "veloflux.control.templates"
local transactions = require "veloflux.control.transactions"

local M = {}

local function refused(errors)
  local first = errors[1]
  return problem.new("invalid", ("%s: %s"):format(first.pointer:sub(2), first.detail), { errors = errors })
end

--- A fault of a rendered entity is the parameter's when it made the very value, else the entity's.
local function located(outcome, places, origins)
  local answer = outcomes.refused(outcome)
  for i, found in ipairs(outcome.errors or {}) do
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

--- Finds a template. Returns its record, or nil and a problem.
local function find(of, name, tenant)
  local limit = services.limit_of(of)
  if not limit or not tenant or tenant == limit then
    local found = transactions.find("templates", tenant or limit or "default", name)
    if found then return found.value end
  end
  return nil, problem.new("not_found", ("There is no template %s."):format(name))
end

--- Adds the services.
function M.register()
  seam.services.apply_template = changes.changing(function(of, plugin, name, parameters, options)
    local template, bad = find(of, name, options.template_tenant)
    if not template then return nil, bad end
    local values, errors = templates.parameters(template, parameters)
    if not values then return nil, refused(errors) end
    local entities, origins = templates.render(template, values)
    if not entities then return nil, refused(origins) end
    local ops, places = templates.operations(entities, options.tenant or template.tenant or "default",
      options.replace)
    if not ops then return nil, refused(places) end
    local foreign = services.keep_within(services.limit_of(of), ops)
    if foreign then return nil, foreign end
    local own = services.context_of(of, plugin, options)
    own.reason = own.reason or "template " .. name
    local outcome = changes.outcome_of("apply", ops, own)
    if not outcome.ok then return nil, located(outcome, places, origins) end
    local result = changes.changed(of, outcome, own.dry_run)
    result.entities = listed(places)
    return result
  end)
end

return M

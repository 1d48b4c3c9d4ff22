--- Writes to resources, as transactions. What all of them have in common (dry runs, preconditions, tries again when
-- others were first, the answer) is here once.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local encoding = require "veloflux.pdk.encoding"
local entities = require "veloflux.admin.entities"
local intake = require "veloflux.admin.rest.intake"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local read = require "veloflux.admin.rest.read"
local resources = require "veloflux.admin.resources"
local tags = require "veloflux.admin.rest.tags"
local targets = require "veloflux.admin.rest.targets"
local tenant_guard = require "veloflux.admin.tenant_guard"
local view = require "veloflux.model.view"

local M = {}

local MAX_TRIES = 5 -- of a change to an element when others change its owner meanwhile

--- Returns the context of a transaction: who changes something, and why.
function M.context_of(request, is_dry)
  local reason = request.headers["x-change-reason"]
  return { author = request.identity.name, source = "api", request_id = request.request_id, dry_run = is_dry,
    reason = reason and reason:sub(1, 1000) or nil, probation = request.probation }
end

--- Runs a transaction. Yields.
-- @return its outcome, as whoever asks may see it
local function apply(context, request, ops, is_dry)
  local outcome = await.call(function(callback)
    context.transactions().apply(ops, M.context_of(request, is_dry), callback)
  end)
  return outcomes.within(outcome, request.identity.tenant)
end

local function prefix_of(element)
  return element and ("/%s/%d"):format(element.field, element.index - 1)
end

--- Returns the headers of the answer to a write, and its status.
local function headers_of(result, request)
  local headers = outcomes.headers(result)
  if bodies.prefers(request, "handling=lenient") then
    headers[#headers + 1] = "Preference-Applied"
    headers[#headers + 1] = "handling=lenient"
  end
  return headers
end

--- Finds what a transaction has made or changed, for the answer.
local function written(context, entry, element)
  local t = context.transactions()
  if element then
    local owner = entities.find(t, element.owner.kind, element.owner.op_tenant, element.owner.name)
    return owner and entities.elements(owner, element.field)[element.index]
  end
  return entities.find(t, entry.kind, entry.tenant, entry.name)
end

--- Copies the secrets of what was sent into what is shown: once, to who made them.
local function reveal(shown, value)
  for name, own in pairs(shown) do
    if own == view.MASK and type(value[name]) == "string" then shown[name] = value[name] end
  end
end

--- Answers a write.
-- @param found what to look the object up by
-- @param sent the value, when its secrets are shown once
local function answer(resource, context, request, result, found, code, sent)
  if result.is_dry then return outcomes.dry(result, headers_of(result, request)) end
  local headers = headers_of(result, request)
  local entry = written(context, found, found.element)
  if not entry then return { status = 204, headers = headers, body = "" } end -- deleted by another, since
  local shown = read.show(resource, entry)
  if sent then reveal(shown, sent) end
  headers[#headers + 1], headers[#headers + 2] = "ETag", tags.of(entry)
  if code == 201 then
    local single = request.path:gsub("/$", "") .. "/" .. encoding.url_encode(shown.credential_id or shown.id)
    if resource.location then
      single = resource.location(entry, shown)
    elseif resource.is_per_tenant and entry.tenant ~= "default" then
      single = single .. "?tenant_id=" .. encoding.url_encode(entry.tenant)
    end
    headers[#headers + 1], headers[#headers + 2] = "Location", single
  end
  return { status = outcomes.laggards(result) > 0 and 202 or code, json = shown, headers = headers }
end

--- Refuses what a tenant wants to make or change that is not its own. Returns nil, or a problem.
local function refuse_for_others(resource, value, where)
  if not where.only then return nil end
  if resource.name == "tenants" and where.id and where.id ~= where.only then
    return resources.not_found(resource.noun, where.id)
  end
  if resource.name == "tenants" or value and value.scope == "global" then
    return problem.new("forbidden", "This is the platform's, not a tenant's.")
  end
  if not value then return nil end
  local tenant = value.tenant
  if tenant ~= nil and tenant ~= where.only then return resources.not_found("tenant", tenant) end
end

local WRITE = { dry_run = true }

--- Makes an object.
function M.create(resource, context, request)
  local where, params = targets.read(request, WRITE)
  if not where then return params end
  local is_dry, bad = query.flag(params, "dry_run")
  if bad then return bad end
  local raw
  raw, bad = bodies.read(request, bodies.JSON)
  bad = bad or where.only and tenant_guard.refuse(resource, raw)
  if bad then return bad end
  for _ = 1, MAX_TRIES do
    local value, ops, element
    value, bad = intake.prepare(resource, request, raw, nil, where)
    bad = bad or refuse_for_others(resource, value, where)
    if bad then return bad end
    ops, bad, element = resource.create(context.transactions(), value, where)
    if not ops then return bad end
    local result = apply(context, request, ops, is_dry)
    if result.ok then
      result.is_dry = is_dry
      local op = ops[1]
      return answer(resource, context, request, result,
        { kind = op.kind, tenant = op.tenant, name = op.name, element = element }, 201, resource.reveals and value)
    end
    if result.code ~= "stale" or not element then return outcomes.refused(result, prefix_of(element)) end
  end
  return problem.new("conflict", "Others change the same object all the time; try again.")
end

local MODES = { put = { PUT = "put", PATCH = "merge" }, replace = { PUT = "replace" } }

local function operation(request, params)
  local mode = params.mode and params.mode[#params.mode]
  if mode and mode ~= "replace" and mode ~= "merge" then
    return nil, query.wrong("mode", "expected replace or merge")
  end
  return MODES[mode == "replace" and "replace" or "put"][request.method]
end

--- Changes or deletes an object as it is now. Returns the answer; or nil: others were first.
local function attempt(resource, context, request, op, raw, where, is_dry)
  local entry, bad = targets.entry(resource, context, where)
  bad = bad or raw and where.only and tenant_guard.refuse_change(resource, entry)
  if bad then return bad end
  local if_match
  if_match, bad = tags.precondition(request, entry)
  if bad then return bad end
  local value
  if raw then
    value, bad = intake.prepare(resource, request, raw, entry, where)
    if not value then return bad end
  end
  local result = apply(context, request, resource.change(op, entry, value, if_match), is_dry)
  local element = entry.owner and entry
  if not result.ok then
    if result.code == "stale" and element and not request.headers["if-match"] then return nil end
    return outcomes.refused(result, prefix_of(element))
  end
  result.is_dry = is_dry
  if op == "delete" then
    if is_dry then return outcomes.dry(result, headers_of(result, request)) end
    return { status = outcomes.laggards(result) > 0 and 202 or 204, headers = headers_of(result, request), body = "" }
  end
  return answer(resource, context, request, result, { kind = entry.kind,
    tenant = entry.op_tenant, name = entry.name, element = element }, 200)
end

--- Changes or deletes an object.
function M.change(resource, context, request)
  local is_delete = request.method == "DELETE"
  local where, params = targets.read(request, WRITE, request.method == "PUT" and { mode = true } or {})
  if not where then return params end
  local is_dry, bad = query.flag(params, "dry_run")
  bad = bad or refuse_for_others(resource, nil, where)
  if bad then return bad end
  local op = is_delete and "delete"
  if not op then
    op, bad = operation(request, params)
    if not op then return bad end
  end
  local raw
  if not is_delete then
    raw, bad = bodies.read(request, request.method == "PATCH" and bodies.MERGE_PATCH or bodies.JSON)
    bad = bad or where.only and tenant_guard.refuse(resource, raw)
    if bad then return bad end
  end
  for _ = 1, MAX_TRIES do
    local result = attempt(resource, context, request, op, raw, where, is_dry)
    if result then return result end
  end
  return problem.new("conflict", "Others change the same object all the time; try again.")
end

return M

--- Batches, for the plugin `bulk`: up to 10,000 operations as one transaction, or each as one of its own. Large ones,
-- and those that are asked so, go on in the background.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local plans = require "veloflux.admin.bulk_plan"
local problem = require "veloflux.admin.problem"
local queue = require "veloflux.control.queue"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local runs = require "veloflux.admin.bulk_run"

local M = {}

local MAX_WAIT = 1000 -- operations for whose end a client may wait
local MAX_UNDER_WAY = 16 -- batches that go on after their answer
local FLAGS = { atomic = true, dry_run = false }
local FIELDS = { "operations", "atomic", "dry_run" }

--- Reads the body: {operations, atomic, dry_run}. Returns it, or nil and a problem.
-- @param request whose preferences count
local function read_body(request, text)
  local body, bad = bodies.read({ body = text, headers = { ["content-type"] = bodies.JSON } }, bodies.JSON)
  bad = bad or bodies.unknown(request, body, FIELDS)
  if bad then return nil, bad end
  for name in pairs(FLAGS) do
    if body[name] ~= nil and type(body[name]) ~= "boolean" then
      return nil, resources.invalid("/" .. name, "expected true or false")
    end
  end
  local list = body.operations
  if type(list) ~= "table" or not json.is_array(list) or #list == 0 then
    return nil, resources.invalid("/operations", "required: a list of operations")
  end
  if #list > plans.MAX then
    return nil, resources.invalid("/operations", ("%d operations, expected at most %d"):format(#list, plans.MAX))
  end
  for name, default in pairs(FLAGS) do
    if body[name] == nil then body[name] = default end
  end
  return body
end

-- Answers ---------------------------------------------------------------------------------------------------

local function refused_errors(outcome)
  local errors = {}
  for i, found in ipairs(outcome.errors or {}) do
    errors[i] = { detail = found.detail, index = found.op and found.op - 1, rule = found.rule,
      pointer = found.op and ("/operations/%d/data%s"):format(found.op - 1, found.pointer or "") or "" }
  end
  return errors
end

--- Says whether an outcome is of no operation: as if there had been no batch.
local function is_of_none(outcome)
  return outcome.code == "unavailable" or outcome.code == "stale" and not outcome.errors[1] -- If-Match
end

--- Answers that nothing of a batch was applied.
local function rolled_back(outcome, document)
  if is_of_none(outcome) then return outcomes.refused(outcome) end
  local members = { cause = outcome.code, source = outcome.source, rival = outcome.rival }
  for _, name in ipairs { "operation_id", "total", "succeeded", "failed", "results" } do
    members[name] = document and document[name]
  end
  local first = outcome.errors and outcome.errors[1]
  local message = outcome.message or "refused"
  if first and first.op then message = ("operation %d: %s"):format(first.op - 1, message) end
  return problem.new("rolled_back", "Nothing was applied; " .. message,
    { errors = refused_errors(outcome), members = members })
end

local function ended(batch)
  local document = batch.document
  if document.status == "rolled_back" then return nil, rolled_back(batch.outcome, document) end
  return document, nil, "ended"
end

local function dry(context, ops, own)
  own.dry_run = true
  local outcome = await.call(function(callback) context.transactions().apply(ops, own, callback) end)
  if not outcome.ok then return nil, rolled_back(outcome) end
  local preview = outcomes.dry(outcome).json
  preview.total = #ops
  return preview, nil, "dry_run"
end

--- A batch as it is now: it goes on while it is shown.
local function copy_of(document)
  local copy = {}
  for name, value in pairs(document) do copy[name] = value end
  copy.results = nil
  return copy
end

local function unavailable(detail)
  return problem.new("unavailable", detail, { headers = { "Retry-After", "1" } })
end

--- Begins a batch that goes on in the background.
local function start(context, batch)
  if runs.count() >= MAX_UNDER_WAY then
    return nil, unavailable(("%d batches are under way; wait for one of them."):format(MAX_UNDER_WAY))
  end
  if runs.save(context, batch) then return nil, unavailable "The store is not available; nothing has changed." end
  local copy = copy_of(batch.document)
  runs.start(context, batch)
  return copy, nil, "under_way"
end

--- Applies a batch. Yields.
-- @param request whose identity and preferences count: {identity, headers, ...} of the router
-- @param text JSON: {operations, atomic, dry_run}
-- @param options {kind, tenant: of operations that say none; dry_run, in_background}
-- @return its document, nil and "ended", "under_way" or "dry_run"; or nil and a problem
function M.submit(context, request, text, options)
  local body, bad = read_body(request, text)
  if not body then return nil, bad end
  local is_dry = options.dry_run or body.dry_run
  if is_dry and not body.atomic then
    return nil, resources.invalid("/atomic", "a dry run is of the whole: it cannot be false")
  end
  local ops
  ops, bad = plans.read(context.transactions(), request, body.operations,
    { kind = options.kind, tenant_id = options.tenant })
  if not ops then return nil, bad end
  local own = rest.context_of(request, false)
  own.fence, own.source, own.if_versions = options.fence, options.source or own.source, options.if_versions
  if own.if_versions and not body.atomic then
    return nil, resources.invalid("/atomic", "If-Match is of the whole: it cannot be false")
  end
  if own.probation and not body.atomic then
    if not own.probation.is_default then
      return nil, resources.invalid("/atomic", "probation is of the whole: it cannot be false")
    end
    own.probation = nil
  end
  if is_dry then return dry(context, ops, own) end
  local batch = runs.new(ops, { is_atomic = body.atomic, context = own, base_version = queue.next_version() - 1 })
  if options.in_background or #ops > MAX_WAIT then return start(context, batch) end
  runs.run(context, batch)
  if not batch.outcome or not is_of_none(batch.outcome) then runs.save(context, batch) end
  return ended(batch)
end

--- Finds a batch of the last day. Yields.
-- @return its document, nil, and the node that is at it, if that is another; or nil and a problem
local function find(context, id)
  local document, err, node = nil, nil, nil
  if id:find "^%x+$" and #id == 32 then document, err, node = runs.find(context, id) end
  if document then return document, nil, node end
  if err then return nil, unavailable "The store is not available." end
  return nil, resources.not_found("bulk operation", id)
end

--- The same. Returns its document; or nil and a problem. Yields.
function M.find(context, id)
  local document, bad = find(context, id)
  return document, bad
end

--- Returns the batches of the last day; or nil and a problem. Yields.
function M.list(context)
  local documents = runs.list(context)
  if not documents then return nil, unavailable "The store is not available." end
  return documents
end

--- Cancels a batch. Returns its document; or nil and a problem. Yields.
-- @param is_dry true: only says whether it would
function M.cancel(context, id, is_dry)
  local document, bad, node = find(context, id)
  if not document then return nil, bad end
  if node then return nil, problem.new("conflict", ("The node %s is at it: cancel it there."):format(node)) end
  if runs.has_ended(document) or not runs.cancel(id, is_dry) then
    return nil, problem.new("conflict", ("It has ended already: %s."):format(document.status))
  end
  return document
end

return M

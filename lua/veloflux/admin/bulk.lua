--- POST /api/bulk: up to 10,000 operations as one transaction, or each as one of its own. Large batches, and those
-- whose client prefers it, go on after the answer; GET tells how far they are, DELETE cancels them.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local plans = require "veloflux.admin.bulk_plan"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local queue = require "veloflux.control.queue"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local runs = require "veloflux.admin.bulk_run"

local M = {}

local MAX_WAIT = 1000 -- operations for whose end a client may wait
local MAX_BYTES = 8 * 1024 * 1024 -- of a request: 10,000 operations
local MAX_UNDER_WAY = 16 -- batches that go on after their answer
local PLACE = "/api/bulk/operations/"
local FLAGS = { atomic = true, dry_run = false }

-- Requests --------------------------------------------------------------------------------------------------

local function read_query(request)
  local params, names = query.parse(request.query)
  if not params then return nil, names end
  local bad = query.unknown(names, { dry_run = true, tenant_id = true })
  if bad then return nil, bad end
  local is_dry
  is_dry, bad = query.flag(params, "dry_run")
  if bad then return nil, bad end
  return { is_dry = is_dry, tenant_id = params.tenant_id and params.tenant_id[#params.tenant_id] }
end

--- Reads the body: {operations, atomic, dry_run}. Returns it, or nil and a problem.
local function read_body(request)
  local body, bad = bodies.read(request, bodies.JSON)
  if not body then return nil, bad end
  for name, value in pairs(body) do
    if name ~= "operations" and FLAGS[name] == nil then return nil, resources.invalid("/" .. name, "unknown field") end
    if FLAGS[name] ~= nil and type(value) ~= "boolean" then
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

--- Answers that nothing of a batch was applied.
local function rolled_back(outcome, document)
  if outcome.code == "unavailable" then return outcomes.refused(outcome) end
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
  if document.status == "rolled_back" then return rolled_back(batch.outcome, document) end
  local code = document.failed > 0 and 207 or 200
  return { status = (document.laggards or 0) > 0 and code == 200 and 202 or code, json = document,
    headers = outcomes.headers { version = document.version, laggards = document.laggards } }
end

local function dry(context, ops, own)
  own.dry_run = true
  local outcome = await.call(function(callback) context.transactions().apply(ops, own, callback) end)
  if not outcome.ok then return rolled_back(outcome) end
  local answer = outcomes.dry(outcome)
  answer.json.total = #ops
  return answer
end

local function accepted(document, is_asked)
  local headers = { "Location", PLACE .. document.operation_id, "Retry-After", "1" }
  if is_asked then headers[#headers + 1], headers[#headers + 2] = "Preference-Applied", "respond-async" end
  local copy = {} -- as it is now: the answer is written later
  for name, value in pairs(document) do copy[name] = value end
  copy.results = nil
  return { status = 202, json = copy, headers = headers }
end

local function unavailable(detail)
  return problem.new("unavailable", detail, { headers = { "Retry-After", "1" } })
end

--- Begins a batch that goes on after the answer.
local function start(context, batch, is_asked)
  if runs.count() >= MAX_UNDER_WAY then
    return unavailable(("%d batches are under way; wait for one of them."):format(MAX_UNDER_WAY))
  end
  if runs.save(context, batch) then return unavailable "The store is not available; nothing has changed." end
  local answer = accepted(batch.document, is_asked)
  runs.start(context, batch)
  return answer
end

local function post(kind)
  return function(context, request)
    local params, bad = read_query(request)
    if not params then return bad end
    local body
    body, bad = read_body(request)
    if not body then return bad end
    local is_dry = params.is_dry or body.dry_run
    if is_dry and not body.atomic then
      return resources.invalid("/atomic", "a dry run is of the whole: it cannot be false")
    end
    local ops
    ops, bad = plans.read(context.transactions(), request, body.operations,
      { kind = kind, tenant_id = params.tenant_id })
    if not ops then return bad end
    local own = rest.context_of(request, false)
    if own.probation and not body.atomic then
      if not own.probation.is_default then
        return resources.invalid("/atomic", "probation is of the whole: it cannot be false")
      end
      own.probation = nil
    end
    if is_dry then return dry(context, ops, own) end
    local batch = runs.new(ops, { is_atomic = body.atomic, context = own, base_version = queue.next_version() - 1 })
    local is_asked = bodies.prefers(request, "respond-async")
    if is_asked or #ops > MAX_WAIT then return start(context, batch, is_asked) end
    runs.run(context, batch)
    if batch.document.status == "completed" then runs.save(context, batch) end
    return ended(batch)
  end
end

-- Batches ---------------------------------------------------------------------------------------------------

--- Finds the batch of a path. Returns its document, or nil and a problem.
local function find(context, request)
  local params, names = query.parse(request.query)
  local bad = not params and names or query.unknown(names, {})
  if bad then return nil, bad end
  local id = request.params.id
  local document, err = nil, nil
  if id:find "^%x+$" and #id == 32 then document, err = runs.find(context, id) end
  if document then return document end
  if err then return nil, unavailable "The store is not available." end
  return nil, resources.not_found("bulk operation", id)
end

local function get(context, request)
  local document, bad = find(context, request)
  if not document then return bad end
  return { json = document, headers = not runs.has_ended(document) and { "Retry-After", "1" } or nil }
end

local FIELDS = { operation_id = true, status = true, atomic = true, total = true, done = true, succeeded = true,
  failed = true, version = true, author = true, created_at = true, ended_at = true }
local PAGING = { limit = true, cursor = true, page = true, sort = true }

local function list(context, request)
  local params, names = query.parse(request.query)
  if not params then return names end
  local known = {}
  for _, set in ipairs { FIELDS, PAGING } do
    for name in pairs(set) do known[name] = true end
  end
  local bad = query.unknown(names, known)
  if bad then return bad end
  local documents = runs.list(context)
  if not documents then return unavailable "The store is not available." end
  return query.answer(request, params, documents, FIELDS, "-created_at,operation_id")
end

local function cancel(context, request)
  local document, bad = find(context, request)
  if not document then return bad end
  if runs.has_ended(document) or not runs.cancel(request.params.id) then
    return problem.new("conflict", ("It has ended already: %s."):format(document.status))
  end
  return { status = 202, json = document, headers = { "Location", PLACE .. request.params.id, "Retry-After", "1" } }
end

-- Registration ----------------------------------------------------------------------------------------------

local STRING, INTEGER, BOOLEAN = { type = "string" }, { type = "integer" }, { type = "boolean" }

local RESULT = { type = "object", properties = { index = INTEGER, action = STRING, kind = STRING, id = STRING,
  status = { type = "string", enum = { "ok", "error", "rolled_back", "cancelled", "interrupted" } }, error = STRING,
  code = STRING, pointer = STRING, version = INTEGER } }
local DOCUMENT = { type = "object", properties = { operation_id = STRING, status = { type = "string",
  enum = { "pending", "running", "completed", "rolled_back", "cancelled", "interrupted" } }, atomic = BOOLEAN,
  total = INTEGER, done = INTEGER, succeeded = INTEGER, failed = INTEGER, version = INTEGER, laggards = INTEGER,
  author = STRING, summary = STRING, error = STRING, created_at = STRING, ended_at = STRING,
  results = { type = "array", items = RESULT } } }
local ANSWER = { [bodies.JSON] = DOCUMENT }

local function request_schema(kind)
  local operation = { type = "object", additionalProperties = false, required = kind and { "action" }
    or { "action", "kind" }, properties = { action = { type = "string", enum = plans.ACTIONS },
    kind = { type = "string", enum = kind and { kind } or plans.KINDS }, id = STRING, tenant_id = STRING, pool = STRING,
    consumer = STRING, data = { type = "object" }, if_match = INTEGER } }
  return { type = "object", additionalProperties = false, required = { "operations" }, properties = {
    operations = { type = "array", minItems = 1, maxItems = plans.MAX, items = operation }, atomic = BOOLEAN,
    dry_run = BOOLEAN } }
end

local PARAMETERS = { { "limit", INTEGER, "Batches of a page; all when left out." },
  { "cursor", STRING, "Of the Link header: the next page." }, { "page", INTEGER, "Instead of a cursor, from 1." },
  { "sort", STRING, "Fields, each perhaps after a minus sign." } }
for name in pairs(FIELDS) do
  PARAMETERS[#PARAMETERS + 1] = { name, STRING, "Only those with this value." }
end
table.sort(PARAMETERS, function(a, b) return a[1] < b[1] end)

local function post_doc(kind)
  return { tag = "bulk", is_idempotent = true, is_of_tenant = true, body = { [bodies.JSON] = request_schema(kind) },
    summary = ("Applies up to 10,000 operations to %s, by default as one transaction."):format(kind or "entities"),
    parameters = { { "dry_run", BOOLEAN, "Only say what would change." } },
    answers = { ["200"] = { "All are applied, or what would change (dry run).", ANSWER },
      ["202"] = { "They go on; Location says where to look.", ANSWER },
      ["207"] = { "Some failed (`atomic: false`).", ANSWER } } }
end

--- Registers the endpoints.
function M.register(router, context)
  for path, kind in pairs { [""] = false, ["/pools"] = "pools", ["/backends"] = "backends", ["/routes"] = "routes" } do
    router:register { method = "POST", path = "/api/bulk" .. path, permission = "bulk:write", takes_probation = true,
      handler = rest.post(context, post(kind or nil)), doc = post_doc(kind or nil), max_bytes = MAX_BYTES }
  end
  local function add(method, permission, handler, doc, path)
    doc.tag = "bulk"
    router:register { method = method, path = path or PLACE .. "{id}", permission = permission, doc = doc,
      handler = function(request)
        if not bodies.accepts(request, bodies.JSON) then
          return problem.new("not_acceptable", "This is answered as application/json.")
        end
        if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
        return handler(context, request)
      end }
  end
  add("GET", "bulk:read", list, { summary = "The batches of a day, the newest first, without their results.",
    parameters = PARAMETERS, answers = { ["200"] = { "A list; X-Total-Count says how many there are.",
      { [bodies.JSON] = { type = "array", items = DOCUMENT } } } } }, PLACE:sub(1, -2))
  add("GET", "bulk:read", get, { summary = "How far a batch is, or how it ended; known for a day.",
    answers = { ["200"] = { "The batch.", ANSWER } } })
  add("DELETE", "bulk:write", cancel, { summary = "Cancels a batch: what is not applied yet will not be.",
    answers = { ["202"] = { "It ends soon.", ANSWER } } })
end

return M

--- The configuration as a whole: what runs, as a document in and out, its versions, and the way back.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local conf = require "veloflux.conf"
local json = require "veloflux.pdk.json"
local offload = require "veloflux.control.offload"
local outcomes = require "veloflux.admin.outcomes"
local probation = require "veloflux.admin.probation"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local status = require "veloflux.admin.status"

local M = {}

local PAGE = 100 -- versions, unless a limit is given
local MAX_VERSION = 2 ^ 53

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

-- Documents -------------------------------------------------------------------------------------------------

local FORMATS = { json = "application/json", yaml = bodies.YAML }

local function export(context, request)
  local params, bad = read_query(request, { format = true, secrets = true })
  if not params then return bad end
  local format, shown = params.format or "json", params.secrets or "sealed"
  if shown ~= "sealed" and shown ~= "masked" then return query.wrong("secrets", "expected sealed or masked") end
  if not FORMATS[format] then return query.wrong("format", "expected json or yaml") end
  if not bodies.accepts(request, FORMATS[format]) then
    return problem.new("not_acceptable", ("This is answered as %s."):format(FORMATS[format]))
  end
  return { status = 200, body = context.transactions().export(format, shown == "masked"), headers = {
    "Content-Type", FORMATS[format],
    "Content-Disposition", ('attachment; filename="veloflux.%s"'):format(format), "Cache-Control", "no-store",
    "X-Content-Type-Options", "nosniff" } }
end

local MODES = { merge = true, replace = true }

local function import(context, request)
  local params, all = read_query(request, { mode = true, dry_run = true })
  if not params then return all end
  local mode = params.mode or "merge"
  if not MODES[mode] then return query.wrong("mode", "expected merge or replace") end
  local is_dry, bad = query.flag(all, "dry_run")
  if bad then return bad end
  local text
  text, bad = bodies.read_document(request)
  if not text then return bad end
  local result = await.call(function(callback)
    context.transactions().import(text, mode, rest.context_of(request, is_dry), callback)
  end)
  if not result.ok then return outcomes.refused(result) end
  return M.changed("imported", result, is_dry)
end

local function validate(context, request)
  local params, bad = read_query(request, {})
  if not params then return bad end
  local text
  text, bad = bodies.read_document(request)
  if not text then return bad end
  local doc, fault = offload.parse(text, "document")
  if not doc then
    return problem.new("invalid", conf.format(fault),
      { errors = { { pointer = "", detail = fault.message, line = fault.line } } })
  end
  local result = context.transactions().validate(doc)
  local errors = json.array()
  for i, found in ipairs(result.errors or {}) do
    errors[i] = { path = found.pointer, pointer = found.pointer, message = found.detail, detail = found.detail,
      line = found.line }
  end
  return { json = { valid = result.ok, status = result.ok and "valid" or "invalid", errors = errors,
    warnings = listed(result.warnings), findings = outcomes.findings(result) } }
end

-- Versions --------------------------------------------------------------------------------------------------

local function shown_version(record)
  return { version = record.version, time = status.time(record.time_ms), author = record.author,
    source = record.source, reason = record.reason, request_id = record.request_id, summary = record.summary }
end

--- Asks something of transactions that is answered by a callback. Yields.
local function ask(context, name, ...)
  local arguments, n = { ... }, select("#", ...)
  return await.call(function(callback)
    arguments[n + 1] = callback
    context.transactions()[name](unpack(arguments, 1, n + 1))
  end)
end

local function versions(context, request)
  local params, all = read_query(request, { limit = true, cursor = true })
  if not params then return all end
  local limit, bad = query.integer(all, "limit", 1, query.MAX_LIMIT)
  if bad then return bad end
  local before
  before, bad = query.integer(all, "cursor", 1, MAX_VERSION)
  if bad then return bad end
  limit = limit or PAGE
  local result = ask(context, "versions", { before = before, limit = limit + 1 })
  if not result.ok then return outcomes.refused(result) end
  local list = json.array()
  for i = 1, math.min(limit, #result.versions) do list[i] = shown_version(result.versions[i]) end
  local headers = #result.versions > limit and { "Link",
    ('<%s?limit=%d&cursor=%d>; rel="next"'):format(request.path, limit, list[limit].version) } or nil
  return { json = list, headers = headers }
end

local function number_of(request)
  local text = request.params.version
  local number = text:match "^%d+$" and tonumber(text)
  if number and number >= 1 and number <= MAX_VERSION then return number end
  return nil, resources.not_found("version", text)
end

local function version(context, request)
  local params, bad = read_query(request, {})
  if not params then return bad end
  local number
  number, bad = number_of(request)
  if not number then return bad end
  local result = ask(context, "version", number)
  if not result.ok then return outcomes.refused(result) end
  local shown = shown_version(result.version)
  shown.diff = outcomes.diff(result.diff)
  shown.probation = probation.shown(context, number)
  return { json = shown }
end

local function rollback(context, request)
  local params, all = read_query(request, { dry_run = true })
  if not params then return all end
  local is_dry, bad = query.flag(all, "dry_run")
  if bad then return bad end
  local number
  number, bad = number_of(request)
  if not number then return bad end
  local body
  body, bad = bodies.read(request, bodies.JSON, true)
  if not body then return bad end
  for name, value in pairs(body) do
    if name ~= "reason" then return resources.invalid("/" .. name, "unknown key, expected reason") end
    if type(value) ~= "string" or #value > 1000 then return resources.invalid("/reason", "expected a short text") end
  end
  local own = rest.context_of(request, is_dry)
  own.reason = body.reason or own.reason
  local result = ask(context, "rollback", number, own)
  if not result.ok then return outcomes.refused(result) end
  return M.changed("rolled_back", result, is_dry)
end

local function state_named(params, name, default)
  local text = params[name] or default
  if text == "running" or text == "file" then return text end
  local number = text:match "^%d+$" and tonumber(text)
  if number and number >= 1 and number <= MAX_VERSION then return number end
  return nil, query.wrong(name, "expected the number of a version, running or file")
end

local function diff(context, request)
  local params, bad = read_query(request, { from = true, to = true })
  if not params then return bad end
  local from, to
  from, bad = state_named(params, "from", "running")
  if not from then return bad end
  to, bad = state_named(params, "to", "file")
  if not to then return bad end
  local result = ask(context, "diff", from, to)
  if not result.ok then return outcomes.refused(result) end
  return { json = { from = from, to = to, summary = result.summary, diff = outcomes.diff(result.diff) } }
end

-- Registration ----------------------------------------------------------------------------------------------

local STRING, INTEGER, BOOLEAN = { type = "string" }, { type = "integer" }, { type = "boolean" }
local OBJECT, ARRAY, JSON = { type = "object" }, { type = "array" }, "application/json"
local DRY = { "dry_run", BOOLEAN, "Only say what would change." }
local DOCUMENT = { [JSON] = OBJECT, [bodies.YAML] = OBJECT }

local ROWS = {
  { "GET", "/api/config", "read", running, { summary = "What runs: addresses, routes and pools. Its ETag is the "
    .. "version of the system." } },
  { "GET", "/api/config/export", "export", export, { summary = "All entities as a document. Secrets stand there by "
    .. "reference, or sealed for this installation.", answers = { ["200"] = { "The document.", DOCUMENT } },
    parameters = { { "format", { type = "string", enum = { "json", "yaml" } }, "json when left out." },
      { "secrets", { type = "string", enum = { "sealed", "masked" } }, "masked: `*****` stands for what would be "
        .. "sealed; an import of that keeps the stored value." } } } },
  { "POST", "/api/config/import", "write", import, { summary = "Takes a document as one transaction.",
    body = DOCUMENT, parameters = { DRY, { "mode", { type = "string",
      enum = { "merge", "replace" } }, "merge: what it names is made or replaced; replace: the rest goes, too." } } } },
  { "POST", "/api/config/validate", "validate", validate, { body = DOCUMENT,
    summary = "Judges a whole conf file, as `veloflux check` does." } },
  { "GET", "/api/config/versions", "history", versions, { summary = "The versions, the newest first.",
    answers = { ["200"] = { "A page; the Link header leads to the next.", { [JSON] = ARRAY } } },
    parameters = { { "limit", INTEGER, "Versions of a page, 100 when left out." },
      { "cursor", INTEGER, "Those before this version." } } } },
  { "GET", "/api/config/versions/{version}", "history", version, { summary = "One version: author, source, time, "
    .. "reason, and what it changed." } },
  { "POST", "/api/config/versions/{version}/rollback", "write", rollback, { parameters = { DRY },
    summary = "Brings back what the store had in a version, as a new version. What the conf file has stays.",
    body = { [JSON] = { type = "object", properties = { reason = STRING }, additionalProperties = false } },
    is_body_optional = true } },
  { "GET", "/api/config/diff", "history", diff, { summary = "What is different between two states.", parameters = {
    { "from", STRING, "The number of a version, running or file; running when left out." },
    { "to", STRING, "The same; file when left out." } } } },
}

local function handler_of(context, method, handler)
  if method == "POST" then return rest.post(context, handler) end
  return function(request)
    if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    if handler ~= export and not bodies.accepts(request, JSON) then
      return problem.new("not_acceptable", "This is answered as application/json.")
    end
    return handler(context, request)
  end
end

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    local doc = row[5]
    doc.tag = "config"
    doc.answers = doc.answers or { ["200"] = { "The answer.", { [JSON] = OBJECT } } }
    router:register { method = row[1], path = row[2], permission = "config:" .. row[3],
      handler = handler_of(context, row[1], row[4]), doc = doc,
      takes_probation = row[4] == import or row[4] == rollback, spools = row[4] == import or row[4] == validate,
      max_bytes = (row[4] == import or row[4] == validate) and bodies.MAX_DOCUMENT or nil }
  end
end

return M

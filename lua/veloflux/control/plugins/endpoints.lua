--- Endpoints of plugins as the admin API serves them: what comes in is judged by their schemas, the handler runs as a
-- task, and what it returns becomes the answer. Authentication, permissions, Idempotency-Key and problem documents are
-- those of all endpoints (admin/init.lua).
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local documents = require "veloflux.control.plugins.documents"
local encoding = require "veloflux.pdk.encoding"
local inputs = require "veloflux.control.plugins.inputs"
local json = require "veloflux.pdk.json"
local json_schema = require "veloflux.plugin.json_schema"
local lists = require "veloflux.control.plugins.lists"
local log = require "veloflux.control.plugins.log"
local problem = require "veloflux.admin.problem"
local queries = require "veloflux.admin.query"
local tags = require "veloflux.admin.rest.tags"
local tasks = require "veloflux.control.plugins.task"

local M = {}

local running = {} -- runs by the id of their request, those that end when the client leaves
local JSON, PROBLEM = "application/json", "application/problem+json"

-- Answers -------------------------------------------------------------------------------------------

--- Turns headers, a map or a list of name and value, into a list. Returns nil and a message.
local function headers_of(given)
  local list = {}
  if given == nil then return list end
  if type(given) ~= "table" then return nil, "headers: expected a table" end
  local function add(name, value)
    if type(name) ~= "string" or type(value) ~= "string" and type(value) ~= "number" then
      return "headers: expected texts"
    end
    list[#list + 1], list[#list + 2] = name, tostring(value)
  end
  local bad
  for i = 1, #given, 2 do bad = bad or add(given[i], given[i + 1]) end
  for name, value in pairs(#given == 0 and given or {}) do bad = bad or add(name, value) end
  return not bad and list or nil, bad
end

local function has_header(list, wanted)
  for i = 1, #list, 2 do
    if list[i]:lower() == wanted then return true end
  end
  return false
end

local MANY = 100 -- elements of a list that is written in pieces

--- Returns a body as JSON. The loop has its turns while long lists are written.
local function encode(body)
  if json.is_array(body) then return queries.encode(body, 1, #body) end
  local parts, rest = {}, {}
  for name, value in pairs(body) do
    if type(value) == "table" and #value > MANY then
      parts[#parts + 1] = json.encode(tostring(name)) .. ":" .. queries.encode(value, 1, #value)
    else
      rest[name] = value
    end
  end
  if #parts == 0 then return json.lenient(body) end
  if next(rest) ~= nil then parts[#parts + 1] = json.lenient(rest):sub(2, -2) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Turns what a handler has returned into a result of the router. Returns nil and a message when it is no answer.
local function result_of(status, body, given, of)
  if problem.is(status) then return status end
  if status == 304 then return { status = 304, body = "", headers = headers_of(given) } end
  if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 then
    return nil, "expected a status from 200 to 599, got " .. tostring(status)
  end
  local headers, bad = headers_of(given)
  if not headers then return nil, bad end
  if of.version then
    headers[#headers + 1], headers[#headers + 2] = "VeloFlux-Version", ("%d"):format(of.version)
    if of.laggards > 0 then
      headers[#headers + 1], headers[#headers + 2] = "VeloFlux-Laggards", tostring(of.laggards)
      if status < 205 then status = 202 end
    end
  end
  if of.tag then headers[#headers + 1], headers[#headers + 2] = "ETag", of.tag end
  local is_document = documents.is(body)
  if type(body) == "table" and not is_document then
    return { status = status, json_text = encode(body), headers = headers }
  end
  if body ~= nil and type(body) ~= "string" and not is_document then
    return nil, "expected a table, a text or a document as body, got a " .. type(body)
  end
  if body and body ~= "" and not has_header(headers, "content-type") then
    headers[#headers + 1], headers[#headers + 2] = "Content-Type", "text/plain; charset=utf-8"
  end
  if not has_header(headers, "cache-control") then
    headers[#headers + 1], headers[#headers + 2] = "Cache-Control", "no-store"
  end
  if not is_document then return { status = status, body = body or "", headers = headers } end
  local content, gone = documents.take(body)
  if not content then return nil, gone end
  if type(content) == "string" then return { status = status, body = content, headers = headers } end
  return { status = status, content = content, headers = headers }
end

-- Requests ------------------------------------------------------------------------------------------

--- What of a request the handler sees. Returns it, or nil and a problem.
local function request_of(definition, request)
  local query, is_dry, bad = inputs.query(definition, request)
  if bad then return nil, bad end
  local body
  body, bad = inputs.body(definition, request)
  if bad then return nil, bad end
  local params = {}
  for name, value in pairs(request.params) do
    params[name] = encoding.url_decode(value)
    if not params[name] then return nil, problem.new("not_found", "There is nothing at this path.") end
  end
  local headers = {}
  for name, value in pairs(request.headers) do headers[name] = value end
  headers.authorization, headers["proxy-authorization"], headers.cookie = nil, nil, nil
  local identity = request.identity
  return { method = request.method, path = request.path, raw_query = request.query, host = request.host,
    params = params, query = query, body = body, headers = headers, client = request.client,
    request_id = request.request_id, dry_run = is_dry,
    identity = identity and { name = identity.name, method = identity.method, tenant = identity.tenant } or nil,
    prefers = function(preference) return bodies.prefers({ headers = headers }, preference) end,
    list = function(items, names, order) return lists.answer(request, items, names, order) end,
    wants = function(kind) return bodies.accepts({ headers = headers }, kind) end }
end

--- Says whether a list of entity tags has one (RFC 9110 section 8.8.3).
local function has_tag(field, tag, weak)
  for item in field:gmatch "[^,]+" do
    item = item:match "^%s*(.-)%s*$"
    if item == "*" or item == tag or weak and item == "W/" .. tag then return true end
  end
  return false
end

--- Judges If-Match and If-None-Match, before the handler runs. Returns an answer that ends the matter, or nil.
local function precondition(definition, request, seen, of)
  local value = definition.etag(seen)
  if value == nil then return nil end
  if problem.is(value) then return value end
  local tag = ('"%s"'):format(tostring(value):gsub('[%c"\\]', ""))
  local is_read = request.method == "GET" or request.method == "HEAD"
  local none, match = request.headers["if-none-match"], request.headers["if-match"]
  if none and has_tag(none, tag, true) then
    if is_read then return 304, "", { ETag = tag } end
    return problem.new("stale", "There is one like that: If-None-Match does not hold.")
  end
  if match and not has_tag(match, tag) then
    return problem.new("stale", ("The current version is %s."):format(tag), { headers = { "ETag", tag } })
  end
  if is_read then of.tag = tag end
end

local FAILURES = {
  failed = function() return problem.new("internal_error", "The plugin of this path has failed; the log says why.") end,
  late = function() return problem.new("unavailable", "The plugin of this path took too long.",
    { headers = { "Retry-After", "1" } }) end,
  tripped = function() return problem.new("unavailable", "The plugin of this path fails too often: it rests.",
    { headers = { "Retry-After", "30" } }) end,
  gone = function() return problem.new("unavailable", "The client is gone.") end,
  stopped = function() return problem.new("unavailable", "The plugin of this path was stopped.") end,
}

--- Says whether a client that leaves may ask for the answer again: then what it asked for is done to its end, because
-- half of it, or all but its answer, would be done twice.
local function is_asked_for_again(request)
  return request.method == "POST" and request.headers["idempotency-key"] ~= nil
end

--- Runs the handler. Yields.
local function serve(plugin, definition, request, seen)
  local what = definition.method .. " " .. definition.path
  local of = { identity = request.identity, request = request, dry_run = seen.dry_run, source = "api", laggards = 0,
    if_versions = not definition.etag and tags.versions(request) or nil }
  local function handle()
    if definition.etag then
      local status, body, headers = precondition(definition, request, seen, of)
      if status then return status, body, headers end
    end
    return definition.handler(seen)
  end
  local how, status, body, headers = await.call(function(callback)
    local run = tasks.start(plugin, { what = what, of = of, limit_ms = definition.timeout_ms, on_end = callback },
      handle)
    running[request.id or 0] = not is_asked_for_again(request) and run or nil
  end)
  running[request.id or 0] = nil
  if (request.spool or of.documents) and (of.n_asked or 0) > 0 then -- what it asked of the core reads it still
    await.call(function(callback) of.on_answered = callback end)
  end
  local result, message
  if how == "done" then result, message = result_of(status, body, headers, of) end
  documents.close(of)
  if how ~= "done" then return FAILURES[how]() end
  if result then return result end
  log.bad_answer(plugin, what, message)
  return problem.new("internal_error", "The plugin of this path gave no answer; the log says why.")
end

--- The client of a request is gone: what runs for it is ended.
-- @param id of the request
function M.gone(id)
  if running[id] then running[id]:abandon() end
end

-- Registration --------------------------------------------------------------------------------------

local NO_CONTENT = { ["101"] = true, ["204"] = true, ["304"] = true }

local function content_of(types, schema)
  local content = {}
  for _, kind in ipairs(types) do content[kind] = schema or {} end
  return content
end

--- What the OpenAPI document says, see admin/openapi/init.lua.
local function doc_of(definition)
  local answers, texts = {}, { [tostring(definition.status or 200)] = "The answer." }
  for status, text in pairs(definition.answers or {}) do texts[tostring(status)] = text end
  for status, text in pairs(texts) do
    local content = not NO_CONTENT[status] and content_of(definition.response_types,
      status < "300" and definition.response and json_schema.of(definition.response.config)) or nil
    if status >= "400" and content then content[PROBLEM] = "Problem" end
    answers[status] = { text, content }
  end
  local doc = { tag = definition.tag, summary = definition.summary, parameters = inputs.parameters(definition),
    answers = answers, has_etag = definition.etag ~= nil }
  if definition.request then
    doc.body = { [definition.method == "PATCH" and bodies.MERGE_PATCH or JSON] =
      json_schema.of(definition.request.config) }
  elseif definition.request_types and definition.request_types[1] ~= "*/*" then
    doc.body = content_of(definition.request_types)
  end
  doc.is_body_optional = definition.request_is_optional
  for name, value in pairs(definition.openapi or {}) do doc[name] = value end
  return doc
end

--- Judges Accept. Returns nil, or a problem.
local function not_acceptable(definition, request)
  local types = definition.response_types
  if definition.any_accept or bodies.accepts(request, PROBLEM, unpack(types)) then return nil end
  return problem.new("not_acceptable", ("This is answered as %s."):format(table.concat(types, " or ")))
end

--- Returns endpoints for the router.
-- @param definitions of plugin/control/api.lua
function M.of(plugin, definitions)
  local list = {}
  for i, definition in ipairs(definitions) do
    local open = definition.open and function()
      local ok, is_open = tasks.call_now(plugin, definition.open)
      return ok and is_open == true
    end
    list[i] = { method = definition.method, path = definition.path,
      permission = definition.permission ~= "none" and definition.permission or nil,
      open = open or definition.permission == "none" or nil, doc = doc_of(definition),
      is_of_tenant = definition.is_of_tenant, takes_probation = definition.takes_probation, greets = definition.greets,
      max_bytes = definition.max_bytes, spools = definition.max_bytes and true or nil,
      handler = function(request)
        local bad = not_acceptable(definition, request)
        if bad then return bad end
        local seen
        seen, bad = request_of(definition, request)
        if not seen then return bad end
        return serve(plugin, definition, request, seen)
      end }
  end
  return list
end

return M

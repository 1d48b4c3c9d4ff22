--- The OpenAPI 3.1 document of everything that the router serves, and the reference in docs/api.md, from the same
-- declarations. What an endpoint says in its `doc`:
--   resource, what    one of resources/ and list, create, get, put, patch or delete: the rest follows
-- or
--   summary           what it does, a sentence
--   tag               the group that it stands in
--   parameters        list of {name, schema, description, is_required}: of the query; in a path all are required
--   may_be_tried      true: takes dry_run, and changes no entity otherwise; "alike": the answer has the usual form then
--   body              {media type = schema}; is_body_optional
--   answers           {status = {description, {media type = schema} or nil}}
-- Schemas are plain tables, objects of json_schema, or names of `components`.
local descriptions = require "veloflux.admin.descriptions"
local json_schema = require "veloflux.plugin.json_schema"
local probation = require "veloflux.admin.probation"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"

local M = {}

local object = json_schema.object

--- Returns what is said of an endpoint, or nil.
function M.doc_of(endpoint) return endpoint.doc or descriptions[endpoint.method .. " " .. endpoint.path] end
local doc_of = M.doc_of
local JSON, PROBLEM = "application/json", "application/problem+json"

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Turns plain tables into objects with sorted keys; lists and objects stay.
local function plain(value)
  if type(value) ~= "table" or getmetatable(value) or value[1] ~= nil then return value end
  local out = object()
  for _, name in ipairs(names_of(value)) do out:set(name, plain(value[name])) end
  return out
end

local function component_name(resource)
  local name = resource.noun:gsub("%s+(%a)", string.upper)
  return name:sub(1, 1):upper() .. name:sub(2)
end

local function ref(name) return object("$ref", "#/components/schemas/" .. name) end

local function schema_of(schema)
  if type(schema) == "string" then return ref(schema) end
  return plain(schema or {})
end

local function content(media)
  local out = object()
  for _, kind in ipairs(names_of(media)) do out:set(kind:match "^[^;]+", object("schema", schema_of(media[kind]))) end
  return out
end

local function problem_answer(description)
  return object("description", description, "content", content { [PROBLEM] = "Problem" })
end

local function header(description, schema) return object("description", description, "schema", plain(schema)) end

-- Parameters ------------------------------------------------------------------------------------------------

local STRING, BOOLEAN = { type = "string" }, { type = "boolean" }

local function parameter(place, name, schema, description, is_required)
  return object("name", name, "in", place, "description", description, "required", is_required or nil,
    "schema", plain(schema))
end

local PATH_NAMES = { id = "Its id.", pool_name = "The name of the pool.", consumer = "The name of the consumer.",
  kind = "The kind.", version = "The number of a version." }

local function path_parameters(path)
  local list = {}
  for name in path:gmatch "{([%w_]+)}" do
    list[#list + 1] = parameter("path", name, STRING, PATH_NAMES[name], true)
  end
  return list
end

local TENANT = { "tenant_id", STRING, "The tenant whose it is; `default` when left out." }
local DRY = { "dry_run", BOOLEAN, "Only say what would change." }

local WAIT = { "wait", { type = "string", enum = { "cluster" } },
  "Answer when all live nodes serve it, or after 5 s as 202 with the others in VeloFlux-Lagging-Nodes." }

local function query_parameters(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = parameter("query", row[1], row[2], row[3], row[4]) end
  return list
end

local function list_parameters(resource)
  local rest = require "veloflux.admin.rest"
  local rows = {
    { "limit", { type = "integer", minimum = 1, maximum = query.MAX_LIMIT },
      ("Items of a page. Without it all are answered, up to %d."):format(query.MAX_ITEMS) },
    { "cursor", STRING, "Where the page begins: from the Link header of the one before." },
    { "page", { type = "integer", minimum = 1 }, "The number of a page, instead of a cursor." },
    { "sort", STRING, "Fields, separated by commas; a minus before one turns its order." },
  }
  local seen = {}
  for _, path in ipairs(names_of(rest.paths(resource))) do
    if not seen[path] then rows[#rows + 1] = { path, STRING, ("Only those whose `%s` is this."):format(path) } end
    seen[path] = true
  end
  return query_parameters(rows)
end

local function field(name, description) return parameter("header", name, STRING, description) end

local PREFER = field("Prefer", "`handling=lenient`: unknown fields are ignored.")
local IF_MATCH = field("If-Match", "Only if its ETag is one of these.")
local IF_NONE_MATCH = field("If-None-Match", "304 if its ETag is one of these.")
local KEY = field("Idempotency-Key", "Repeating the request within 24 hours gives the first answer again.")

-- Resources -------------------------------------------------------------------------------------------------

local SUMMARIES = { list = "Lists the %ss.", create = "Creates a %s.", get = "Shows a %s.",
  put = "Changes the fields that are present; `null` resets one to its default.",
  patch = "Changes a %s by a JSON merge patch (RFC 7396).", delete = "Deletes a %s." }

local ETAG = { ETag = header("The version in which it last changed.", STRING) }
local VERSION = { ["VeloFlux-Version"] = header("The version that the change made.", { type = "integer" }) }
local LAGGING = { ["VeloFlux-Lagging-Nodes"] = header("With `wait`: the nodes that do not serve it yet.", STRING) }

local function with_headers(...)
  local out = object()
  for _, set in ipairs { ... } do
    for _, name in ipairs(names_of(set)) do out:set(name, set[name]) end
  end
  return out
end

local function one_of_change(resource)
  return { [JSON] = object("anyOf", { ref(component_name(resource)), ref "DryRun" }) }
end

local function success(resource, what)
  local name = component_name(resource)
  local answers = object()
  if what == "list" then
    answers:set("200", object("description", "The list.", "headers", object(
      "X-Total-Count", header("How many there are in all.", { type = "integer" }),
      "Link", header("The next page, rel=\"next\".", STRING)),
      "content", content { [JSON] = object("type", "array", "items", ref(name)) }))
  elseif what == "get" then
    answers:set("200", object("description", "The object.", "headers", with_headers(ETAG),
      "content", content { [JSON] = name }))
    answers:set("304", object("description", "It is as If-None-Match says."))
  elseif what == "delete" then
    answers:set("200", object("description", "What would change (dry run).", "content", content { [JSON] = "DryRun" }))
    answers:set("204", object("description", "It is gone.", "headers", with_headers(VERSION)))
    answers:set("202", object("description", "It is gone, but not in all processes yet.", "headers",
      with_headers(VERSION, LAGGING)))
  else
    local status = what == "create" and "201" or "200"
    if what == "create" then
      answers:set("200", object("description", "What would change (dry run).", "content",
        content { [JSON] = "DryRun" }))
    end
    local headers = what == "create" and { Location = header("Where it is.", STRING) } or {}
    answers:set(status, object("description", "The object; it is live.", "headers",
      with_headers(ETAG, headers, VERSION), "content", content(one_of_change(resource))))
    answers:set("202", object("description", "The object; it is not live in all processes yet.", "headers",
      with_headers(ETAG, headers, VERSION, LAGGING), "content", content { [JSON] = name }))
  end
  return answers
end

local FAILURES = {
  list = { "400", "401", "403", "404", "406", "503" },
  get = { "400", "401", "403", "404", "406", "409", "503" },
  create = { "400", "401", "403", "404", "406", "409", "413", "415", "422", "503" },
  put = { "400", "401", "403", "404", "406", "409", "412", "413", "415", "503" },
  delete = { "400", "401", "403", "404", "406", "409", "412", "503" },
}
FAILURES.patch = FAILURES.put

local WORDS = { ["400"] = "The request is not valid: `errors` points at each wrong field.",
  ["401"] = "Authentication is needed.", ["403"] = "Not allowed.", ["404"] = "There is none.",
  ["406"] = "The client does not take JSON.", ["409"] = "It conflicts with another: `detail` names it.",
  ["412"] = "A precondition does not hold.", ["413"] = "The body is too large.",
  ["415"] = "The body is of another media type.",
  ["507"] = "The disk is full; nothing has changed.", ["422"] = "The Idempotency-Key was used for another request.",
  ["503"] = "The store is not available; nothing has changed." }

local function add_failures(answers, statuses)
  for _, status in ipairs(statuses) do answers:set(status, problem_answer(WORDS[status])) end
end

local function resource_operation(endpoint, operation)
  local resource, what = endpoint.doc.resource, endpoint.doc.what
  local parameters = path_parameters(endpoint.path)
  local function add(list)
    for _, row in ipairs(list) do parameters[#parameters + 1] = row end
  end
  operation:set("summary", SUMMARIES[what]:format(resource.noun))
  operation:set("tags", { resource.name })
  if what == "list" then
    add(list_parameters(resource))
  else
    add(query_parameters { TENANT })
  end
  if what == "get" then add { IF_NONE_MATCH } end
  if what == "create" then add { KEY } end
  if what == "put" then
    add(query_parameters { { "mode", { type = "string", enum = { "merge", "replace" } },
      "replace: fields that are absent are reset to their defaults." } })
  end
  if what == "put" or what == "patch" or what == "delete" then add { IF_MATCH } end
  if what ~= "list" and what ~= "get" then add(query_parameters { DRY, WAIT }) end
  if endpoint.takes_probation then add(query_parameters { probation.PARAMETER }) end
  if what == "create" or what == "put" or what == "patch" then
    add { PREFER }
    local name = component_name(resource)
    local media = what == "patch" and { ["application/merge-patch+json"] = { type = "object" },
        [JSON] = { type = "object" } }
      or { [JSON] = what == "create" and name or { type = "object" } }
    operation:set("parameters", parameters)
    operation:set("requestBody", object("required", true, "content", content(media)))
  end
  operation:set("parameters", parameters)
  local answers = success(resource, what)
  add_failures(answers, FAILURES[what])
  operation:set("responses", answers)
end

-- Other endpoints -------------------------------------------------------------------------------------------

--- Returns the answers that are declared: those of the endpoint, else of descriptions.lua, else an object.
local function declared_answers(endpoint, doc)
  local described = descriptions[endpoint.method .. " " .. endpoint.path]
  return doc.answers or described and described.answers
    or { ["200"] = { "The answer.", { [JSON] = { type = "object" } } } }
end

--- Returns the media types of the good answers of an endpoint as a list.
function M.produces(endpoint)
  if endpoint.doc and endpoint.doc.resource then return { JSON } end
  local kinds, seen = {}, {}
  for status, given in pairs(declared_answers(endpoint, doc_of(endpoint) or {})) do
    for kind in pairs(status < "300" and given[2] or {}) do
      if kind:find "%+json$" then kind = JSON end
      if not seen[kind] then kinds[#kinds + 1] = kind end
      seen[kind] = true
    end
  end
  return kinds[1] and kinds or { JSON }
end

--- Adds the answer to a dry run of what changes no entity (`may_be_tried` of a doc).
local function add_dry_run(answers, declared)
  local given, schema = declared["200"], ref "DryRun"
  local made = given and given[2] and given[2][JSON]
  if made then schema = object("anyOf", { schema_of(made), schema }) end
  answers:set("200", object("description", (given and given[1] .. " " or "") .. "What would change (dry run).",
    "content", object(JSON, object("schema", schema))))
end

local function other_operation(endpoint, operation)
  local doc = doc_of(endpoint) or {}
  operation:set("summary", doc.summary or endpoint.method .. " " .. endpoint.path)
  operation:set("tags", { doc.tag or "system" })
  local parameters = path_parameters(endpoint.path)
  for _, row in ipairs(query_parameters(doc.parameters or {})) do parameters[#parameters + 1] = row end
  for _, row in ipairs(doc.parameters or {}) do -- what can be tried changes the model
    if row[1] == "dry_run" then parameters[#parameters + 1] = query_parameters({ WAIT })[1] end
  end
  if doc.may_be_tried then parameters[#parameters + 1] = query_parameters({ DRY })[1] end
  if doc.is_of_tenant then
    for _, row in ipairs(query_parameters { TENANT }) do parameters[#parameters + 1] = row end
  end
  if endpoint.takes_probation then parameters[#parameters + 1] = query_parameters { probation.PARAMETER }[1] end
  if endpoint.method == "POST" then parameters[#parameters + 1] = KEY end
  if doc.has_etag then
    parameters[#parameters + 1], parameters[#parameters + 2] = IF_MATCH, IF_NONE_MATCH
  end
  if #parameters > 0 then operation:set("parameters", parameters) end
  if doc.body then
    operation:set("requestBody", object("required", not doc.is_body_optional, "content", content(doc.body)))
  end
  local answers, declared = object(), declared_answers(endpoint, doc)
  for _, status in ipairs(names_of(declared)) do
    local given = declared[status]
    local media = given[2] or status >= "400" and { [PROBLEM] = "Problem" }
    answers:set(status, object("description", given[1], "content", media and content(media) or nil))
  end
  if doc.may_be_tried == true then add_dry_run(answers, declared) end
  if not endpoint.open then add_failures(answers, { "401", "403" }) end
  if doc.body then add_failures(answers, { "413" }) end
  if endpoint.spools then add_failures(answers, { "507" }) end
  answers:set("default", problem_answer "Something else went wrong.")
  operation:set("responses", answers)
end

local function operation_of(endpoint)
  local id = (endpoint.method:lower() .. endpoint.path):gsub("[^%w]+", "_"):gsub("_+$", "")
  local operation = object("operationId", id)
  if endpoint.doc and endpoint.doc.resource then
    resource_operation(endpoint, operation)
  else
    other_operation(endpoint, operation)
  end
  if endpoint.open == true then
    operation:set("security", {})
  elseif endpoint.greets then
    operation:set("security", { object(), object("basic", {}) })
  elseif endpoint.permission then
    operation:set("x-permission", endpoint.permission)
  end
  return operation
end

-- The document ----------------------------------------------------------------------------------------------

local function problem_schema()
  local text = { type = "string" }
  return object("description", "A problem document (RFC 9457).", "type", "object", "properties", plain {
    type = text, title = text, status = { type = "integer" }, detail = text, instance = text, error = text,
    code = text, request_id = text,
    errors = { type = "array", items = { type = "object", properties = { pointer = text, detail = text } } },
  }, "required", { "type", "title", "status", "detail", "code" })
end

local function dry_schema()
  return object("description", "What a change would do.", "type", "object", "properties", plain {
    dry_run = { const = true }, diff = {}, summary = { type = "string" }, warnings = { type = "array" },
    findings = { type = "array", items = { type = "object" } },
    affected_routes = { type = "array" }, affected_count = { type = "integer" },
  }, "required", { "dry_run", "diff", "warnings" })
end

local function components()
  local all = object()
  for _, resource in ipairs(resources.all()) do all:set(component_name(resource), schemas.of(resource)) end
  all:set("Problem", problem_schema())
  all:set("DryRun", dry_schema())
  return object("securitySchemes", object("basic", object("type", "http", "scheme", "basic")), "schemas", all)
end

local function sorted(endpoints)
  local list = {}
  for i, endpoint in ipairs(endpoints) do list[i] = endpoint end
  local place = { GET = 1, POST = 2, PUT = 3, PATCH = 4, DELETE = 5 }
  table.sort(list, function(a, b)
    if a.path ~= b.path then return a.path < b.path end
    return (place[a.method] or 9) < (place[b.method] or 9)
  end)
  return list
end

--- Returns the document as JSON text.
-- @param router of router.lua
-- @param version of this build
function M.text(router, version)
  local paths = object()
  for _, endpoint in ipairs(sorted(router:all())) do
    if not paths.values[endpoint.path] then paths:set(endpoint.path, object()) end
    paths.values[endpoint.path]:set(endpoint.method:lower(), operation_of(endpoint))
  end
  return json_schema.encode(object("openapi", "3.1.0", "info", object("title", "VeloFlux admin API", "version", version,
    "description", "The configuration and the state of a VeloFlux node.", "license",
    object("name", "Apache-2.0", "identifier", "Apache-2.0")), "servers", { object("url", "/") },
    "security", { object("basic", {}) }, "paths", paths, "components", components()))
end

-- The reference ---------------------------------------------------------------------------------------------

local function type_word(schema)
  local values = schema.values
  if values.enum then
    local words = {}
    for i, word in ipairs(values.enum) do words[i] = "`" .. tostring(word) .. "`" end
    return table.concat(words, ", ")
  end
  if values.anyOf then
    local words = {}
    for i, choice in ipairs(values.anyOf) do words[i] = type_word(choice) end
    return table.concat(words, " or ")
  end
  local kind = values.type
  if type(kind) == "table" then kind = table.concat(kind, " or ") end
  if kind == "array" and values.items then return "array of " .. type_word(values.items) end
  return kind or "any"
end

local function add_fields(out, schema)
  out[#out + 1] = "| field | type | |"
  out[#out + 1] = "|---|---|---|"
  local required = {}
  for _, name in ipairs(schema.values.required or {}) do required[name] = true end
  for _, name in ipairs(schema.values.properties.keys) do
    local property = schema.values.properties.values[name]
    local notes = (property.values.description or ""):gsub("|", "\\|")
    if required[name] then notes = "Required. " .. notes end
    if property.values.readOnly then notes = "Read only. " .. notes end
    if property.values.writeOnly then notes = "Answered masked. " .. notes end
    out[#out + 1] = ("| `%s` | %s | %s |"):format(name, type_word(property), notes)
  end
end

--- Returns the reference of all endpoints in Markdown.
function M.markdown(router)
  local out, by_tag, tags = {}, {}, {}
  for _, endpoint in ipairs(sorted(router:all())) do
    local said = doc_of(endpoint) or {}
    local tag = said.resource and said.resource.name or said.tag or "system"
    if not by_tag[tag] then
      by_tag[tag], tags[#tags + 1] = {}, tag
    end
    table.insert(by_tag[tag], endpoint)
  end
  table.sort(tags)
  for _, tag in ipairs(tags) do
    out[#out + 1] = "## " .. tag .. "\n"
    out[#out + 1] = "| | | permission | |"
    out[#out + 1] = "|---|---|---|---|"
    for _, endpoint in ipairs(by_tag[tag]) do
      local doc = doc_of(endpoint) or {}
      local summary = doc.resource and SUMMARIES[doc.what]:format(doc.resource.noun) or doc.summary or ""
      out[#out + 1] = ("| %s | `%s` | %s | %s |"):format(endpoint.method, endpoint.path,
        endpoint.open == true and "none" or endpoint.permission or "none", summary)
    end
    out[#out + 1] = ""
    if resources[tag] then
      add_fields(out, schemas.of(resources[tag]))
      out[#out + 1] = ""
    end
  end
  return table.concat(out, "\n")
end

return M

--- The operation of an endpoint that says itself what it takes and answers, in the OpenAPI document: by its `doc`, or
-- by descriptions.lua.
local descriptions = require "veloflux.admin.descriptions"
local json_schema = require "veloflux.plugin.json_schema"
local parts = require "veloflux.admin.openapi.parts"
local probation = require "veloflux.admin.probation"
local sorted = require "veloflux.sorted"

local M = {}

local object, content = json_schema.object, parts.content
local add, query_parameters = parts.add, parts.query_parameters
local JSON, PROBLEM = parts.JSON, parts.PROBLEM

--- Returns what is said of an endpoint, or nil.
function M.doc_of(endpoint) return endpoint.doc or descriptions[endpoint.method .. " " .. endpoint.path] end
local doc_of = M.doc_of

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
  local given, schema = declared["200"], parts.ref "DryRun"
  local made = given and given[2] and given[2][JSON]
  if made then schema = object("anyOf", { parts.schema_of(made), schema }) end
  local media = {}
  for kind, own in pairs(given and given[2] or {}) do media[kind] = own end
  media[JSON] = schema
  answers:set("200", object("description", (given and given[1] .. " " or "") .. "What would change (dry run).",
    "content", parts.content(media)))
end

local function parameters_of(endpoint, doc)
  local parameters = parts.path_parameters(endpoint.path)
  add(parameters, query_parameters(doc.parameters or {}))
  for _, row in ipairs(doc.parameters or {}) do -- what can be tried changes the model
    if row[1] == "dry_run" then add(parameters, query_parameters { parts.WAIT }) end
  end
  if doc.may_be_tried then add(parameters, query_parameters { parts.DRY }) end
  if doc.is_of_tenant then add(parameters, query_parameters { parts.TENANT }) end
  if endpoint.takes_probation then
    add(parameters, query_parameters { probation.PARAMETER })
    if not doc.has_etag then add(parameters, { parts.IF_VERSION }) end
  end
  if endpoint.method == "POST" then add(parameters, { parts.KEY }) end
  if doc.has_etag then add(parameters, { parts.IF_MATCH, parts.IF_NONE_MATCH }) end
  return parameters
end

local function answers_of(endpoint, doc)
  local answers, declared = object(), declared_answers(endpoint, doc)
  for _, status in ipairs(sorted.names(declared)) do
    local given = declared[status]
    local media = given[2] or status >= "400" and { [PROBLEM] = "Problem" }
    answers:set(status, object("description", given[1], "content", media and content(media) or nil))
  end
  if doc.may_be_tried == true then add_dry_run(answers, declared) end
  if not endpoint.open then parts.add_failures(answers, { "401", "403" }) end
  if doc.body then parts.add_failures(answers, { "413" }) end
  if endpoint.spools then parts.add_failures(answers, { "507" }) end
  answers:set("default", parts.problem_answer "Something else went wrong.")
  return answers
end

--- Fills in the operation of an endpoint.
function M.describe(endpoint, operation)
  local doc = doc_of(endpoint) or {}
  operation:set("summary", doc.summary or endpoint.method .. " " .. endpoint.path)
  operation:set("tags", { doc.tag or "system" })
  local parameters = parameters_of(endpoint, doc)
  if #parameters > 0 then operation:set("parameters", parameters) end
  if doc.body then
    operation:set("requestBody", object("required", not doc.is_body_optional, "content", content(doc.body)))
  end
  operation:set("responses", answers_of(endpoint, doc))
end

return M

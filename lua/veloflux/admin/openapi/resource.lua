--- The operations of a resource in the OpenAPI document: list, create, get, put, patch and delete, which are alike
-- for all of them.
local json_schema = require "veloflux.plugin.json_schema"
local parts = require "veloflux.admin.openapi.parts"
local probation = require "veloflux.admin.probation"
local query = require "veloflux.admin.query"
local sorted = require "veloflux.sorted"

local M = {}

local object, content, header, ref = json_schema.object, parts.content, parts.header, parts.ref
local add, query_parameters = parts.add, parts.query_parameters
local JSON, STRING = parts.JSON, parts.STRING

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
  for _, path in ipairs(sorted.names(rest.paths(resource))) do
    if not seen[path] then rows[#rows + 1] = { path, STRING, ("Only those whose `%s` is this."):format(path) } end
    seen[path] = true
  end
  return query_parameters(rows)
end

local SUMMARIES = { list = "Lists the %ss.", create = "Creates a %s.", get = "Shows a %s.",
  put = "Changes the fields that are present; `null` resets one to its default.",
  patch = "Changes a %s by a JSON merge patch (RFC 7396).", delete = "Deletes a %s." }

--- Returns what an operation does, a sentence.
function M.summary(doc) return SUMMARIES[doc.what]:format(doc.resource.noun) end

local ETAG = { ETag = header("The version in which it last changed.", STRING) }
local VERSION = { ["VeloFlux-Version"] = header("The version that the change made.", { type = "integer" }) }
local LAGGING = { ["VeloFlux-Lagging-Nodes"] = header("With `wait`: the nodes that do not serve it yet.", STRING) }

local function with_headers(...)
  local out = object()
  for _, set in ipairs { ... } do
    for _, name in ipairs(sorted.names(set)) do out:set(name, set[name]) end
  end
  return out
end

local function one_of_change(resource)
  return { [JSON] = object("anyOf", { ref(parts.component_name(resource)), ref "DryRun" }) }
end

local function success(resource, what)
  local name = parts.component_name(resource)
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

local function parameters_of(endpoint, resource, what)
  local parameters = parts.path_parameters(endpoint.path)
  add(parameters, what == "list" and list_parameters(resource) or query_parameters { parts.TENANT })
  if what == "get" then add(parameters, { parts.IF_NONE_MATCH }) end
  if what == "create" then add(parameters, { parts.KEY }) end
  if what == "put" then
    add(parameters, query_parameters { { "mode", { type = "string", enum = { "merge", "replace" } },
      "replace: fields that are absent are reset to their defaults." } })
  end
  if what == "put" or what == "patch" or what == "delete" then add(parameters, { parts.IF_MATCH }) end
  if what ~= "list" and what ~= "get" then add(parameters, query_parameters { parts.DRY, parts.WAIT }) end
  if endpoint.takes_probation then add(parameters, query_parameters { probation.PARAMETER }) end
  if what == "create" or what == "put" or what == "patch" then add(parameters, { parts.PREFER }) end
  return parameters
end

--- Returns the media types of the body of a change, or nil.
local function media_of(resource, what)
  if what == "create" then return { [JSON] = parts.component_name(resource) } end
  if what == "put" then return { [JSON] = { type = "object" } } end
  if what == "patch" then
    return { ["application/merge-patch+json"] = { type = "object" }, [JSON] = { type = "object" } }
  end
  return nil
end

--- Fills in the operation of an endpoint whose doc names a resource.
function M.describe(endpoint, operation)
  local resource, what = endpoint.doc.resource, endpoint.doc.what
  operation:set("summary", M.summary(endpoint.doc))
  operation:set("tags", { resource.name })
  operation:set("parameters", parameters_of(endpoint, resource, what))
  local media = media_of(resource, what)
  if media then operation:set("requestBody", object("required", true, "content", content(media))) end
  local answers = success(resource, what)
  parts.add_failures(answers, FAILURES[what])
  operation:set("responses", answers)
end

return M

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
local endpoints = require "veloflux.admin.openapi.endpoint"
local json_schema = require "veloflux.plugin.json_schema"
local parts = require "veloflux.admin.openapi.parts"
local reference = require "veloflux.admin.openapi.reference"
local resource_operations = require "veloflux.admin.openapi.resource"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"

local M = { doc_of = endpoints.doc_of, produces = endpoints.produces }

local object, plain = json_schema.object, parts.plain

local function operation_of(endpoint)
  local id = (endpoint.method:lower() .. endpoint.path):gsub("[^%w]+", "_"):gsub("_+$", "")
  local operation = object("operationId", id)
  if endpoint.doc and endpoint.doc.resource then
    resource_operations.describe(endpoint, operation)
  else
    endpoints.describe(endpoint, operation)
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
  for _, resource in ipairs(resources.all()) do all:set(parts.component_name(resource), schemas.of(resource)) end
  all:set("Problem", problem_schema())
  all:set("DryRun", dry_schema())
  return object("securitySchemes", object("basic", object("type", "http", "scheme", "basic")), "schemas", all)
end

local function sorted(all)
  local list = {}
  for i, endpoint in ipairs(all) do list[i] = endpoint end
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

--- Returns the reference of all endpoints in Markdown.
function M.markdown(router) return reference.markdown(sorted(router:all())) end

return M

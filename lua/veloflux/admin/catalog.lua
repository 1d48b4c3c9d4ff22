--- What there is to configure: the schemas of the kinds, the plugins that are installed, the listeners of this node,
-- and the OpenAPI document of it all.
local bodies = require "veloflux.admin.body"
local job_report = require "veloflux.control.plugins.job_report"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local openapi = require "veloflux.admin.openapi"
local plugin_json_schema = require "veloflux.plugin.json_schema"
local plugin_loader = require "veloflux.plugin.loader"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"
local view = require "veloflux.model.view"

local M = {}

local SCHEMA = "application/schema+json"
local TEXT_HEADERS = { "Cache-Control", "no-store", "X-Content-Type-Options", "nosniff" }

local function text_answer(kind, text)
  local headers = { "Content-Type", kind }
  for _, value in ipairs(TEXT_HEADERS) do headers[#headers + 1] = value end
  return { status = 200, headers = headers, body = text .. "\n" }
end

--- Wraps a handler that takes no parameters.
local function without_query(handler)
  return function(request)
    local params, names = query.parse(request.query)
    if not params then return names end
    return query.unknown(names, {}) or handler(request)
  end
end
M.without_query = without_query

local function kinds()
  local names = {}
  for _, resource in ipairs(resources.all()) do names[#names + 1] = resource.name end
  table.sort(names)
  return names
end

local function schema(request)
  local name = request.params.kind
  for _, resource in ipairs(resources.all()) do
    if resource.name == name then
      if not bodies.accepts(request, "application/json", SCHEMA) then
        return problem.new("not_acceptable", "This is answered as application/schema+json.")
      end
      return text_answer(SCHEMA, schemas.text(resource))
    end
  end
  return problem.new("not_found", ("There is no kind %s; the kinds are %s."):format(name, table.concat(kinds(), ", ")))
end

--- Describes a plugin that is installed, or says why it cannot be loaded.
local function describe(loader, name)
  local plugin, message = loader:find(name)
  if not plugin then return { name = name, usable = false, reason = message } end
  local phases = json.array()
  for i, phase in ipairs(plugin.phases) do phases[i] = phase end
  return { name = name, usable = true, version = plugin.version, priority = plugin.priority, phases = phases,
    has_credentials = plugin.credential ~= nil, shipped = plugin.folder == nil,
    config_schema = json.decode(plugin_json_schema.text(plugin)) }
end

local AVAILABLE_PATHS = { name = true, usable = true, version = true, priority = true, phases = true,
  has_credentials = true, shipped = true }
local LISTENER_PATHS = { name = true, address = true, mode = true, proxy_protocol = true }
local PAGING = { limit = true, cursor = true, page = true, sort = true }

--- Answers a list without a resource.
local function answer_list(request, items, paths)
  local params, names = query.parse(request.query)
  if not params then return names end
  local known = {}
  for _, set in ipairs { PAGING, paths } do
    for name in pairs(set) do known[name] = true end
  end
  local bad = query.unknown(names, known)
  if bad then return bad end
  return query.answer(request, params, items, paths, "name")
end

local function available(context)
  return function(request)
    local current = context.current()
    local loader = plugin_loader.new(current and current.model.node.plugin_path or {})
    local list = {}
    for i, name in ipairs(loader:names()) do list[i] = describe(loader, name) end
    return answer_list(request, list, AVAILABLE_PATHS)
  end
end

--- Returns the listeners of the node as they are shown.
local function listeners_of(node)
  local list = {}
  for i, listener in ipairs(node.listeners) do
    local shown = view.show(getmetatable(listener).compiled, listener)
    shown.tenant_id = "default"
    live.listener(listener.name, shown)
    list[i] = shown
  end
  return list
end

local function listeners(context)
  return function(request)
    local current = context.current()
    if not current then return problem.new("unavailable", "There is no configuration yet.") end
    return answer_list(request, listeners_of(current.model.node), LISTENER_PATHS)
  end
end

local STRING = { type = "string" }
local LIMIT = { "limit", { type = "integer", minimum = 1, maximum = query.MAX_LIMIT }, "Items of a page." }
local SORT = { "sort", STRING, "Fields, separated by commas; a minus before one turns its order." }

--- Registers them.
-- @param context table: version; current() -> {model, version} or nil
function M.register(router, context)
  local document, revision
  router:register { method = "GET", path = "/api/openapi.json", open = true, handler = without_query(function()
    if revision ~= router.revision then
      document, revision = openapi.text(router, context.version), router.revision
    end
    return text_answer("application/json", document)
  end), doc = { tag = "catalog", summary = "This document.",
    answers = { ["200"] = { "An OpenAPI 3.1 document.", { ["application/json"] = { type = "object" } } } } } }
  router:register { method = "GET", path = "/api/schemas/{kind}", permission = "schemas:read",
    handler = without_query(schema), doc = { tag = "catalog", summary = "The JSON Schema of a kind of objects.",
      answers = { ["200"] = { "A JSON Schema.", { [SCHEMA] = { type = "object" } } },
        ["404"] = { "There is no such kind." } } } }
  router:register { method = "GET", path = "/api/plugins/available", permission = "plugins:read",
    handler = available(context), doc = { tag = "catalog", parameters = { LIMIT, SORT },
      summary = "The plugins that are installed, with the JSON Schemas of their configurations.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
  router:register { method = "GET", path = "/api/jobs", permission = "status:read",
    handler = without_query(function() return { json = job_report.document() } end),
    doc = { tag = "catalog", summary = "The jobs of plugins on this node: when they run, and how that went.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
  router:register { method = "GET", path = "/api/listeners", permission = "listeners:read",
    handler = listeners(context), doc = { tag = "catalog", parameters = { LIMIT, SORT },
      summary = "The listeners of this node, with live counts. They are settings of the node: shown, not written.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
end

return M

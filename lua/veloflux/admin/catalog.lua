--- What there is on this node: the plugins that are installed, their jobs, the listeners.
local job_report = require "veloflux.control.plugins.job_report"
local json = require "veloflux.pdk.json"
local live = require "veloflux.admin.live"
local plugin_json_schema = require "veloflux.plugin.json_schema"
local plugin_loader = require "veloflux.plugin.loader"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local view = require "veloflux.model.view"

local M = {}

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

local function available(context)
  return function(request)
    local current = context.current()
    local loader = plugin_loader.new(current and current.model.node.plugin_path or {})
    local list = {}
    for i, name in ipairs(loader:names()) do list[i] = describe(loader, name) end
    return query.list(request, list, AVAILABLE_PATHS, "name")
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
    return query.list(request, listeners_of(current.model.node), LISTENER_PATHS, "name")
  end
end

local JOB_PATHS = { plugin = true, name = true, schedule = true, scope = true, running = true, runs = true,
  errors = true, skipped = true, last_result = true, last_run = true, next_run = true }

local function jobs(request) return query.list(request, job_report.document(), JOB_PATHS, "plugin,name") end

--- Registers them.
-- @param context table: version; current() -> {model, version} or nil
function M.register(router, context)
  router:register { method = "GET", path = "/api/plugins/available", permission = "plugins:read",
    handler = available(context), doc = { tag = "catalog", parameters = query.parameters(AVAILABLE_PATHS),
      summary = "The plugins that are installed, with the JSON Schemas of their configurations.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
  router:register { method = "GET", path = "/api/jobs", permission = "status:read",
    handler = jobs, doc = { tag = "catalog", parameters = query.parameters(JOB_PATHS),
      summary = "The jobs of plugins on this node: when they run, and how that went.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
  router:register { method = "GET", path = "/api/listeners", permission = "listeners:read",
    handler = listeners(context), doc = { tag = "catalog", parameters = query.parameters(LISTENER_PATHS),
      summary = "The listeners of this node, with live counts. They are settings of the node: shown, not written.",
      answers = { ["200"] = { "The list.", { ["application/json"] = { type = "array" } } } } } }
end

return M

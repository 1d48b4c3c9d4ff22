--- The endpoints that the core serves itself. Open ones tell a stranger nothing but that we live.
local channel_metrics = require "veloflux.admin.channel_metrics"
local cluster = require "veloflux.admin.cluster"
local conf = require "veloflux.conf"
local embedded = require "veloflux.embedded"
local job_report = require "veloflux.control.plugins.job_report"
local json = require "veloflux.pdk.json"
local metrics = require "veloflux.admin.metrics"
local operations = require "veloflux.admin.operations"
local outcomes = require "veloflux.admin.outcomes"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local state = require "veloflux.control.plugins.state"
local status = require "veloflux.admin.status"

local M = {}

local ASSETS = {
  ["/assets/status.js"] = { "veloflux/admin/status.js", "text/javascript; charset=utf-8" },
  ["/assets/status.css"] = { "veloflux/admin/status.css", "text/css; charset=utf-8" },
}
local PAGE_HEADERS = {
  "Content-Type", "text/html; charset=utf-8",
  "Cache-Control", "no-store",
  "Vary", "Accept",
  "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    .. "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options", "nosniff",
  "X-Frame-Options", "DENY",
  "Referrer-Policy", "no-referrer",
}

--- Browsers name text/html in Accept, and no kind of JSON before it.
local function wants_html(request)
  for item in (request.headers.accept or ""):gmatch "[^,]+" do
    local kind = item:match "^%s*([^;%s]+)"
    if kind == "text/html" then return true end
    if kind and kind:find "^application/.*json$" then return false end
  end
  return false
end

local HTML_ESCAPES = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

--- The page carries its first data as a JSON block, which the policy does not execute. Without any it asks for them
-- itself, and the browser for credentials.
-- @param document what GET /api/status answers, or json.null
local function page(document)
  local data = json.lenient(document):gsub("[<>&]", HTML_ESCAPES)
  local html = embedded.asset "veloflux/admin/status.html"
  local before, after = html:match "^(.-)%${DATA}(.*)$"
  return { status = 200, headers = PAGE_HEADERS, body = before .. data .. after }
end

local function register_assets(router)
  for path, asset in pairs(ASSETS) do
    router:register { method = "GET", path = path, open = true, handler = function()
      return { status = 200, body = embedded.asset(asset[1]), headers = { "Content-Type", asset[2],
        "Cache-Control", "no-cache", "X-Content-Type-Options", "nosniff" } }
    end }
  end
end

local function register_page(router, context)
  router:register { method = "GET", path = "/", permission = "status:read", greets = true, handler = function(request)
    local is_known = request.identity ~= nil
    if wants_html(request) then return page(is_known and state.status(context) or json.null) end
    local document = is_known and state.status(context) or { status = status.word(), version = context.version }
    return { json = document, headers = { "Vary", "Accept" } }
  end }
end

local function register_cluster(router, context)
  router:register { method = "GET", path = "/api/cluster", permission = "status:read",
    doc = { tag = "monitoring", summary = "The nodes that share the store, and who leads." },
    handler = parameters.taking(nil, function()
      local current = context.current()
      return { json = cluster.document(context.version, current and current.model) }
    end) }
end

--- Problems of the conf as members of `errors`: `detail` is the whole line, and its parts stand beside it.
local function errors_of(result)
  local errors = {}
  for i, line in ipairs(result.lines or {}) do
    local found = result.problems and result.problems[i] or {}
    errors[i] = { pointer = conf.pointer(found), detail = line, file = found.file, line = found.line,
      path = found.path, message = found.message, rule = found.rule, plugin = found.plugin }
  end
  return errors
end

--- The difference of two models (model.diff) with its empty lists marked as lists.
local function diff_of(diff)
  local marked = {}
  for kind, changes in pairs(diff or {}) do
    if kind == "node" then
      marked.node = json.array(changes)
    else
      marked[kind] = { added = json.array(changes.added), changed = json.array(changes.changed),
        removed = json.array(changes.removed) }
    end
  end
  return marked
end

--- Counts what a difference of two models has: what imports answer as `changes`, too.
local function counts_of(diff)
  local counts = { added = 0, updated = 0, removed = 0 }
  for kind, changes in pairs(diff or {}) do
    if kind ~= "node" then
      counts.added, counts.removed = counts.added + #changes.added, counts.removed + #changes.removed
      counts.updated = counts.updated + #changes.changed
    end
  end
  return counts
end

local function register_reload(router, context)
  local function serve(params)
    local is_dry, bad = query.flag(params, "dry_run")
    if bad then return bad end
    local result = is_dry and context.dry_reload() or not is_dry and context.reload()
    if result.ok then
      return { headers = not is_dry and { "VeloFlux-Version", ("%d"):format(result.version) } or nil,
        json = { status = is_dry and "dry_run" or "reloaded", dry_run = is_dry, version = result.version,
          changes = counts_of(result.diff), summary = result.summary, diff = diff_of(result.diff),
          warnings = json.array(result.warnings), findings = outcomes.findings(result),
          laggards = result.laggards or 0 } }
    end
    local errors = errors_of(result)
    local first = errors[1] and errors[1].detail or "The configuration was refused."
    return problem.new("config_rejected", first, { errors = errors, members = { version = result.version } })
  end
  router:register { method = "POST", path = "/api/reload", permission = "system:reload", handler = function(request)
    local params, names = query.parse(request.query)
    local bad = not params and names or query.unknown(names, { dry_run = true })
    return bad or serve(params)
  end }
end

--- Registers all of them.
-- @param context table: version, rates, now() -> seconds, metrics_open() -> boolean, current() -> {model,
-- version} or nil, and reload(), which yields until the reload has ended and returns its result
-- (control/init.lua)
function M.register(router, context)
  metrics.more = { cluster.add_metrics, channel_metrics.add, job_report.add }
  register_page(router, context)
  register_cluster(router, context)
  operations.register(router, context)
  register_reload(router, context)
  register_assets(router)
end

return M

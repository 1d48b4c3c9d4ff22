--- What pdk.state asks for: the documents that the modules of the admin API make of the state area.
local channels = require "veloflux.admin.channels"
local cluster = require "veloflux.admin.cluster"
local debugging = require "veloflux.admin.debug"
local explaining = require "veloflux.admin.explain"
local health = require "veloflux.admin.health"
local levels = require "veloflux.admin.log_levels"
local metrics = require "veloflux.admin.metrics"
local monitoring = require "veloflux.admin.monitoring"
local node = require "veloflux.admin.node"
local overview = require "veloflux.admin.overview"
local page = require "veloflux.admin.page"
local prometheus = require "veloflux.admin.prometheus"
local seam = require "veloflux.runtime.control"
local status = require "veloflux.admin.status"

local M = {}

--- Returns what GET /api/status and the status page show.
local function document_of(context)
  local document = status.full(context.version, context.rates, context.now())
  document.node_id, document.cluster = cluster.summary()
  document.requests = monitoring.requests(context.rates, context.now())
  document.websocket_clients = channels.count()
  document.adaptive_balancer_enabled, document.current_strategy = false, overview.strategy()
  return document
end

--- Adds the services.
-- @param context of admin/init.lua: version, rates, now(), current(), metrics_open(), security()
function M.register(context)
  local services = seam.services
  local function model()
    local current = context.current()
    return current and current.model
  end
  function services.state_status() return document_of(context) end
  function services.state_health() return health.document(context.version) end
  function services.state_ready() return health.is_ready() end
  function services.state_exposition() return metrics.text(context.version), prometheus.CONTENT_TYPE end
  function services.state_figures()
    local of = model()
    return monitoring.document(context.rates, context.now(), of and of.node.data_dir, context.security())
  end
  function services.state_rates() return monitoring.realtime(context.rates, context.now()) end
  function services.state_info() return node.info(context.version, model()) end
  function services.state_banner() return { status = status.word(), version = context.version } end
  function services.state_page(document) return page.html(document), page.HEADERS end
  function services.state_version() return node.version(context.version) end
  function services.state_is_metrics_open() return context.metrics_open() end
  function services.state_list(what, first, count) return debugging.list(what, first, count, context) end
  function services.state_performance() return debugging.performance() end
  function services.state_explain(question) return explaining.answer(question, context.current()) end
  function services.state_log_levels() return levels.document(model()) end
  function services.state_set_log_levels(wanted, options) return levels.set(wanted, model(), options) end
end

return M

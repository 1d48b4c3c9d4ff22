--- The endpoints of the node that the core serves itself.
local channel_metrics = require "veloflux.admin.metrics.channels"
local cluster = require "veloflux.admin.cluster"
local job_report = require "veloflux.control.plugins.job_report"
local metrics = require "veloflux.admin.metrics"
local operations = require "veloflux.admin.operations"
local page = require "veloflux.admin.page"
local parameters = require "veloflux.admin.parameters"

local M = {}

local function register_cluster(router, context)
  router:register { method = "GET", path = "/api/cluster", permission = "status:read",
    doc = { tag = "monitoring", summary = "The nodes that share the store, and who leads." },
    handler = parameters.taking(nil, function()
      local current = context.current()
      return { json = cluster.document(context.version, current and current.model) }
    end) }
end

--- Registers all of them.
-- @param context table: version, current() -> {model, version} or nil
function M.register(router, context)
  metrics.more = { cluster.add_metrics, channel_metrics.add, job_report.add }
  register_cluster(router, context)
  operations.register(router, context)
  page.register(router)
end

return M

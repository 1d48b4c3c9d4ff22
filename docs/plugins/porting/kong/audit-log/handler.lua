local kong = kong
local cjson = require "cjson"

local AuditLog = { PRIORITY = 5, VERSION = "3.0.0" }

local node_id

function AuditLog:init_worker()
  node_id = kong.node.get_id()
  kong.log.info("auditing on ", kong.node.get_hostname())
end

function AuditLog:access(conf)
  local span = kong.tracing.start_span("audit", { attributes = { path = kong.request.get_path() } })
  kong.tracing.set_active_span(span)
  kong.ctx.plugin.span = span
  kong.log.set_serialize_value("audit.node", node_id)
  kong.log.set_serialize_value("audit.plugin", kong.plugin.get_id())
  for name, value in pairs(conf.custom_fields) do
    kong.log.set_serialize_value("custom." .. name, kong.vault.is_reference(value) and kong.vault.get(value) or value)
  end
  kong.log.set_serialize_value("request.headers.authorization", nil)
end

function AuditLog:log(conf)
  local span = kong.ctx.plugin.span
  if span then
    span:set_attribute("status", kong.response.get_status())
    span:finish()
    kong.log.set_serialize_value("audit.took_ms", (span.end_time_ns - span.start_time_ns) / 1e6)
  end
  local entry = kong.log.serialize()
  kong.log.notice("[audit] ", cjson.encode(kong.table.merge(entry, { tag = conf.tag,
    started_at = kong.request.get_start_time() })))
end

return AuditLog

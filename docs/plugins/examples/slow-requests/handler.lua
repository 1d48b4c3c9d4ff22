--- Logs requests that took long, with where the time went.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 10, VERSION = "1.0.0" }

function Plugin:log(conf)
  local entry = pdk.log.serialize()
  if entry.latencies.request < conf.longer_than then return end
  pdk.log.event("slow.request", { method = entry.request.method, uri = entry.request.uri,
    status = entry.response.status, total_ms = entry.latencies.request, backend_ms = entry.latencies.proxy })
end

return Plugin

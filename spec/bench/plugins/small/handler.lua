--- What the benchmark compares: a header is read and looked up in a table, two request headers and one
-- response header are set.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local names = { ana = "Ana Maria", bob = "Robert" }

function Plugin:access()
  pdk.service.request.set_header("X-Name", names[pdk.request.get_header "x-user"] or "nobody")
  pdk.service.request.set_header("X-Plan", "gold")
end

function Plugin:header_filter()
  pdk.response.set_header("X-Served-By", "gateway")
end

return Plugin

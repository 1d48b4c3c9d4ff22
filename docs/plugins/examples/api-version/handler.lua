--- Takes the version out of the path: /v2/orders reaches the backend as /orders with `X-Api-Version: 2`.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 900, VERSION = "1.0.0" }

function Plugin:rewrite(conf)
  local version, rest = pdk.request.get_path():match "^/v(%d+)(/.*)$"
  if version then pdk.service.request.set_path(rest) end
  pdk.ctx.shared.api_version = version or conf.default -- other plugins may want to know
  pdk.service.request.set_header("X-Api-Version", pdk.ctx.shared.api_version)
end

return Plugin

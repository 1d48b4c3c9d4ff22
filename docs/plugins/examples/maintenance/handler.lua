--- Answers 503 while a route is under maintenance; who knows the key is let through.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 3000, VERSION = "1.0.0" } -- before authentication

function Plugin:access(conf)
  local key = conf.key and pdk.request.get_header "x-maintenance-key"
  if key and pdk.crypto.equals(key, conf.key) then
    pdk.service.request.clear_header "X-Maintenance-Key"
    return
  end
  return pdk.response.exit(503, { message = conf.message }, { ["Retry-After"] = conf.retry_after / 1000 })
end

return Plugin

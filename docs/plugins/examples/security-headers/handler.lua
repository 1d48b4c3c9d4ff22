--- Sets the header fields that browsers want to see, and takes away what tells too much.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 800, VERSION = "1.0.0" }

function Plugin:header_filter(conf)
  local response = pdk.response
  response.set_header("X-Content-Type-Options", "nosniff")
  response.set_header("Referrer-Policy", conf.referrer_policy)
  for i = 1, #conf.remove do response.clear_header(conf.remove[i]) end
  if pdk.response.get_source() == "service" and response.get_status() >= 500 then
    response.set_header("Cache-Control", "no-store")
  end
end

return Plugin

--- Sends testers, who say so in a header field, to a host of their own.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 700, VERSION = "1.0.0" }

function Plugin:balancer(conf)
  if pdk.request.get_header(conf.header) == conf.value then
    pdk.service.set_target(conf.target.host, conf.target.port)
  end
end

return Plugin

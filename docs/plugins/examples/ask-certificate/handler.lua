--- Asks clients for a certificate during the TLS handshake, and tells the backend what came.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 1500, VERSION = "1.0.0" }

function Plugin:certificate()
  pdk.client.tls.request_client_certificate()
end

function Plugin:access()
  local chain = pdk.client.tls.get_full_client_certificate_chain()
  pdk.service.request.set_header("X-Client-Certificate", chain and "present" or "none")
end

return Plugin

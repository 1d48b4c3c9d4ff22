--- Tells backends which plan a team is on, and turns away teams that have none.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 920, VERSION = "1.0.0" }

--- Before the request goes to a backend.
function Plugin:access(conf)
  local team = pdk.request.get_header(conf.header)
  local plan = team and conf.plans[team]
  if not plan then
    return pdk.response.exit(403, { message = "no plan for " .. (team or "nobody") })
  end
  pdk.service.request.set_header("X-Plan", plan)
  pdk.ctx.plugin.plan = plan
end

--- Before the head of the answer goes to the client, the one of `exit` above too.
function Plugin:header_filter()
  if pdk.ctx.plugin.plan then
    pdk.response.set_header("X-Plan", pdk.ctx.plugin.plan)
  end
end

return Plugin

local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 2990, VERSION = "0.1.0" }

function Plugin:rewrite(conf)
  pdk.service.request.set_header("X-Tag", conf.tag)
  pdk.ctx.plugin.began = pdk.request.get_path_with_query()
end

function Plugin:access(conf)
  local agent = pdk.request.get_header "User-Agent"
  for _, refused in ipairs(conf.refuse) do
    if agent == refused then
      return pdk.response.exit(403, { message = "refused: " .. pdk.client.get_forwarded_ip() })
    end
  end
  if pdk.request.get_query_arg "debug" then pdk.log.warn("debug asked for: ", pdk.request.get_path()) end
end

function Plugin:header_filter(conf)
  pdk.response.set_header("X-Tagged", conf.tag .. " " .. pdk.ctx.plugin.began)
end

return Plugin

local kong = kong
local ipairs, pairs = ipairs, pairs

local RouteByHeader = { PRIORITY = 850, VERSION = "0.4.0" }

local function matches(condition)
  for name, value in pairs(condition) do
    if kong.request.get_header(name) ~= value then return false end
  end
  return true
end

function RouteByHeader:access(conf)
  local captures = kong.request.get_uri_captures()
  for _, rule in ipairs(conf.rules) do
    if matches(rule.condition) then
      if rule.upstream_name then
        local ok, err = kong.service.set_upstream(rule.upstream_name)
        if not ok then
          kong.log.err("no such upstream: ", err)
          return kong.response.error(503)
        end
      else
        kong.service.set_target(rule.host, rule.port)
        kong.service.set_retries(0)
        kong.service.set_timeouts(1000, 2000, 3000)
      end
      if captures.named.version then kong.service.request.set_path("/versions/" .. captures.named.version) end
      kong.ctx.plugin.rule = rule.upstream_name or rule.host
      break
    end
  end
end

function RouteByHeader:header_filter()
  local service = kong.router.get_service()
  kong.response.add_header("X-Routed", kong.ctx.plugin.rule or "default")
  kong.response.set_header("X-Service", service.name .. " " .. service.protocol)
  kong.response.set_header("X-Upstream-Status", kong.service.response.get_status() or "none")
end

return RouteByHeader

local kong = kong
local fmt = string.format

local Closed = { PRIORITY = 2, VERSION = "1.0.0" }

function Closed:access(conf)
  if conf.except and kong.ip.is_trusted(kong.client.get_ip()) then return end
  local headers = { ["Retry-After"] = conf.retry_after }
  if conf.body then
    headers["Content-Type"] = conf.content_type
    return kong.response.exit(conf.status_code, conf.body, headers)
  end
  local route = kong.router.get_route()
  kong.log.notice("closed: ", route and route.name)
  return kong.response.exit(conf.status_code, { message = fmt("%s %s is closed", kong.request.get_method(),
    kong.request.get_path_with_query()) }, headers)
end

return Closed

local kong = kong
local error = error

local TeamAuth = { PRIORITY = 1250, VERSION = "2.0.1" }

local function authenticate(conf)
  local team = kong.request.get_header(conf.header)
  if type(team) ~= "string" then return nil, { status = 401, message = "No team in the request" } end
  if conf.hide then kong.service.request.clear_header(conf.header) end

  local consumer, err = kong.client.load_consumer(team)
  if err then return error(err) end
  if not consumer then return nil, { status = 401, message = "Unknown team" } end

  kong.client.authenticate(consumer, { id = team })
  local set_header = kong.service.request.set_header
  set_header("X-Consumer-ID", consumer.id)
  set_header("X-Consumer-Username", consumer.username)
  if consumer.custom_id then set_header("X-Consumer-Custom-ID", consumer.custom_id) end
  kong.service.request.clear_header("X-Anonymous-Consumer")
  return true
end

function TeamAuth:access(conf)
  if conf.anonymous and kong.client.get_credential() then return end
  local ok, err = authenticate(conf)
  if ok then return end
  if conf.anonymous then
    kong.service.request.set_header("X-Anonymous-Consumer", "true")
    return
  end
  return kong.response.error(err.status, err.message, { ["WWW-Authenticate"] = 'Team realm="gateway"' })
end

return TeamAuth

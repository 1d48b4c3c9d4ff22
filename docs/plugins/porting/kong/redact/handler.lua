local kong = kong
local cjson = require "cjson.safe"

local Redact = { PRIORITY = 790, VERSION = "0.9.0" }

local function redact(value, names)
  if type(value) ~= "table" then return value end
  for name, inner in pairs(value) do
    value[name] = names[name] and "***" or redact(inner, names)
  end
  return value
end

local function set_of(list)
  local names = {}
  for _, name in ipairs(list) do names[name] = true end
  return names
end

function Redact:access(conf)
  local body = kong.request.get_body "application/json"
  if body and conf.request then
    kong.service.request.set_body(redact(body, set_of(conf.names)), "application/json")
  end
end

function Redact:header_filter()
  local content_type = kong.response.get_header "Content-Type"
  kong.ctx.plugin.is_json = content_type ~= nil and content_type:find("application/json", 1, true) ~= nil
  if kong.ctx.plugin.is_json then kong.response.clear_header "Content-Length" end
end

function Redact:body_filter(conf)
  if not kong.ctx.plugin.is_json then return end
  local body = kong.response.get_raw_body()
  local decoded = body and cjson.decode(body)
  if decoded then kong.response.set_raw_body(cjson.encode(redact(decoded, set_of(conf.names)))) end
end

return Redact

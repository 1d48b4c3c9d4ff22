local kong = kong
local cjson = require "cjson.safe"
local tonumber, type, pairs = tonumber, type, pairs

local BodyGuard = { PRIORITY = 951, VERSION = "2.1.0" }

local UNITS = { bytes = 1, kilobytes = 1000 }

local function depth_of(value)
  if type(value) ~= "table" then return 0 end
  local deepest = 0
  for _, inner in pairs(value) do
    local depth = depth_of(inner)
    if depth > deepest then deepest = depth end
  end
  return deepest + 1
end

function BodyGuard:access(conf)
  local most = conf.allowed_payload_size * UNITS[conf.size_unit]
  local length = kong.request.get_header "content-length"
  if not length and conf.require_content_length and kong.request.get_method() == "POST" then
    return kong.response.error(411, "A valid Content-Length header is required")
  end
  if length and tonumber(length) > most then
    if kong.request.get_header "expect" == "100-continue" then return kong.response.error(417, "Request size limit exceeded") end
    return kong.response.error(413, "Request size limit exceeded")
  end

  local body, err = kong.request.get_raw_body()
  if err then return kong.response.error(413, err) end
  if body ~= "" and #body > most then return kong.response.error(413, "Request size limit exceeded") end

  local content_type = kong.request.get_header "content-type"
  if body ~= "" and content_type and content_type:find("application/json", 1, true) == 1 then
    local decoded, problem = kong.request.get_body()
    if not decoded then return kong.response.exit(400, { message = problem }) end
    if depth_of(decoded) > conf.max_depth then
      return kong.response.exit(400, cjson.encode { message = "too deep" }, { ["Content-Type"] = "application/json" })
    end
  end
end

return BodyGuard

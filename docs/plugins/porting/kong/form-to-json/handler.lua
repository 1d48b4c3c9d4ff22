local kong = kong
local cjson = require "cjson.safe"

local FormToJson = { PRIORITY = 801, VERSION = "1.0.0" }

function FormToJson:access(conf)
  local body, err, mime = kong.request.get_body()
  if mime == "application/x-www-form-urlencoded" or mime == "multipart/form-data" then
    if err then return kong.response.exit(400, { message = err }) end
    for _, name in ipairs(conf.drop) do body[name] = nil end
    kong.service.request.set_method "PUT"
    kong.service.request.set_body(body, "application/json")
  end
  local query = kong.request.get_query(10)
  query.via = { "gateway", "plugin" }
  kong.service.request.set_query(query)
  kong.service.request.enable_buffering()
end

function FormToJson:header_filter()
  local answer = kong.service.response.get_body()
  if type(answer) ~= "table" then return end
  kong.ctx.plugin.answer = { data = answer, status = kong.response.get_status(), source = kong.response.get_source() }
  kong.response.clear_header "Content-Length"
  kong.response.set_header("Content-Type", "application/json; charset=utf-8")
  if kong.response.get_status() == 201 then kong.response.set_status(200) end
end

function FormToJson:body_filter()
  local answer = kong.ctx.plugin.answer
  if not answer then return end
  local body = kong.response.get_raw_body()
  if not body then return end
  answer.bytes = #body
  kong.response.set_raw_body(cjson.encode(answer))
end

return FormToJson

local kong = kong
local char, random = string.char, math.random

local TraceId = { PRIORITY = 100001, VERSION = "1.2.0" }

local counter, prefix = 0, nil

local function new_id(conf)
  counter = counter + 1
  if conf.generator == "counter" then return prefix .. "#" .. counter end
  local letters = {}
  for i = 1, 20 do letters[i] = char(random(97, 122)) end
  return table.concat(letters)
end

function TraceId:init_worker()
  prefix = kong.node.get_id()
end

function TraceId:access(conf)
  local id = kong.request.get_header(conf.header_name)
  if not id then
    id = new_id(conf)
    kong.service.request.set_header(conf.header_name, id)
  end
  kong.ctx.plugin.id = id
  kong.log.set_serialize_value("trace_id", id)
end

function TraceId:header_filter(conf)
  if conf.echo_downstream then
    kong.response.set_header(conf.header_name, kong.ctx.plugin.id or kong.request.get_header(conf.header_name))
  end
end

return TraceId

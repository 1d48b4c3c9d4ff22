--- Does what the field X-Do asks for: one of each thing that the kit has to show.
local pdk = require "veloflux.pdk"
local helper = require "veloflux.plugins.everything.helper"

local asked = pdk.metrics.counter("asked", "What was asked for.", { "act" })

local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }

local acts = {}

function acts.sleep() pdk.timer.sleep(5) end

function acts.raise() error "boom" end

function acts.spin()
  while true do
    local _ = {} -- luacheck: ignore
  end
end

function acts.leak()
  local socket = pdk.socket.tcp()
  assert(socket:connect("db.test", 5432))
end

--- The socket is collected while the request goes on.
function acts.leak_and_go_on()
  acts.leak()
  local text = {}
  for round = 1, 50 do
    for i = 1, 10000 do text[i] = round .. "/" .. i end
    pdk.timer.sleep(0.01)
  end
  pdk.ctx.plugin.garbage = #text
end

function acts.ask_db()
  local socket = pdk.socket.tcp()
  assert(socket:connect("db.test", 5432))
  socket:send "hello\n"
  local line = assert(socket:receive "*l")
  socket:close()
  return pdk.response.exit(200, line)
end

local function call(url)
  local answer, err = pdk.http.request(url, { method = "POST", body = "abc" })
  return pdk.response.exit(answer and answer.status or 599, answer and answer.body or tostring(err))
end

function acts.datagrams()
  local socket = pdk.socket.udp()
  assert(socket:set_peer("stats.test", 8125))
  socket:send "a:1|c"
  socket:send "b:2|c"
  local answer = assert(socket:receive())
  socket:close()
  return pdk.response.exit(200, answer)
end

function acts.call_api() return call "http://api.test/x" end

function acts.call_pool()
  local answer, err, code = pdk.http.request { pool = "others", path = "/x" }
  return pdk.response.exit(answer and answer.status or 599, answer and answer.body or code .. ": " .. err)
end

function acts.call_nobody() return call "http://nobody.test/x" end

function acts.body() return pdk.response.exit(200, pdk.request.get_raw_body()) end

function acts.who() return pdk.response.exit(200, pdk.client.get_ip() .. " at " .. os.time()) end

function acts.shout() return pdk.response.exit(200, helper.shout "hey") end

function acts.queue(conf)
  local queue = pdk.queue.get("log", { max_delay = conf.ship_after, batch_items = 10 }, function(batch)
    local answer = pdk.http.request("http://log.test/", { method = "POST", body = table.concat(batch, ",") })
    return answer and answer.status == 200
  end)
  queue:push "a"
  queue:push "b"
end

function Plugin:init_worker()
  pdk.timer.every(10, function() pdk.log.event "everything.tick" end)
end

function Plugin:access(conf)
  local act = acts[pdk.request.get_header "x-do"]
  if not act then return end
  asked:inc(1, pdk.request.get_header "x-do")
  return act(conf)
end

function Plugin:header_filter(conf)
  pdk.response.set_header("X-Mark", conf.mark)
end

function Plugin:body_filter()
  if pdk.request.get_header "x-do" ~= "upper" then return end
  local body = pdk.response.get_raw_body()
  if body then pdk.response.set_raw_body(body:upper()) end
end

function Plugin:log(conf)
  pdk.log.info(conf.mark, " has seen ", pdk.response.get_status())
end

return Plugin

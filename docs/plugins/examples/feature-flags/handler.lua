--- Gives backends the switches of a flag server, which is asked now and then in the background.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 600, VERSION = "1.0.0" }

local flags = "" -- as the header field has them; what this process knows of the flag server
local config, timer

local function refresh()
  local answer, err = pdk.http.get(config.url, { timeout = 2 })
  if not answer or answer.status ~= 200 then
    return pdk.log.warn("the flags stay as they are: ", err or "status " .. answer.status)
  end
  local known = pdk.json.decode(answer.body)
  if type(known) ~= "table" then return pdk.log.warn "the flags stay as they are: not JSON" end
  local on = {}
  for name, is_on in pairs(known) do
    if is_on == true then on[#on + 1] = name end
  end
  table.sort(on)
  flags = table.concat(on, ",")
end

function Plugin:configure(configs)
  config = configs[1]
  refresh() -- waits; requests that come before it is done have no flags yet
  if timer then timer:cancel() end -- the interval may be another one now
  timer = pdk.timer.every({ config.interval / 1000, jitter = 0.2 }, refresh)
end

function Plugin:access()
  pdk.service.request.set_header("X-Flags", flags)
end

return Plugin

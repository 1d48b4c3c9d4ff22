--- Refuses clients by the first word of their User-Agent.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 2500, VERSION = "1.0.0" }

local sets = {} -- configuration -> the agents of its list, in lower case

local function set_of(conf)
  local set = {}
  for _, agent in ipairs(conf.agents) do set[agent:lower()] = true end
  return set
end

function Plugin:configure(configs)
  sets = setmetatable({}, { __mode = "k" })
  for _, conf in ipairs(configs or {}) do sets[conf] = set_of(conf) end
end

function Plugin:access(conf)
  local set = sets[conf]
  if not set then -- of a consumer: merged with the route's when its first request came
    set = set_of(conf)
    sets[conf] = set
  end
  local agent = pdk.request.get_header "user-agent"
  if agent and set[agent:match("^[^/%s]*"):lower()] then
    return pdk.response.exit(403, { message = "not for " .. agent })
  end
end

return Plugin

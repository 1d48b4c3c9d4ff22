--- Names the process that answered, in a response header.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 800, VERSION = "1.0.0" }

local name -- of this process; set once, never changed

function Plugin:init_worker()
  local process = pdk.node.get_memory_stats().workers_lua_vms[1].pid
  name = pdk.node.get_hostname() .. "/" .. process
  pdk.log.info("ready as ", name)
end

function Plugin:header_filter(conf)
  pdk.response.set_header(conf.header, name)
end

return Plugin

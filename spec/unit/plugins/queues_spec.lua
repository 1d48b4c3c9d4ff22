--- Whose queues are whose.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }

function Plugin:access(conf)
  if conf.to == "told" then pdk.response.exit(200, pdk.shared:get "told") end
  local q = pdk.queue.get("ship", { max_delay = 5 }, function(batch)
    pdk.shared:set("told", (pdk.shared:get "told" or "") .. conf.to .. " " .. table.concat(batch, "+") .. "\n")
    return true
  end)
  q:push(pdk.request.get_query_arg "item")
  pdk.response.exit(200, pdk.json.encode(q:stats().pushed))
end

return Plugin
]]

local SCHEMA = 'return { to = { type = "string", required = true } }'

describe("pdk.queue", function()
  fixture.served { ship = { handler = HANDLER, schema = SCHEMA } }

  local function route(path, to)
    return { name = path:sub(2), path = path, plugins = { { name = "ship", config = { to = to } } },
      respond = { status = 200 } }
  end

  it("has one for each configuration: nothing goes where another says", function()
    local gateway = kit.start { plugins = {}, conf = { routes = { route("/a", "A"), route("/b", "B"),
      route("/also", "A"), route("/told", "told") } } }
    gateway:request { path = "/a?item=1" }
    gateway:request { path = "/b?item=2" }
    assert.equal("2", gateway:request({ path = "/also?item=3" }).body)
    gateway:flush()
    assert.equal("A 1+3\nB 2\n", gateway:request({ path = "/told" }).body)
  end)
end)

--- What a handler leaves behind that does not end by returning: it answers, or raises, and its coroutine serves others.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local kept = {}

function Plugin:access()
  local path = pdk.request.get_path()
  if path == "/kept" then
    local paths = {}
    for i, look in ipairs(kept) do paths[i] = look() end
    return pdk.response.exit(200, table.concat(paths, " "))
  end
  kept[#kept + 1] = function() return tostring(path) end
  if path:find "raised" then error "for the spec" end
  if path:find "waited" then pdk.timer.sleep(1) end
  pdk.response.exit(204)
end

return Plugin
]]

local EXITS = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local HEADERS = { ["/name"] = { ["not a name"] = "x" }, ["/value"] = { ["X-A"] = "x\r\nX-B: y" } }

function Plugin:access()
  pdk.response.exit(201, "half of an answer", HEADERS[pdk.request.get_path()])
end

return Plugin
]]

describe("a handler that does not return", function()
  fixture.served { keeps = { handler = HANDLER }, exits = { handler = EXITS } }

  it("leaves functions behind that see their own request, whoever uses its coroutine next", function()
    local gateway = kit.start { plugins = { { name = "keeps" } } }
    local paths = { "/answered", "/raised", "/waited", "/raised/again", "/answered/again" }
    for _, path in ipairs(paths) do gateway:request { path = path } end
    assert.equal(table.concat(paths, " "), gateway:request({ path = "/kept" }).body)
    assert.equal(2, #gateway:logs "plugin.failed")
  end)

  it("gives no answer whose fields are wrong, and none of it when the chain goes on", function()
    local gateway = kit.start { plugins = { { name = "exits" } } }
    for _, path in ipairs { "/name", "/value" } do
      local answer = gateway:request { path = path }
      assert.equal(500, answer.status, path)
      assert.is_nil(answer.body:find("half", 1, true))
    end
    assert.equal(201, gateway:request({ path = "/none" }).status)
    gateway = kit.start { plugins = { { name = "exits", on_error = "continue" } },
      upstream = function() return "whole" end }
    assert.equal("whole", gateway:request({ path = "/name" }).body)
    assert.equal(1, #gateway:logs "plugin.failed")
  end)
end)

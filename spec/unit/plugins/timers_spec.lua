--- Beats of timers, on a clock that passes at once.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }

function Plugin:access(conf)
  local beats = 0
  local timer = pdk.timer.every({ 10, jitter = conf.jitter }, function()
    beats = beats + 1
    if conf.takes > 0 then pdk.timer.sleep(conf.takes) end
  end)
  pdk.timer.sleep(1005)
  timer:cancel()
  pdk.response.exit(200, tostring(beats))
end

return Plugin
]]

local SCHEMA = 'return { jitter = { type = "number", default = 0 }, takes = { type = "number", default = 0 } }'

describe("pdk.timer.every", function()
  fixture.served { beats = { handler = HANDLER, schema = SCHEMA } }

  local function beats_of(config)
    local gateway = kit.start { plugins = { { name = "beats", config = config } } }
    return tonumber(gateway:request({}).body)
  end

  it("has as many beats as there are intervals, early and late ones among them", function()
    assert.equal(100, beats_of {})
    for _, jitter in ipairs { 0.1, 0.5, 1 } do
      local beats = beats_of { jitter = jitter }
      assert.is_true(beats >= 99 and beats <= 101, ("%g: %d beats"):format(jitter, beats))
    end
  end)

  it("leaves out what a long run misses", function()
    assert.equal(50, beats_of { takes = 12 })
  end)
end)

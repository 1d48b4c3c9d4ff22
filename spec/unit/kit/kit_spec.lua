--- The kit under busted: the same gateway, in the library under test.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
function Plugin:access() pdk.timer.sleep(5) end
function Plugin:header_filter(conf) pdk.response.set_header("X-Said", conf.word) end
return Plugin
]]

describe("kit", function()
  before_each(function()
    kit.paths = { fixture.write { said = { handler = HANDLER,
      schema = 'return { word = { type = "string", required = true }, list = { type = "array", elements = '
        .. '{ type = "record", fields = { inner = { type = "array", elements = { type = "string" } } } } } }' } } }
    kit.plugin = "said"
  end)
  after_each(function()
    kit.stop()
    kit.plugin, kit.paths = nil, {}
    fixture.clean()
  end)

  it("runs a gateway", function()
    local gateway = kit.start { config = { word = "hello" }, upstream = function() return "there" end }
    local answer = gateway:request { path = "/x?y=z" }
    assert.same({ 200, "there", "hello" }, { answer.status, answer.body, answer.headers["X-Said"] })
    assert.is_true(math.abs(answer.elapsed - 5) < 0.01)
    assert.equal("/x?y=z", gateway:upstream_requests()[1].path)
  end)

  it("ends the gateway before", function()
    local first = kit.start { config = { word = "one" } }
    local second = kit.start { config = { word = "two" } }
    assert.is_nil(first.kit)
    assert.equal("two", second:request({}).headers["x-said"])
    assert.equal(second, kit.running())
  end)

  it("has an end, after which only what has been is known", function()
    local gateway = kit.start { config = { word = "x" }, upstream = function() return { delay = 9 } end }
    local pending = gateway:begin {}
    gateway:advance(6)
    kit.stop()
    assert.error_matches(function() gateway:request {} end, "gateway:request: this gateway has ended")
    assert.error_matches(function() pending:answer() end, "this gateway has ended")
    assert.error_matches(function() gateway:metrics() end, "this gateway has ended")
    assert.equal(1, #gateway:upstream_requests())
    assert.same({}, gateway:logs "plugin.failed")
    pending:abort()
    gateway:stop()
  end)

  it("says what is wrong with what it is given", function()
    assert.has_error(function() kit.start { confg = {} } end, "kit.start: unknown option confg")
    assert.error_matches(function() kit.start { config = {} } end,
      "^kit.start: routes%[0%].plugins%[0%].config.word: required")
    assert.error_matches(function() kit.start { config = { word = "x" }, hosts = { ["a:1"] = true } } end,
      'the host a:1: expected a function, kit.wire')
    assert.error_matches(function() kit.advance(1) end, "kit.advance: no gateway runs")
  end)

  it("raises what a host raises", function()
    local gateway = kit.start { config = { word = "x" }, upstream = function() error "no answer" end }
    assert.error_matches(function() gateway:request {} end, "no answer")
  end)

  it("says so when nobody will ever go on", function()
    local gateway = kit.start { config = { word = "x" } }
    local world = gateway.world
    gateway:advance(3600)
    assert.error_matches(function() world:drive(function() return false end, "the end") end, "the end: ")
  end)

  it("takes empty tables for lists where the schema says so", function()
    assert.same({}, kit.validate { word = "x", list = {} })
    assert.same({}, kit.validate { word = "x", list = { { inner = {} } } })
  end)

  it("judges configurations", function()
    assert.same({}, kit.validate { word = "x" })
    local problems = kit.validate { word = "x", wurd = "x" }
    assert.equal(1, #problems)
    assert.equal("wurd", problems[1].path)
    assert.matches("did you mean word", problems[1].message)
  end)

  it("begins at the same time each time, and gives the clocks back", function()
    local real = os.time()
    kit.start { config = { word = "x" } }
    assert.equal(1767225600, kit.now())
    kit.advance(100)
    kit.start { config = { word = "x" } }
    assert.equal(1767225600, kit.now())
    kit.stop()
    assert.is_true(math.abs(kit.now() - real) < 60)
  end)
end)

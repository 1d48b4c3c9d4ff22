--- Metrics of plugins in the real binary: two workers count, one is killed, the plugin is reloaded, the node upgraded.
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local exposition = require "unit.admin.exposition"
local loop = require "support.loop"
local scripted = require "support.scripted"
local tempdir = require "support.tempdir"


local function value(server, name, labels)
  return exposition.value(exposition.parse(server:metrics()), "veloflux_plugin_script_" .. name, labels or {})
end

describe("metrics of plugins", function()
  it("are sums over workers, and outlive them", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local HIT = [[
      pdk.metrics.counter("hits", "Hits.", { "who" }):inc(1, "ana")
      pdk.metrics.gauge("busy", "Busy."):set(%d)
      pdk.metrics.histogram("sizes", "Sizes.", {}, { 10 }):observe(5)
    ]]
    first:run(HIT:format(3))
    first:run(HIT:format(4))
    second:run(HIT:format(5))
    assert.equal(3, value(server, "hits_total", { who = "ana" }))
    assert.equal(9, value(server, "busy"))
    assert.equal(3, value(server, "sizes_count"))

    uv.kill(first.pid, "sigkill")
    server:wait_log "worker%.exited"
    assert.equal(3, value(server, "hits_total", { who = "ana" }))
    assert.equal(5, value(server, "busy"))
    local _, again = server:workers(nil, second)
    again:run(HIT:format(1))
    assert.equal(4, value(server, "hits_total", { who = "ana" }))
    assert.equal(6, value(server, "busy"))

    uv.kill(children.of(server.pid).control[1], "sigkill")
    server:wait_log("control%.started", server:wait_log "control%.exited")
    children.eventually("the admin address to answer", function()
      local ok, text = pcall(clients.get, server.ports.admin, "/metrics")
      return ok and text.status == 200
    end)
    assert.equal(4, value(server, "hits_total", { who = "ana" }))
    server:stop()
  end))

  it("go on when the plugin is reloaded", loop.spec(function()
    local server = scripted.start()
    local HIT = [[ pdk.metrics.counter("hits", "Hits."):inc() ]]
    server:connect():run(HIT)
    local file = server.dir .. "/plugins/script/handler.lua"
    tempdir.write(file, tempdir.read(file) .. "-- changed\n")
    assert.is_true((server:reload()))
    server:connect():run(HIT)
    assert.equal(2, value(server, "hits_total"))
    server:stop()
  end))

  it("keep to the ceiling over all workers", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local HIT = [[
      local users = pdk.metrics.counter("users", "Users.", { "user" }, { max_series = 5 })
      for i = 1, 100 do users:inc(1, "u" .. i) end
    ]]
    first:run(HIT)
    second:run(HIT)
    local families = exposition.parse(server:metrics())
    assert.equal(2, exposition.value(families, "veloflux_plugin_script_users_total", { user = "u5" }))
    assert.equal(190, exposition.value(families, "veloflux_plugin_script_users_total", { user = "other" }))
    assert.equal(190, exposition.value(families, "veloflux_plugin_metrics_collapsed_total",
      { metric = "veloflux_plugin_script_users_total" }))
    server:stop()
  end))
end)

--- pdk.shared and pdk.ratelimit in the real binary: two workers, and one that is killed in the middle.
local uv = require "luv"
local children = require "support.children"
local loop = require "support.loop"
local scripted = require "support.scripted"

-- Counts in an endless loop, as far as its time limit lets it; a kill meets it somewhere inside.
local COUNT = [[
  for i = 1, 1000000000 do
    pdk.shared:incr("all", 1, 0)
    pdk.shared:set("text", ("x"):rep(i % 300))
    pdk.ratelimit.window("w", 1000000000, 3600)
  end
]]

describe("memory shared by plugins", function()
  it("is the same in all workers", loop.spec(function()
    local server = scripted.start { workers = 2, plugins = { "script", "other" } }
    local first, second = server:workers()
    assert.same({ 1 }, first:run [[ return pdk.shared:incr("n", 1, 0) ]])
    assert.same({ 2 }, second:run [[ return pdk.shared:incr("n", 1, 0) ]])
    first:run [[ pdk.shared.dict("mine", { size = 100000 }):rpush("list", "from the first") ]]
    assert.same({ "from the first" }, second:run [[ return pdk.shared.dict("mine"):lpop "list" ]])
    assert.same({ true }, first:run [[ return pdk.shared:cas("owner", nil, "first") ]])
    assert.same({ nil, "has another value", "changed" }, second:run [[ return pdk.shared:cas("owner", nil, "second") ]])
    local other = server:connect "/other"
    assert.same({}, other:run [[ return pdk.shared:get "n" ]])
    server:stop()
  end))

  it("limits over all workers", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local TAKE = [[ return pdk.ratelimit.gcra("ana", 3, 3600), pdk.ratelimit.window("ana", 3, 86400) ]]
    for _ = 1, 3 do assert.same({ true, true }, { first:run(TAKE)[1], second:run "return true"[1] }) end
    assert.is_false(second:run(TAKE)[1])
    local allowed, remaining = unpack(second:run [[ return pdk.ratelimit.window("ana", 3, 86400) ]])
    assert.same({ false, 0 }, { allowed, remaining })
    assert.same({ true, 4 }, { unpack(first:run [[ return pdk.shared:quota("q", 10, 3600, 6) ]], 1, 2) })
    assert.same({ false, 4 }, { unpack(second:run [[ return pdk.shared:quota("q", 10, 3600, 6) ]], 1, 2) })
    server:stop()
  end))

  it("counts and limits exactly when workers do it at the same time", loop.spec(function()
    local server = scripted.start { workers = 2, conf = { plugin_limits = { cpu = "10s" } } }
    local first, second = server:workers()
    local HURRY = [[
      local admitted, granted = 0, 0
      pdk.shared:incr("here", 1, 0)
      while pdk.shared:get "here" < 2 do pdk.timer.sleep(0.001) end
      for i = 1, 100000 do
        pdk.shared:incr("n", 1, 0)
        if pdk.ratelimit.gcra("burst", 5000, 4e6) then admitted = admitted + 1 end
        if pdk.shared:quota("budget", 7000, 3600) then granted = granted + 1 end
      end
      return admitted, granted
    ]]
    first:begin(HURRY)
    second:begin(HURRY)
    local one, two = first:answer(), second:answer()
    assert.same({ 5000, 7000 }, { one[2] + two[2], one[3] + two[3] })
    assert.same({ 200000 }, first:run [[ return pdk.shared:get "n" ]])
    server:stop()
  end))

  it("is told of by pdk.node, and may be named where a plugin is loaded", loop.spec(function()
    local server = scripted.start { files = { ["plugins/early/handler.lua"] = [[
      local pdk = require "veloflux.pdk"
      local mine, hits = pdk.shared.dict("mine", { size = 100000 }), pdk.metrics.counter("hits", "Hits.")
      local Plugin = { PRIORITY = 2000 }
      function Plugin:init_worker() mine:set("begun", true) end
      function Plugin:access()
        hits:inc()
        pdk.ctx.shared.begun = mine:get "begun"
      end
      return Plugin
    ]], ["plugins/early/schema.lua"] = "return {}" }, conf = { plugins = { { name = "early" } } } }
    local connection = server:connect()
    assert.same({ true, true }, connection:run [[
      local dicts = pdk.node.get_memory_stats().lua_shared_dicts
      return pdk.ctx.shared.begun, dicts.mine.allocated_slabs > 0 and dicts.mine.capacity > dicts.mine.allocated_slabs
    ]])
    assert.is_truthy(server:metrics():find "\nveloflux_plugin_early_hits_total 2\n")
    server:stop()
  end))

  it("stays whole when a worker is killed inside", loop.spec(function()
    local server = scripted.start { workers = 2, conf = { plugin_limits = { cpu = "10s" } } }
    local first, second = server:workers()
    first:run [[ pdk.shared:set("kept", "here") pdk.ratelimit.gcra("ana", 1, 3600) ]]
    local begun = 0
    for round = 1, 3 do
      first:begin(COUNT)
      children.eventually("the first worker to count", function()
        local count = second:run [[ return pdk.shared:get "all" ]][1]
        return count and count > begun
      end)
      uv.kill(first.pid, "sigkill")
      children.wait_gone(first.pid)
      begun = second:run [[ return pdk.shared:incr("all", 1) ]][1]
      assert.same({ "here" }, second:run [[ return pdk.shared:get "kept" ]])
      assert.is_false(second:run [[ return pdk.ratelimit.gcra("ana", 1, 3600) ]][1])
      second:run [[ pdk.shared:get "text" pdk.ratelimit.window("w", 1000000000, 3600) ]]
      if round < 3 then
        first = select(2, server:workers(nil, second))
        assert.is_true(first:run [[ return pdk.shared:get "all" ]][1] >= begun)
      end
    end
    server:stop()
  end))
end)

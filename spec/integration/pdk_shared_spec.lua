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

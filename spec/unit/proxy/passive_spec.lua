--- Passive health: three failures in a row, growing time, never the last one.
local fixture = require "unit.proxy.fixture"
local lib = fixture.lib

local SECOND = 1e9

describe("passive health", function()
  local b
  local function failed(name) return lib.vf_passive_failed(b.state, b.snapshot, 0, b:index(name), b.now_ns) end
  local function ejected_s(name)
    return (tonumber(b:backend(name).ejected_until_ns) - b.now_ns) / SECOND
  end

  before_each(function()
    local snapshot, names = fixture.weighted("round_robin", { 1, 1, 1 })
    b = fixture.balancer(fixture.state(), snapshot, names)
  end)

  it("ejects after three failures in a row, for ten seconds", function()
    assert.same({ false, false, true }, { failed "a", failed "a", failed "a" })
    assert.equal(10, ejected_s "a")
    assert.same({ a = 0, b = 5, c = 5 }, b:tally(10))
    b.now_ns = b.now_ns + 10 * SECOND
    assert.is_true(b:tally(9).a > 0)
  end)

  it("ejects again at the next failure, for twice as long, up to 300 s", function()
    failed "a"
    failed "a"
    for _, seconds in ipairs { 10, 20, 40, 80, 160, 300, 300 } do
      assert.is_true(failed "a")
      assert.equal(seconds, ejected_s "a")
      assert.is_false(failed "a") -- one more of the same: known already
      b.now_ns = b.now_ns + seconds * SECOND
    end
  end)

  it("never ejects the last usable backend", function()
    for _, name in ipairs { "a", "b" } do
      failed(name)
      failed(name)
      assert.is_true(failed(name))
    end
    for _ = 1, 5 do assert.is_false(failed "c") end
    assert.equal("c", b:pick())
  end)

  it("does not count the drained, the down and those of weight 0 as others", function()
    b:backend("a").drain = 1
    b:backend("b").weight = 1 -- 0
    for _ = 1, 5 do assert.is_false(failed "c") end
    b:backend("b").weight = 0
    assert.is_true(failed "c")
  end)

  it("is off where the pool says so", function()
    b:publish(fixture.weighted("round_robin", { 1, 1 }, 0))
    for _ = 1, 5 do assert.is_false(failed "a") end
  end)

  it("counts only failures in a row", function()
    failed "a"
    failed "a"
    local backend = b:backend "a"
    assert.equal(2, backend.failures)
    backend.failures = 0 -- what vf_passive_ok writes
    assert.is_false(failed "a")
  end)
end)

--- Smooth weighted round robin: exact shares in every cycle, spread evenly, whatever comes and goes.
local fixture = require "unit.proxy.fixture"

describe("round_robin", function()
  local state
  before_each(function() state = fixture.state() end)

  local function balancer(weights, seed)
    local snapshot, names = fixture.weighted("round_robin", weights)
    return fixture.balancer(state, snapshot, names, seed)
  end

  local function sequence(b, n)
    local picked = {}
    for i = 1, n do picked[i] = b:pick() end
    return table.concat(picked)
  end

  it("takes turns", function()
    assert.equal("abcabc", sequence(balancer { 1, 1, 1 }, 6))
  end)

  it("spreads the heavy ones as nginx does", function()
    assert.equal("aabacaa", sequence(balancer { 5, 1, 1 }, 7))
  end)

  it("gives every backend its weight in each cycle, from any beginning", function()
    for seed = 0, 20 do
      local b = balancer({ 7, 3, 1, 12, 1 }, seed)
      b:tally(24)
      for _ = 1, 5 do assert.same({ a = 7, b = 3, c = 1, d = 12, e = 1 }, b:tally(24)) end
    end
  end)

  it("never leaves a backend waiting much longer than its share", function()
    local b, last = balancer { 10, 5, 1 }, { a = 0, b = 0, c = 0 }
    local bound = { a = 3, b = 5, c = 17 } -- ceil(total / weight) and one more
    for i = 1, 1600 do
      local name = b:pick()
      assert.is_true(i - last[name] <= bound[name])
      last[name] = i
    end
  end)

  it("begins where the seed says", function()
    local firsts = {}
    for seed = 1, 50 do
      state = fixture.state()
      firsts[balancer({ 1, 1, 1 }, seed):pick()] = true
    end
    assert.same({ a = true, b = true, c = true }, firsts)
  end)

  it("follows run-time weights at once", function()
    local b = balancer { 1, 1, 1 }
    b:tally(10)
    b:backend("a").weight = 9 -- 8
    assert.same({ a = 8, b = 1, c = 1 }, b:tally(10))
    b:backend("a").weight = 1 -- 0
    assert.same({ a = 0, b = 5, c = 5 }, b:tally(10))
    b:backend("a").weight = 0 -- as configured
    b:tally(3)
    assert.same({ a = 3, b = 3, c = 3 }, b:tally(9))
  end)

  it("forgets old debts when weights shrink", function()
    local b = balancer { 1000000, 1, 1 }
    b:tally(1000)
    b:backend("a").weight = 2
    b:tally(6)
    assert.same({ a = 10, b = 10, c = 10 }, b:tally(30))
  end)

  it("keeps its turn over a reload that adds and removes", function()
    local b = balancer { 1, 1, 1 }
    assert.equal("ab", sequence(b, 2))
    b:publish(fixture.snapshot { backends = { { name = "d" }, { name = "c" }, { name = "b" } } })
    assert.equal("c", b:pick())
    b:tally(5)
    assert.same({ b = 3, c = 3, d = 3 }, b:tally(9))
  end)

  it("skips what must not be chosen", function()
    local b = balancer { 1, 1, 1, 1, 0 }
    b:backend("a").drain = 1
    b:backend("b").drain = 2
    local c = b:backend "c"
    c.health, c.checked_ns, c.interval_ms = 2, b.now_ns, 1000
    assert.same({ a = 0, b = 0, c = 0, d = 20, e = 0 }, b:tally(20))
    c.health = 1
    assert.same({ a = 0, b = 0, c = 10, d = 10, e = 0 }, b:tally(20))
  end)

  it("avoids those that were tried", function()
    local b = balancer { 1, 1, 1 }
    for _ = 1, 10 do assert.equal("b", b:pick(nil, { "a", "c" })) end
    assert.same({ nil, fixture.ENOBACKEND }, { b:pick(nil, { "a", "b", "c" }) })
  end)

  it("says so when nothing is left", function()
    local b = balancer { 1, 1 }
    for _, name in ipairs { "a", "b" } do
      local one = b:backend(name)
      one.health, one.checked_ns, one.interval_ms = 2, b.now_ns, 1000
    end
    assert.same({ nil, fixture.ENOBACKEND }, { b:pick() })
    b.now_ns = b.now_ns + 3.1e9 -- the checker is gone: its word is too old
    assert.is_string(b:pick())
  end)

  it("answers for a pool without backends", function()
    local b = fixture.balancer(state, fixture.snapshot { backends = {} })
    assert.same({ nil, fixture.ENOBACKEND }, { b:pick() })
  end)

  it("uses ejected backends when there are no others, but none that a check found down", function()
    local b = balancer { 1, 1, 1 }
    for _, name in ipairs { "a", "b", "c" } do b:backend(name).ejected_until_ns = b.now_ns + 1e9 end
    b:backend("c").health, b:backend("c").checked_ns, b:backend("c").interval_ms = 2, b.now_ns, 1000
    assert.same({ a = 5, b = 5, c = 0 }, b:tally(10))
    b:backend("a").ejected_until_ns = 0
    assert.same({ a = 10, b = 0, c = 0 }, b:tally(10))
    b.now_ns = b.now_ns + 2e9
    assert.same({ a = 5, b = 5, c = 0 }, b:tally(10))
  end)
end)

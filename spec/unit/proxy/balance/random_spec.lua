--- The power of two choices: shares by weight when idle, and away from the loaded.
local fixture = require "unit.proxy.fixture"

describe("random", function()
  local function balancer(weights, seed)
    local snapshot, names = fixture.weighted("random", weights)
    return fixture.balancer(fixture.state(), snapshot, names, seed or 42)
  end

  it("follows the weights on an idle pool", function()
    local weights = { a = 1, b = 2, c = 3, d = 4 }
    for seed = 1, 5 do
      local counts = balancer({ 1, 2, 3, 4 }, seed):tally(20000)
      assert.is_true(fixture.chi_square(counts, weights) < 16.27) -- 3 degrees of freedom, p = 0.001
    end
  end)

  it("is the same for the same seed and another for another", function()
    local function sequence(seed)
      local b, picked = balancer({ 1, 1, 1 }, seed), {}
      for i = 1, 50 do picked[i] = b:pick() end
      return table.concat(picked)
    end
    assert.equal(sequence(7), sequence(7))
    assert.not_equal(sequence(7), sequence(8))
  end)

  it("takes the less loaded of two", function()
    local b = balancer { 1, 1 }
    b:counters("a").in_flight = 1
    assert.same({ a = 0, b = 100 }, b:tally(100))
  end)

  it("keeps loads in proportion to weights, far closer than chance", function()
    local b = balancer { 1, 1, 1, 1, 4 }
    b:tally(8000, function(name) b:counters(name).in_flight = b:counters(name).in_flight + 1 end)
    for name, load in pairs { a = 1000, b = 1000, c = 1000, d = 1000, e = 4000 } do
      assert.is_true(math.abs(tonumber(b:counters(name).in_flight) - load) <= 12, name)
    end
  end)

  it("gives those that come and stay what those that go had", function()
    local b = balancer { 1, 1, 1 }
    b:backend("b").drain = 2
    local counts = b:tally(4000)
    assert.equal(0, counts.b)
    assert.is_true(math.abs(counts.a - 2000) < 150)
    b:publish(fixture.weighted("random", { 1, 1, 1, 1 }))
    b:backend("b").drain = 0
    assert.is_true(fixture.chi_square(b:tally(8000), { a = 1, b = 1, c = 1, d = 1 }) < 16.27)
  end)

  it("needs no choice for one", function()
    local b = balancer { 1, 1 }
    assert.equal("b", b:pick(nil, { "a" }))
  end)
end)

--- Peak EWMA: slow, failing and loaded backends get less, at once; they are forgiven slowly.
local fixture = require "unit.proxy.fixture"
local lib = fixture.lib

local SECOND = 1e9

describe("peak_ewma", function()
  local function balancer(weights, seed)
    local snapshot, names = fixture.weighted("peak_ewma", weights)
    return fixture.balancer(fixture.state(), snapshot, names, seed or 11)
  end

  local function observe(b, name, latency_us)
    lib.vf_balance_observe(b.raw, b.snapshot, b:index(name), latency_us, b.now_ns)
  end

  it("follows the weights among equals", function()
    local b = balancer { 1, 1, 2 }
    for _, name in ipairs { "a", "b" } do observe(b, name, 1000) end
    observe(b, "c", 2000) -- as costly per weight
    assert.is_true(fixture.chi_square(b:tally(12000), { a = 1, b = 1, c = 2 }) < 13.82)
  end)

  it("tries a backend that it does not know", function()
    local b = balancer { 1, 1 }
    observe(b, "a", 1000)
    assert.equal("b", b:pick())
    b:counters("b").in_flight = 1 -- but one exchange at a time, until the first answer
    assert.equal("a", b:pick())
  end)

  it("leaves the slow one at the first slow answer", function()
    local b = balancer { 1, 1, 1 }
    for _, name in ipairs { "a", "b", "c" } do observe(b, name, 1000) end
    observe(b, "b", 50000)
    assert.equal(0, b:tally(3000).b)
  end)

  it("weighs latency with exchanges in flight", function()
    local b = balancer { 1, 1 }
    observe(b, "a", 1000)
    observe(b, "b", 5000)
    b:counters("a").in_flight = 3
    assert.same({ a = 50, b = 0 }, b:tally(50)) -- 4 x 1 ms against 5 ms
    b:counters("a").in_flight = 5
    assert.same({ a = 0, b = 50 }, b:tally(50))
  end)

  it("forgives with time", function()
    local b = balancer { 1, 1 }
    observe(b, "a", 1000)
    observe(b, "b", 20000)
    assert.equal(0, b:tally(100).b)
    b.now_ns = b.now_ns + 40 * SECOND
    observe(b, "a", 1000)
    assert.is_true(b:tally(100).b > 0)
  end)

  it("does not take quick failures for quick answers", function()
    local b = balancer { 1, 1, 1 }
    for _, name in ipairs { "a", "b", "c" } do observe(b, name, 20000) end
    lib.vf_balance_failed(b.raw, b.snapshot, b:index "c", b.now_ns)
    assert.equal(0, b:tally(1000).c)
    b.now_ns = b.now_ns + 5 * SECOND
    for _, name in ipairs { "a", "b" } do observe(b, name, 20000) end
    assert.equal(0, b:tally(1000).c)
  end)

  it("sends little to two slow ones of ten in a closed loop", function()
    local b = balancer { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }
    local latency = setmetatable({ i = 50000, j = 50000 }, { __index = function() return 10000 end })
    local running, counts = {}, {}
    for _ = 1, 5000 do -- 40 exchanges at a time; the earliest to end makes way for the next
      if #running >= 40 then
        table.sort(running, function(x, y) return x.ends_ns < y.ends_ns end)
        local done = table.remove(running, 1)
        b.now_ns = done.ends_ns
        b:counters(done.name).in_flight = b:counters(done.name).in_flight - 1
        observe(b, done.name, latency[done.name])
      end
      local name = b:pick()
      counts[name] = (counts[name] or 0) + 1
      b:counters(name).in_flight = b:counters(name).in_flight + 1
      running[#running + 1] = { name = name, ends_ns = b.now_ns + latency[name] * 1000 }
    end
    assert.is_true(counts.i + counts.j < 5000 * 0.08)
    assert.is_true(counts.i > 0)
  end)

  it("keeps what it learnt over a reload, and knows nothing of a newcomer", function()
    local b = balancer { 1, 1 }
    observe(b, "a", 1000)
    observe(b, "b", 90000)
    b:publish(fixture.weighted("peak_ewma", { 1, 1, 1 }))
    local counts = b:tally(300)
    assert.equal(0, counts.b)
    assert.is_true(counts.c > 0)
  end)
end)

describe("the shown latency", function()
  it("is an average over about eight answers, for every algorithm", function()
    local snapshot, names = fixture.weighted("round_robin", { 1 })
    local b = fixture.balancer(fixture.state(), snapshot, names)
    lib.vf_balance_observe(b.raw, snapshot, 0, 800, b.now_ns)
    assert.equal(800, tonumber(b:backend("a").latency_us))
    lib.vf_balance_observe(b.raw, snapshot, 0, 1600, b.now_ns)
    assert.equal(900, tonumber(b:backend("a").latency_us))
  end)
end)

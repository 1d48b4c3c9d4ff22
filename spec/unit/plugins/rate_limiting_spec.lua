local fixture = require "unit.plugins.fixture"

--- A clock that the spec moves, and a Redis that answers what the spec says.
local now, asked, answer
local file = fixture.load("rate-limiting", {
  timer = { now = function() return now end },
  redis = { new = function(options)
    assert.equal("r", options.host)
    return { eval = function(_, _, keys, arguments)
      asked[#asked + 1] = { keys = keys, arguments = arguments }
      return answer(arguments)
    end }
  end },
})
local leases, planner = file "leases", file "plan"

local function new(conf)
  conf.redis = { host = "r", port = 1, database = 0, timeout = 500 }
  conf.algorithm, conf.sync_rate = "window", conf.sync_rate or 1
  now, asked = 1000, {}
  return leases.new(conf, planner.of(conf))
end

--- Grants whatever is wanted.
local function generous(arguments)
  local out = {}
  for i = 1, #arguments, 5 do
    for _, value in ipairs { tonumber(arguments[i + 2]), 500, 30000, 0, 7 } do out[#out + 1] = value end
  end
  return out
end

local function wanted(i) return tonumber(asked[i].arguments[3]) end

describe("leases", function()
  local left, reset

  before_each(function() left, reset, answer = {}, {}, generous end)

  it("grow while they are used up in time, so that Redis is seldom asked", function()
    local of = new { hour = 100000 }
    for _ = 1, 1000 do assert.equal(0, of:take("k", left, reset)) end
    assert.is_true(#asked <= 10, #asked .. " questions")
    assert.same({ 1, 2, 4, 8 }, { wanted(1), wanted(2), wanted(3), wanted(4) })
    assert.same({ "veloflux:rate-limiting:{k}:hour" }, asked[1].keys)
    assert.equal(30, reset[1])
  end)

  it("shrink, and give back what they did not use", function()
    local of = new { hour = 100000 }
    for _ = 1, 5 do of:take("k", left, reset) end -- 1 + 2 + 4, of which two are left
    assert.equal(502, left[1])
    now = now + 1.5
    of:take("k", left, reset)
    local arguments = asked[4].arguments
    assert.same({ "100000", "3600000", "2", "2", "7" }, arguments)
  end)

  it("ask again for what others have spent meanwhile, and refuse nobody for that", function()
    local of = new { second = 10, minute = 100 }
    answer = function() return { 1, 9, 500, 0, 7, 2, 98, 30000, 0, 7 } end -- one of the second, two of the minute
    assert.equal(0, (of:take("k", left, reset)))
    answer = function(arguments)
      coroutine.yield()
      return generous(arguments)
    end
    local verdicts, tasks = {}, {}
    for i = 1, 2 do
      tasks[i] = coroutine.create(function() verdicts[i] = of:take("k", {}, {}) end)
      assert(coroutine.resume(tasks[i]))
    end
    for i = 1, 2 do assert(coroutine.resume(tasks[i])) end
    assert.same({ 0 }, verdicts)
    assert(coroutine.resume(tasks[2]))
    assert.same({ 0, 0 }, verdicts)
    assert.same({ "veloflux:rate-limiting:{k}:minute" }, asked[4].keys)
  end)

  it("are one request each when every request is to be asked for", function()
    local of = new { hour = 100, sync_rate = -1 }
    for i = 1, 10 do
      assert.equal(0, of:take("k", left, reset))
      assert.equal(i, #asked)
      assert.equal(1, wanted(i))
    end
  end)

  it("remember a refusal for a while", function()
    local of = new { second = 5, hour = 50 }
    answer = function() return { 1, 3, 500, 0, 7, 0, 0, 900000, 60000, 9 } end
    assert.same({ 2, 60 }, { of:take("k", left, reset) })
    assert.same({ 4, 0 }, left) -- what was granted of the other limit is kept
    for _ = 1, 10 do assert.equal(2, of:take("k", left, reset)) end
    assert.equal(1, #asked)
    now = now + 1.1
    answer = generous
    assert.equal(0, of:take("k", left, reset))
    assert.equal("1", asked[2].arguments[4]) -- of the second, given back
    assert.equal(2, #asked)
  end)

  it("leave Redis alone when it has failed, and try again with one request", function()
    local of = new { hour = 100 }
    answer = function() return nil, "refused" end
    assert.same({ nil, "refused" }, { of:take("k", left, reset) })
    for _ = 1, 10 do assert.is_nil((of:take("j", left, reset))) end
    assert.equal(1, #asked)
    now = now + 1.01
    answer = function() -- others come while this one waits
      answer = generous
      assert.is_nil((of:take("other", left, reset)))
      return generous { 100, 1, 1, 0, 0 }
    end
    assert.equal(0, of:take("k", left, reset))
    assert.equal(0, of:take("other", left, reset))
    for _, odd in ipairs { {}, { 1 }, "text", 5, false } do
      answer = function() return odd end
      now = now + 5
      assert.is_nil((of:take("k" .. tostring(odd), left, reset)))
    end
  end)

  it("are forgotten when they are too many", function()
    local of = new { hour = 100 }
    for i = 1, 25000 do of:take("k" .. i, left, reset) end
    local n = 0
    for _, generation in ipairs { of.young, of.old } do
      for _ in pairs(generation) do n = n + 1 end
    end
    assert.is_true(n <= 20000)
  end)
end)

describe("the plan of limits", function()
  it("knows the nearest one", function()
    local plan = planner.of { second = 5, minute = 50, hour = 500, algorithm = "window" }
    assert.equal(1, planner.nearest(plan, { 1, 2, 3 }))
    assert.equal(3, planner.nearest(plan, { 4, 2, 2 }))
    assert.equal('"second";q=5;w=1, "minute";q=50;w=60, "hour";q=500;w=3600', plan.policy)
    plan = planner.of { rate = 0.5, per = 0.25, algorithm = "gcra" }
    assert.equal('"gcra";q=1;w=1', plan.policy)
    assert.equal(1, plan.burst)
  end)
end)

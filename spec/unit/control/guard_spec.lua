--- What is judged, and how.
require "support.library"
local figures = require "veloflux.control.figures"
local guards = require "veloflux.control.guard"

local GUARD = { error_rate = 5, latency = 2, latency_floor_ms = 50, statistic = "mean", min_requests = 20 }

local function of(requests, errors, mean_ms)
  return { requests = requests, errors = errors, us = (mean_ms or 10) * 1000 * requests, finished = requests }
end

local function judge(before, after, changes)
  local guard = {}
  for name, value in pairs(GUARD) do guard[name] = value end
  for name, value in pairs(changes or {}) do guard[name] = value end
  return guards.judge(guard, "the route a", before, after)
end

describe("a guard", function()
  it("holds while traffic is as it was", function()
    assert.is_nil(judge(of(1000, 10), of(100, 1)))
    assert.is_nil(judge(of(1000, 500), of(100, 54)))
    assert.is_nil(judge(of(0, 0), of(100, 5)))
  end)

  it("breaks when more fail", function()
    assert.equal("31.0 % of 100 requests of the route a failed, 1.0 % before: more than 5 points above",
      judge(of(1000, 10), of(100, 31)))
    assert.is_nil(judge(of(1000, 10), of(100, 31), { error_rate = 40 }))
  end)

  it("breaks when exchanges take longer, by more than a trifle", function()
    assert.equal("exchanges of the route a took 90.0 ms (mean), 10.0 ms before: more than 2 times as long",
      judge(of(1000, 0, 10), of(100, 0, 90)))
    assert.is_nil(judge(of(1000, 0, 10), of(100, 0, 59)))
    assert.is_nil(judge(of(1000, 0, 100), of(100, 0, 190)))
    assert.is_nil(judge(of(1000, 0, 10), of(100, 0, 900), { latency = 0 }))
    assert.is_nil(judge(of(0, 0), of(100, 0, 900)))
  end)

  it("says nothing of too few requests", function()
    assert.is_nil(judge(of(1000, 0), of(19, 19)))
    assert.is_string(judge(of(1000, 0), of(20, 20)))
  end)

  it("knows the 99th percentile of all traffic", function()
    local fast, slow = of(100, 0, 1), of(100, 0, 1)
    fast.buckets, slow.buckets = {}, {}
    for i = 1, 14 do fast.buckets[i], slow.buckets[i] = 0, 0 end
    fast.buckets[1], slow.buckets[1], slow.buckets[10] = 100, 95, 5
    assert.is_truthy(judge(fast, slow, { statistic = "p99" }):find "%(p99%)")
    assert.is_nil(judge(fast, slow))
  end)

  it("shows figures for people", function()
    assert.same({ requests = 3, error_rate = 33.33, latency_ms = 10 }, guards.show(of(3, 1), "mean"))
    assert.same({ requests = 0, error_rate = 0 }, guards.show(of(0, 0), "mean"))
  end)
end)

describe("figures", function()
  it("grow, and begin anew with the counters", function()
    assert.same({ requests = 5, errors = 1, us = 7, finished = 5, buckets = { 1, 0 } }, figures.growth(
      { requests = 10, errors = 2, us = 3, finished = 9, buckets = { 1, 2 } },
      { requests = 15, errors = 3, us = 10, finished = 14, buckets = { 2, 2 } }))
    local anew = of(3, 1)
    assert.equal(anew, figures.growth(of(10, 0), anew))
    assert.equal(anew, figures.growth(nil, anew))
  end)
end)

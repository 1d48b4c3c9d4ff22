--- Timers of plugins: waiting, running later, again and again, and ending.
local harness = require "unit.pdk.harness"
local loop = require "support.loop"
local network = require "veloflux.runtime.network"
local background = require "veloflux.runtime.background"
local timer = require "veloflux.pdk.timer"

local chain = harness.chain

local function spec(fn)
  return loop.spec(function()
    local h = harness.new()
    chain.instance, chain.errors = { name = "spec", as = "spec", plugin = {} }, {}
    fn(h)
    background.retire(function() return false end)
    h:drive(function() return background.count(chain.instance.plugin) == 0 end, "background tasks to end")
    h:close()
  end)
end

describe("pdk.timer", function()
  it("sleeps while others run", spec(function(h)
    local order = {}
    h:spawn(function()
      timer.sleep(0.5)
      order[#order + 1] = "slow"
    end)
    h:run(function()
      timer.sleep(0)
      order[#order + 1] = "fast"
    end)
    h:drive(function() return #order == 2 end)
    assert.same({ "fast", "slow" }, order)
  end))

  it("runs a function later, once, with its arguments", spec(function(h)
    local seen
    h:run(function()
      local begun = network.now_ms()
      local handle = timer.after(0.03, function(...) seen = { network.now_ms() - begun, ... } end, "a", nil, "c")
      assert.is_nil(seen)
      h.handle = handle
    end)
    assert.equal(1, background.count(chain.instance.plugin))
    h:drive(function() return seen end)
    assert.is_true(seen[1] >= 30)
    assert.same({ "a", nil, "c" }, { seen[2], seen[3], seen[4] })
    assert.is_false(h.handle:cancel())
    assert.equal(0, background.count(chain.instance.plugin))
  end))

  it("is cancelled before it runs", spec(function(h)
    local ran = false
    h:run(function()
      local handle = timer.after(60, function() ran = true end)
      local at_once = timer.after(0, function() ran = true end)
      assert.is_true(handle:cancel())
      assert.is_true(at_once:cancel())
      assert.is_false(handle:cancel())
      timer.sleep(0.02)
    end)
    assert.is_false(ran)
    assert.equal(0, background.count(chain.instance.plugin))
  end))

  it("runs again and again, never twice at once, and goes on after errors", spec(function(h)
    local runs, now, most = 0, 0, 0
    local handle
    h:run(function()
      handle = timer.every(0.01, function()
        now = now + 1
        most = math.max(most, now)
        timer.sleep(0.025)
        now = now - 1
        runs = runs + 1
        if runs == 2 then error "not today" end
      end)
    end)
    h:drive(function() return runs == 4 end)
    assert.equal(1, most)
    assert.equal(1, #chain.errors)
    assert.matches("not today", chain.errors[1])
    assert.is_true(handle:cancel())
  end))

  it("spreads beats over a share of the interval", spec(function(h)
    local beats = {}
    h:run(function()
      for _ = 1, 40 do
        timer.every({ 1, jitter = 1 }, function() beats[#beats + 1] = network.now_ms() end)
      end
    end)
    h:drive(function() return #beats >= 40 end)
    table.sort(beats)
    assert.is_true(beats[40] - beats[1] > 40)
  end))

  it("ends with the plugin's code, a run under way apart", spec(function(h)
    local plugin = chain.instance.plugin
    local phases = {}
    h:run(function()
      timer.every(0.01, function()
        phases[#phases + 1] = "begun"
        timer.sleep(0.05)
        phases[#phases + 1] = "done"
      end)
      timer.after(3600, function() phases[#phases + 1] = "late" end)
    end)
    h:drive(function() return #phases == 1 end)
    background.retire(function(one) return one ~= plugin end)
    h:run(function()
      assert.same({ nil, "the plugin's code has been replaced", "cancelled" }, { timer.after(1, print) })
    end)
    h:drive(function() return background.count(plugin) == 0 end)
    assert.same({ "begun", "done" }, phases)
  end))

  it("bounds the timers of one plugin", spec(function(h)
    h:run(function()
      for _ = 1, 1024 do assert(timer.after(3600, print)) end
      assert.same({ nil, "more than 1024 tasks of one plugin", "too_many" }, { timer.after(1, print) })
    end)
  end))

  it("raises for what makes no sense", spec(function(h)
    h:run(function()
      assert.has_error(function() timer.sleep(-1) end, "timer.sleep: expected a number of seconds from 0 on, got -1")
      assert.has_error(function() timer.sleep(0 / 0) end)
      assert.has_error(function() timer.sleep "1" end)
      assert.has_error(function() timer.after(1) end, "timer.after: expected a function, got nil")
      assert.has_error(function() timer.every(0, print) end)
      assert.has_error(function() timer.every({ 1, jitter = 2 }, print) end)
      chain.instance = nil
      assert.has_error(function() timer.after(1, print) end, "timer.after: no plugin runs")
      chain.instance = { name = "spec", as = "spec", plugin = {} }
    end)
  end))
end)

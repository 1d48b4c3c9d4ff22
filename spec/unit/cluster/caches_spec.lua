--- What caches forget, between shared memory and the store: told, told again, and heeded.
local fixture = require "unit.pdk.area_fixture"
require "veloflux.runtime.cached" -- declares vf_state_stamp
local caches = require "veloflux.cluster.caches"
local ffi = require "ffi"
local forgotten = require "veloflux.runtime.forgotten"
local link = require "veloflux.control.link"
local storage = require "veloflux.control.storage"
local timelines = require "support.timeline"
local totals = require "veloflux.totals"

local lib = fixture.lib

local function note(key)
  forgotten.note(fixture.state, ffi.new("char[?]", #key + 1, key), #key)
end

local function stamp(key) return lib.vf_state_stamp(fixture.state, key, #key)[0] end

describe("what caches forget", function()
  local time, told, log, failure, is_shared, real

  before_each(function()
    time = timelines.open()
    told, log, failure, is_shared = {}, {}, nil, true
    real = { state = totals.state, current = storage.current, is_shared = storage.is_shared, log = link.log }
    totals.state = function() return fixture.state end
    storage.is_shared = function() return is_shared end
    storage.current = function()
      return { tell = function(_, text, callback)
        told[#told + 1] = text
        callback(failure)
      end }
    end
    link.log = function(level, event) log[#log + 1] = level .. " " .. event end
    caches.start()
    time.pass(100)
    told, log = {}, {}
  end)

  after_each(function()
    caches.stop()
    totals.state, storage.current, storage.is_shared, link.log = real.state, real.current, real.is_shared, real.log
    time.close()
  end)

  it("is told soon, in one piece", function()
    note "va"
    note "vb\0,"
    assert.same({}, told)
    time.pass(50)
    assert.same({ "2:va,4:vb\0,," }, told)
    time.pass(1000)
    assert.equal(1, #told)
  end)

  it("is everything after a failure, which is said once", function()
    failure = { code = "unavailable", message = "away" }
    note "va"
    time.pass(5000)
    assert.is_true(#told >= 4 and #told <= 7, #told)
    assert.same({ "2:va,", "*" }, { told[1], told[#told] })
    assert.same({ "warn cache.unheard" }, log)
    failure = nil
    time.pass(1000)
    assert.same({ "warn cache.unheard", "info cache.heard" }, log)
    local n = #told
    time.pass(5000)
    assert.equal(n, #told)
    note "vc"
    time.pass(50)
    assert.equal("2:vc,", told[n + 1])
  end)

  it("goes in pieces when it is much", function()
    for i = 1, 3000 do note(("v%05d"):format(i) .. ("x"):rep(20)) end
    time.pass(200)
    assert.is_true(#told >= 3, #told)
    for _, text in ipairs(told) do assert.is_true(#text < 64 * 1024) end
  end)

  it("is heeded when others tell it", function()
    local a, b, c = stamp "va", stamp "vb", stamp "vc"
    caches.on_news("2:va,2:vb,", 4)
    assert.same({ a + 1, b + 1, c, 4 }, { stamp "va", stamp "vb", stamp "vc", caches.heard() })
    for i, text in ipairs { "*", "2:va", "x", "5:va," } do -- what cannot be read may be anything
      caches.on_news(text, 4 + i)
      assert.same({ c + i, 4 + i }, { stamp "vc", caches.heard() })
    end
    caches.on_news(nil, 20)
    assert.same({ c + 5, 20, "info cache.missed" }, { stamp "vc", caches.heard(), log[1] })
  end)
end)

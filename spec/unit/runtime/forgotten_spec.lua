--- What this node's caches have forgotten, on its way to the other nodes, and what comes from them.
local fixture = require "unit.pdk.area_fixture"
local ffi = require "ffi"
local lib = fixture.lib

require "veloflux.runtime.cached" -- declares vf_state_stamp
local forgotten = require "veloflux.runtime.forgotten"

local function note(key)
  local bytes = ffi.new("char[?]", #key + 1, key)
  forgotten.note(fixture.state, bytes, #key)
end

local function stamp(key) return lib.vf_state_stamp(fixture.state, key, #key)[0] end

describe("what caches have forgotten", function()
  local function take(bytes)
    local taken = forgotten.take(bytes or 1000)
    forgotten.finish()
    return taken
  end

  it("is not noted by a node without others", function()
    note "early"
    assert.is_nil(forgotten.heard(fixture.state))
    forgotten.begin(fixture.state)
    assert.is_nil(take())
  end)

  it("is taken in order, in pieces", function()
    forgotten.begin(fixture.state)
    local long = ("x"):rep(60000)
    for _, key in ipairs { "a", "b\0c", long, "d" } do note(key) end
    assert.same({ "a", "b\0c", long }, take(100))
    assert.same({ "d" }, take(100))
    assert.is_nil(take(100))
  end)

  it("is everything when there is too much of it", function()
    for i = 1, 5000 do note("key" .. i) end
    assert.equal("all", take())
    assert.is_nil(take())
    note "next"
    assert.same({ "next" }, take())
  end)

  it("is everything when nobody knows what became of the last", function()
    note "a"
    assert.same({ "a" }, forgotten.take(1000))
    note "b"
    assert.equal("all", forgotten.take(1000)) -- a successor, or the same one after a failure
    assert.equal("all", forgotten.take(1000))
    forgotten.finish()
    assert.is_nil(forgotten.take(1000))
  end)

  it("is void here when others say so", function()
    local a, b = stamp "va", stamp "vb"
    forgotten.heed(fixture.state, { "va" }, 7)
    assert.same({ a + 1, b, 7 }, { stamp "va", stamp "vb", forgotten.heard(fixture.state) })
    forgotten.heed(fixture.state, nil, 9)
    assert.same({ a + 2, b + 1, 9 }, { stamp "va", stamp "vb", forgotten.heard(fixture.state) })
  end)
end)

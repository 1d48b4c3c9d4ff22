--- Shared dictionaries as plugins see them. What the memory itself does is in spec/unit/snapshot/dict.
local fixture = require "unit.pdk.area_fixture"
local shared = require "veloflux.pdk.shared"
local traces = require "support.traces"

local plugin = fixture.plugin

-- What a call raises, without the place.
local function raised(call, ...)
  local ok, message = pcall(call, ...)
  assert.is_false(ok)
  return message
end

describe("pdk.shared", function()
  before_each(function()
    plugin "spec"
    shared:flush_all()
  end)

  it("keeps strings, numbers and booleans", function()
    for _, value in ipairs { "text", "", "\0\255", ("long"):rep(10000), 0, -1.5, 2 ^ 60, true, false } do
      assert.is_true(shared:set("k", value))
      assert.equal(value, shared:get "k")
    end
    assert.is_true(shared:set("k", nil))
    assert.same({}, { shared:get "k" })
    assert.is_true(shared:set("a.longer key\0", 1))
    assert.equal(1, shared:get "a.longer key\0")
  end)

  it("adds, replaces, compares and deletes", function()
    assert.same({ nil, "not found", "absent" }, { shared:replace("k", 1) })
    assert.is_true(shared:add("k", 1))
    assert.same({ nil, "exists already", "exists" }, { shared:add("k", 2) })
    assert.is_true(shared:replace("k", 2))
    assert.same({ nil, "has another value", "changed" }, { shared:cas("k", 1, 3) })
    assert.is_true(shared:cas("k", 2, "three"))
    assert.same({ nil, "has another value", "changed" }, { shared:cas("k", nil, 4) })
    assert.is_true(shared:cas("k", "three", nil))
    assert.is_true(shared:cas("k", nil, true, 60))
    assert.is_true(shared:ttl "k" > 59)
    assert.is_true(shared:delete "k")
    assert.is_false(shared:delete "k")
  end)

  it("counts", function()
    assert.same({ nil, "not found", "absent" }, { shared:incr "n" })
    assert.equal(1, shared:incr("n", 1, 0))
    assert.equal(2, shared:incr "n")
    assert.equal(1.5, shared:incr("n", -0.5, 100))
    assert.equal(0, shared:ttl "n")
    assert.equal(11, shared:incr("m", 1, 10, 60))
    assert.is_true(shared:ttl "m" > 59)
    shared:set("s", "1")
    assert.same({ nil, "the value is of another type", "type" }, { shared:incr("s", 1, 0) })
  end)

  it("lets values expire", function()
    assert.same({ nil, "not found", "absent" }, { shared:ttl "k" })
    shared:set("k", 1, 1e-9)
    assert.is_nil(shared:get "k")
    shared:set("k", 1, 3600)
    assert.is_true(shared:expire("k", 1e-9))
    assert.is_nil(shared:get "k")
    shared:set("k", 1)
    assert.equal(0, shared:ttl "k")
    assert.is_true(shared:expire("k", 60))
    assert.is_true(shared:ttl "k" > 59 and shared:ttl "k" <= 60)
    assert.is_true(shared:expire("k", 0))
    assert.equal(0, shared:ttl "k")
    assert.same({ nil, "not found", "absent" }, { shared:expire("none", 1) })
    for i = 1, 10 do shared:set("gone" .. i, i, 1e-9) end
    assert.is_true(shared:flush_expired(3) <= 3)
    shared:flush_expired()
    assert.equal(0, shared:flush_expired())
  end)

  it("has lists", function()
    assert.equal(0, shared:llen "l")
    assert.equal(1, shared:rpush("l", "b"))
    assert.equal(2, shared:rpush("l", 3))
    assert.equal(3, shared:lpush("l", true))
    assert.equal(4, shared:rpush("l", ("x"):rep(10000)))
    assert.same({ nil, "the value is a list", "type" }, { shared:get "l" })
    assert.equal(4, shared:llen "l")
    assert.equal(10000, #shared:rpop "l")
    assert.same({ true, "b", 3 }, { shared:lpop "l", shared:lpop "l", shared:lpop "l" })
    assert.same({}, { shared:lpop "l" })
    shared:set("s", "x")
    assert.same({ nil, "the value is of another type", "type" }, { shared:rpush("s", 1) })
    assert.same({ nil, "the value is of another type", "type" }, { shared:rpop "s" })
    assert.same({ nil, "the value is of another type", "type" }, { shared:llen "s" })
  end)

  it("takes of a budget", function()
    assert.same({ true, 10, 0 }, { shared:quota("q", 10, 60, 0) })
    local granted, left, reset = shared:quota("q", 10, 60, 7)
    assert.is_true(granted)
    assert.equal(3, left)
    assert.is_true(reset > 59 and reset <= 60)
    granted, left = shared:quota("q", 10, 60, 4)
    assert.same({ false, 3 }, { granted, left })
    assert.is_true((shared:quota("q", 10, 60, 3)))
    assert.is_false((shared:quota("q", 10, 60)))
    shared:expire("q", 1e-9)
    assert.is_true((shared:quota("q", 10, 60)))
    assert.matches("n: expected a whole number", raised(shared.quota, shared, "q", 10, 60, 0.5))
    assert.matches("window of some seconds", raised(shared.quota, shared, "q", 10, 0))
  end)

  it("keeps plugins apart, unless they want to share", function()
    shared:set("k", "of spec")
    local common = shared.dict(nil, { share = true })
    common:set("k", "of all")
    plugin "other"
    assert.is_nil(shared:get "k")
    shared:set("k", "of other")
    shared:set("k2", 2)
    assert.equal("of all", common:get "k")
    plugin "spec"
    assert.equal("of spec", shared:get "k")
    assert.same({ "k" }, shared:keys())
    plugin "other"
    local keys = shared:keys()
    table.sort(keys)
    assert.same({ "k", "k2" }, keys)
    assert.equal(1, #shared:keys(1))
    assert.equal(2, shared:flush_all())
    plugin "spec"
    assert.equal("of spec", shared:get "k")
    assert.same({ "k" }, common:keys(0))
    assert.equal(1, common:flush_all())
    assert.equal("of spec", shared:get "k")
  end)

  it("lists more keys than its first buffer holds", function()
    local function long(i) return ("x"):rep(95) .. ("%05d"):format(i) end
    for i = 1, 3000 do shared:set(long(i), i) end
    assert.equal(1024, #shared:keys())
    local keys = shared:keys(0)
    table.sort(keys)
    assert.equal(3000, #keys)
    assert.equal(long(3000), keys[3000])
  end)

  it("gives dictionaries of their own size", function()
    local small = shared.dict("small", { size = 65536 })
    assert.is_true(small:set("k", "here"))
    assert.is_nil(shared:get "k")
    assert.equal("here", shared.dict("small"):get "k")
    assert.is_true(small:capacity() <= 65536 and small:capacity() > 50000)
    assert.equal(small:capacity() - 128, small:free_space())
    assert.same({ nil, "key and value are longer than can be kept", "too_large" },
      { small:set("k", ("x"):rep(65536)) })
    local n = 0
    repeat n = n + 1 until small:quota("q" .. n, 1, 60) == nil
    assert.same({ nil, "the dictionary is full", "no_memory" }, { small:quota("q" .. n, 1, 60) })
    local huge = shared.dict("huge", { size = 512 * 1024 * 1024 })
    local huger = shared.dict("huger", { size = 512 * 1024 * 1024 })
    assert.is_true(huge:set("k", 1))
    assert.same({ nil, 'there is no room for the shared dictionary "huger"', "no_room" }, { huger:set("k", 1) })
    assert.same({ nil, "no_room" }, { huger:get "k", (select(3, huger:get "k")) })
    assert.is_false(huger:delete "k")
  end)

  it("raises at the plugin's line for what makes no sense", function()
    local function at_line(message) return "^spec/unit/pdk/shared_spec.lua:%d+: " .. message end
    assert.matches(at_line "shared.set: a table cannot be kept: encode it %(pdk.json.encode%)",
      raised(function() shared:set("k", {}) end))
    assert.matches(at_line "shared.lpush: a table cannot be kept", raised(function() shared:lpush("k", {}) end))
    assert.matches(at_line "shared.cas: expected a string, a number or a boolean, got function",
      raised(function() shared:cas("k", print, 1) end))
    assert.matches(at_line "shared.rpush: expected a string, a number or a boolean, got nil",
      raised(function() shared:rpush "k" end))
    assert.matches(at_line "shared.get: expected a key, a string of 1 to 65279 bytes, got number",
      raised(function() shared:get(1) end))
    assert.matches(at_line "shared.set: expected a key, .*, got one of 0 bytes",
      raised(function() shared:set("", 1) end))
    assert.matches(at_line "shared.get: expected a key, .*, got one of 70000 bytes",
      raised(function() shared:get(("x"):rep(70000)) end))
    assert.matches(at_line "shared.set: expected a time to live in seconds, 0 for ever, got %-1",
      raised(function() shared:set("k", 1, -1) end))
    assert.matches(at_line "shared.expire: expected a time to live", raised(function() shared:expire("k", "x") end))
    assert.matches(at_line "shared.incr: expected a number to add, got string",
      raised(function() shared:incr("k", "1") end))
    assert.matches(at_line "shared.get is called with a colon: pdk.shared:get", raised(function() shared.get "k" end))
    assert.matches(at_line "shared.dict: expected a name", raised(function() shared.dict "no.dots" end))
    assert.matches(at_line "shared.dict: size: expected 65536", raised(function() shared.dict("n", { size = 1 }) end))
    plugin(nil)
    assert.matches(at_line "shared.get cannot be called while the plugin's code is loaded",
      raised(function() shared:get "k" end))
    assert.matches(at_line "shared.keys cannot be called", raised(function() shared:keys() end))
  end)

  it("compiles", function()
    local i, text = 0, "text"
    local keys = {}
    for k = 1, 16 do keys[k] = "key" .. k end
    traces.assert_compiles(function()
      i = i + 1
      shared:incr("hits", 1, 0)
    end)
    assert.equal(i, shared:get "hits")
    traces.assert_compiles(function()
      i = i + 1
      local key = keys[i % 16 + 1]
      shared:set(key, text, 60)
      shared:get(key)
    end)
    traces.assert_compiles(function()
      i = i + 1
      shared:set("number", i)
      shared:cas("number", i, i + 1)
      shared:get "number"
      shared:quota("budget", 100, 60)
    end)
  end)
end)

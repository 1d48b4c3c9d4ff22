--- The kit's own `assert`, judged by busted's.
local assertions = require "veloflux.kit.assertions"
local failures = require "veloflux.kit.failure"
local show = require "veloflux.kit.show"

local own = assertions.assert

--- Returns what a failed assertion says; nil when it holds.
local function failure(fn)
  local ok, err = pcall(fn)
  if ok then return nil end
  assert.is_true(failures.is(err))
  return err.message
end

describe("kit.assertions", function()
  it("hold", function()
    own(true)
    own.equal(1, 1)
    own.are.equal("a", "a")
    own.is_not.equal(1, 2)
    own.not_equal(1, "1")
    own.same({ a = { 1, 2 } }, { a = { 1, 2 } })
    own.is_not.same({ 1 }, { 1, 2 })
    own.is_true(true)
    own.is_false(false)
    own.is_nil(nil)
    own.is_not_nil(1)
    own.is_truthy(0)
    own.is_falsy(nil)
    own.is_string "x"
    own.is_table {}
    own.is_function(print)
    own.matches("b+", "abbbc")
    own.does_not.match("x", "abc")
    own.near(1, 1.05, 0.1)
    own.has_error(function() error "boom" end)
    own.has_error(function() error("boom", 0) end, "boom")
    own.has_error(function() error "boom" end, "boom")
    own.has_error(function() error { code = 1 } end, { code = 1 })
    own.has_no.errors(function() end)
    own.error_matches(function() error "a boom b" end, "boom")
  end)

  it("hand through what they were given", function()
    assert.same({ 1, "m" }, { own(1, "m") })
    assert.equal(5, (own.is_truthy(5)))
  end)

  it("fail with what was expected and what was got", function()
    assert.equal("expected equal values\nexpected  1\ngot       \"1\"", failure(function() own.equal(1, "1") end))
    assert.equal("expected another value than 1", failure(function() own.is_not.equal(1, 1) end))
    assert.equal("expected true, got nil", failure(function() own.is_true(nil) end))
    assert.equal("expected anything but nil", failure(function() own.is_not_nil(nil) end))
    assert.equal('expected a text that matches "x", got "abc"', failure(function() own.matches("x", "abc") end))
    assert.equal("expected an error, there was none", failure(function() own.has_error(function() end) end))
    assert.matches("^expected another error\nexpected  \"a\"\ngot       \"b\"$",
      failure(function() own.has_error(function() error("b", 0) end, "a") end))
    assert.matches("^expected no error, got", failure(function() own.has_no.errors(function() error "x" end) end))
    assert.equal("expected 1, give or take 0.5, got 2", failure(function() own.near(1, 2, 0.5) end))
    assert.equal("nothing here", failure(function() own(nil, "nothing here") end))
    assert.equal("of the spec's\nexpected true, got false", failure(function() own.is_true(false, "of the spec's") end))
  end)

  it("say where tables differ", function()
    local message = failure(function()
      own.same({ list = { 1, 2 }, deep = { ["a b"] = "x" }, gone = true },
        { list = { 1, 3 }, deep = { ["a b"] = "y" } })
    end)
    assert.equal('expected the same\nat deep["a b"]\n  expected  "x"\n  got       "y"\nat gone\n  expected  true\n'
      .. "  got       nothing\nat list[2]\n  expected  2\n  got       3", message)
  end)

  it("are known or an error", function()
    assert.error_matches(function() return own.is_pretty(1) end, "there is no assertion is_pretty")
    assert.error_matches(function() own.is() end, "an assertion is missing")
  end)
end)

describe("kit.show", function()
  it("writes values as people read them", function()
    assert.equal('{ 1, "a\\n", b = true, ["c d"] = {} }', show.value { 1, "a\n", b = true, ["c d"] = {} })
    local cycle = {}
    cycle.self = cycle
    assert.equal("{ self = <cycle> }", show.value(cycle))
    assert.matches("^{\n  ", show.value { ("x"):rep(60), ("y"):rep(60) })
  end)

  it("says where long texts differ", function()
    local same = ("0123456789"):rep(20)
    assert.equal('the texts differ from byte 201 on\nexpected  ..."901234567890123456789a"\n'
      .. 'got       ..."901234567890123456789b"', show.difference(same .. "a", same .. "b"))
  end)
end)

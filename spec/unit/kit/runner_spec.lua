--- The kit's runner, run by busted.
local runner = require "veloflux.kit.runner"

--- Runs a text as a spec file. Returns "status name" of each spec, and all results.
local function run(text, options)
  local results, lines, seeds = {}, {}, {}
  options = options or {}
  local specs = runner.new { seed = options.seed or 1, filter = options.filter,
    before = function(seed) seeds[#seeds + 1] = seed end,
    after = options.after or function() end,
    report = function(result)
      results[#results + 1] = result
      lines[#lines + 1] = result.status .. " " .. result.full_name
    end }
  local ok, failure = specs:load("x_spec.lua", text)
  if not ok then return failure end
  specs:run()
  return lines, results, seeds
end

local order -- of what has run

describe("kit.runner", function()
  before_each(function()
    order = {}
    rawset(_G, "kit_note", function(text) order[#order + 1] = text end)
  end)
  after_each(function() rawset(_G, "kit_note", nil) end)

  it("runs specs with their hooks, from the outside in and back", function()
    local lines = run [[
      before_each(function() kit_note "b0" end)
      after_each(function() kit_note "a0" end)
      describe("outer", function()
        setup(function() kit_note "setup" end)
        teardown(function() kit_note "teardown" end)
        before_each(function() kit_note "b1" end)
        after_each(function() kit_note "a1" end)
        it("one", function() finally(function() kit_note "f" end) kit_note "one" end)
        context("inner", function() test("two", function() kit_note "two" end) end)
      end)
    ]]
    assert.same({ "passed outer > one", "passed outer > inner > two" }, lines)
    assert.equal("setup b0 b1 one f a1 a0 b0 b1 two a1 a0 teardown", table.concat(order, " "))
  end)

  it("goes on after failures, and tells the first of a spec", function()
    local lines, results = run [[
      after_each(function() kit_note "after" end)
      it("asserts", function() assert.equal(1, 2) end)
      it("raises", function() local x = nil; return x.y end)
      it("raises a table", function() error { code = 1 } end)
      describe("hook", function()
        before_each(function() error "before" end)
        it("is not run", function() kit_note "run" end)
      end)
      it("passes", function() end)
    ]]
    assert.same({ "failed asserts", "failed raises", "failed raises a table", "failed hook > is not run",
      "passed passes" }, lines)
    assert.matches("^expected equal values\nexpected  1\ngot       2$", results[1].failure.message)
    assert.matches("^x_spec.lua:3: attempt to index", results[2].failure.message)
    assert.matches("^an error that is no text: table", results[3].failure.message)
    assert.matches("before$", results[4].failure.message)
    assert.equal("after after after after after", table.concat(order, " "))
  end)

  it("knows specs that wait to be written", function()
    local lines, results = run [[
      pending "one"
      it("two")
      it("three", function() pending "no time" end)
    ]]
    assert.same({ "pending one", "pending two", "pending three" }, lines)
    assert.equal("no time", results[3].reason)
  end)

  it("reports a setup that fails, and leaves its specs out", function()
    local lines = run [[
      describe("a", function()
        setup(function() error "no" end)
        it("b", function() end)
      end)
      it("c", function() end)
    ]]
    assert.same({ "failed a", "passed c" }, lines)
  end)

  it("leaves out what the filter does not name, hooks too", function()
    local lines = run([[
      describe("a", function()
        setup(function() kit_note "a" end)
        it("x", function() end)
      end)
      describe("b", function() it("x.y", function() end) it("xzy", function() end) end)
    ]], { filter = "b > x.y" })
    assert.same({ "passed b > x.y" }, lines)
    assert.same({}, order)
  end)

  it("gives each spec a seed of its own, whatever else runs", function()
    local text = 'it("a", function() end) it("b", function() end)'
    local _, _, all = run(text)
    local _, _, one = run(text, { filter = "b" })
    assert.not_equal(all[1], all[2])
    assert.same({ all[2] }, one)
    assert.is_not.same(all, select(3, run(text, { seed = 2 })))
  end)

  it("fails a spec that has passed when there is something to complain of", function()
    local lines, results = run('it("a", function() end)', { after = function() return "left open" end })
    assert.same({ "failed a" }, lines)
    assert.equal("left open", results[1].failure.message)
  end)

  it("says why a file cannot be read", function()
    assert.matches("^x_spec.lua:1: ", run("describe(").message)
    assert.matches("^x_spec.lua:1: no$", run("error 'no'").message)
  end)

  it("keeps the globals of a file to itself", function()
    run "leaked = 1"
    assert.is_nil(rawget(_G, "leaked"))
  end)
end)

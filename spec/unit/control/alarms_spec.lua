local alarms = require "veloflux.control.alarms"
local link = require "veloflux.control.link"

describe("alarms", function()
  local clock_ms, asked

  before_each(function()
    clock_ms, asked = 0, {}
    alarms.open { now_ms = function() return clock_ms end, set = function(delay_ms) table.insert(asked, delay_ms) end }
  end)

  after_each(function() alarms.open() end)

  local function at(ms)
    clock_ms = ms
    alarms.ring()
  end

  it("ring in the order of their time", function()
    local heard = {}
    alarms.after(300, function() table.insert(heard, "c") end)
    alarms.after(100, function() table.insert(heard, "a") end)
    alarms.after(100, function() table.insert(heard, "b") end)
    assert.same({ 300, 100 }, asked)
    at(100)
    assert.same({ "a", "b" }, heard)
    assert.equal(200, asked[#asked])
    at(350)
    assert.same({ "a", "b", "c" }, heard)
    assert.equal(3, #asked)
  end)

  it("are set again by what they call, and forgotten when they are cancelled", function()
    local count, handle = 0, nil
    local function again()
      count = count + 1
      handle = alarms.after(10, again)
    end
    again()
    at(10)
    at(20)
    assert.equal(3, count)
    alarms.cancel(handle)
    alarms.cancel(handle)
    alarms.cancel(nil)
    at(30)
    assert.equal(3, count)
  end)

  it("do not keep others from theirs when one raises", function()
    local real, logged, heard = link.log, nil, false
    link.log = function(_, event) logged = event end
    alarms.after(1, function() error "no" end)
    alarms.after(1, function() heard = true end)
    at(1)
    link.log = real
    assert.is_true(heard)
    assert.equal("control.fault", logged)
  end)
end)

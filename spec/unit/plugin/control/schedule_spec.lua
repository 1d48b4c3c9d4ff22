--- When jobs run: pure arithmetic on clocks that are passed in.
local schedule = require "veloflux.plugin.control.schedule"

local function utc(text)
  local year, month, day, hour, minute = text:match "^(%d+)-(%d+)-(%d+) (%d+):(%d+)$"
  local days = 0
  local function is_leap(y) return y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0) end
  for y = 1970, year - 1 do days = days + (is_leap(y) and 366 or 365) end
  local lengths = { 31, is_leap(tonumber(year)) and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  for m = 1, month - 1 do days = days + lengths[m] end
  return ((days + day - 1) * 86400 + hour * 3600 + minute * 60) * 1000
end

local function next_of(times, after) return assert(schedule.at(times)).next_ms(utc(after)) end

describe("every", function()
  it("counts from the beat before, and leaves out those that were missed", function()
    local every = schedule.every(1000, 0)
    assert.equal(6000, every.next_ms(5000, nil, 0.9))
    assert.equal(6000, every.next_ms(5200, 5000, 0.1))
    assert.equal(9000, every.next_ms(8300, 5000, 0.5))
  end)

  it("spreads beats by its jitter", function()
    local every = schedule.every(1000, 0.5)
    assert.equal(5750, every.next_ms(5000, nil, 0))
    assert.equal(6250, every.next_ms(5000, nil, 1))
  end)
end)

describe("at", function()
  it("is a time of the day in UTC", function()
    assert.equal(utc "2024-03-01 03:30", next_of("03:30", "2024-03-01 03:29"))
    assert.equal(utc "2024-03-02 03:30", next_of("03:30", "2024-03-01 03:30"))
    assert.equal(utc "2024-03-01 12:00", next_of({ "00:00", "12:00" }, "2024-03-01 00:01"))
  end)

  it("is five fields as cron has them", function()
    assert.equal(utc "2024-03-01 00:10", next_of("*/10 * * * *", "2024-03-01 00:00"))
    assert.equal(utc "2024-03-04 09:00", next_of("0 9 * * 1-5", "2024-03-01 09:00"))
    assert.equal(utc "2028-02-29 00:00", next_of("0 0 29 2 *", "2024-02-29 00:00"))
    assert.equal(utc "2024-03-03 06:00", next_of("0 6 * * 7", "2024-03-01 00:00"))
    assert.equal(utc "2024-03-05 00:00", next_of("0 0 5 * 0", "2024-03-03 00:00"))
    assert.equal(utc "2024-03-01 01:15", next_of("15,45 1-3 * * *", "2024-03-01 00:00"))
  end)

  it("says what it expected", function()
    local function problem(times) return select(2, schedule.at(times)) end
    assert.equal("25:00 is no time of the day", problem "25:00")
    assert.equal('expected a time such as "03:30", or five fields', problem "* *")
    assert.equal("minute: expected numbers from 0 to 59, *, ranges, lists and steps, got \"60\"", problem "60 * * * *")
    assert.equal("hour: expected numbers from 0 to 23, *, ranges, lists and steps, got \"x\"", problem "0 x * * *")
    assert.equal("0 0 31 2 *: there is no such day", problem "0 0 31 2 *")
    assert.equal("expected at least one time", problem {})
    assert.equal("expected five fields", problem "* * * * * *")
  end)
end)

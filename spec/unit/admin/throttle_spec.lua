local throttles = require "veloflux.admin.throttle"

local function fail_times(throttle, client, times, now)
  local lock
  for _ = 1, times do lock = throttle:failed(client, now) end
  return lock
end

describe("login throttle", function()
  it("locks a client out at its fifth failure, and longer with each further one", function()
    local throttle = throttles.new()
    assert.equal(0, fail_times(throttle, "10.0.0.1", 4, 0))
    assert.equal(0, throttle:wait_s("10.0.0.1", 0))
    assert.equal(30, throttle:failed("10.0.0.1", 0))
    assert.equal(30, throttle:wait_s("10.0.0.1", 0))
    assert.equal(1, throttle:wait_s("10.0.0.1", 29.5))
    assert.equal(0, throttle:wait_s("10.0.0.1", 30))
    assert.equal(60, throttle:failed("10.0.0.1", 30))
    assert.equal(throttles.MAX_LOCK_S, fail_times(throttle, "10.0.0.1", 20, 90))
  end)

  it("keeps clients apart, but not the addresses of one IPv6 network", function()
    local throttle = throttles.new()
    fail_times(throttle, "10.0.0.1", 5, 0)
    assert.equal(0, throttle:wait_s("10.0.0.2", 0))
    for i = 1, 5 do throttle:failed("2001:db8:1:2::" .. i, 0) end
    assert.equal(30, throttle:wait_s("2001:db8:1:2:a:b:c:d", 0))
    assert.equal(0, throttle:wait_s("2001:db8:1:3::1", 0))
    for i = 1, 5 do throttle:failed("2001:db8::" .. i, 0) end
    assert.equal(30, throttle:wait_s("2001:db8:0:0:1:2:3:4", 0))
    assert.equal(0, throttle:wait_s("::1", 0))
  end)

  it("forgets after a success, and after a long time", function()
    local throttle = throttles.new()
    fail_times(throttle, "a", 4, 0)
    throttle:succeeded "a"
    assert.equal(0, fail_times(throttle, "a", 4, 0))
    assert.equal(0, throttle:failed("a", throttles.FORGET_S + 1))
    throttle:succeeded "never seen"
    assert.equal(1, throttle.count)
  end)

  it("names those who are locked out", function()
    local throttle = throttles.new()
    for _, client in ipairs { "b", "a", "c" } do fail_times(throttle, client, 5, 0) end
    throttle:failed("d", 0)
    assert.same({ "a", "b", "c" }, throttle:locked(1, 10))
    assert.same({ "a", "b" }, throttle:locked(1, 2))
    assert.same({}, throttle:locked(throttles.LOCK_S, 10))
  end)

  it("holds a bounded number of clients and forgets the quietest", function()
    local throttle = throttles.new()
    fail_times(throttle, "first", 5, 0)
    for i = 1, throttles.MAX_CLIENTS do throttle:failed("client" .. i, i) end
    assert.equal(throttles.MAX_CLIENTS, throttle.count)
    assert.equal(0, throttle:wait_s("first", 1))
  end)
end)

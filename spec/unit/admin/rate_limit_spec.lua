require "support.library"
local limits = require "veloflux.admin.rate_limit"

local function new(requests, per, burst)
  local limit = limits.new()
  limit:configure { requests = requests, per = per, burst = burst }
  return limit
end

describe("the limit of requests", function()
  it("lets bursts pass, then one at each interval, for each client", function()
    local limit = new(10, 1000, 3)
    for _ = 1, 3 do assert.is_nil(limit:refuse("10.0.0.1", 100)) end
    assert.equal(1, limit:refuse("10.0.0.1", 100))
    assert.is_nil(limit:refuse("10.0.0.2", 100))
    assert.is_nil(limit:refuse("10.0.0.1", 100.1))
    assert.equal(1, limit:refuse("10.0.0.1", 100.1))
    assert.is_nil(limit:refuse("10.0.0.1", 110))
  end)

  it("says when the next may come", function()
    local limit = new(1, 60000, 1)
    assert.is_nil(limit:refuse("10.0.0.1", 0))
    assert.equal(60, limit:refuse("10.0.0.1", 0))
    assert.equal(20, limit:refuse("10.0.0.1", 40))
  end)

  it("counts the addresses of one IPv6 network together", function()
    local limit = new(1, 1000, 1)
    assert.is_nil(limit:refuse("2001:db8::1", 0))
    assert.equal(1, limit:refuse("2001:db8::2", 0))
    assert.is_nil(limit:refuse("2001:db8:0:1::1", 0))
  end)

  it("is off unless it is set, and begins anew when it changes", function()
    local limit = limits.new()
    for _ = 1, 100 do assert.is_nil(limit:refuse("a", 0)) end
    limit:configure { requests = 1, per = 1000 }
    assert.is_nil(limit:refuse("a", 0))
    limit:configure { requests = 1, per = 1000 }
    assert.equal(1, limit:refuse("a", 0))
    limit:configure { requests = 2, per = 1000 }
    assert.is_nil(limit:refuse("a", 0))
    limit:configure(nil)
    for _ = 1, 9 do assert.is_nil(limit:refuse("a", 0)) end
  end)

  it("remembers a bounded number of clients", function()
    local limit = new(1, 1000, 1)
    for i = 1, limits.MAX_CLIENTS + 10 do assert.is_nil(limit:refuse("c" .. i, i)) end
    assert.is_true(limit.count <= limits.MAX_CLIENTS)
    assert.equal(1, limit:refuse("c" .. limits.MAX_CLIENTS + 10, limits.MAX_CLIENTS + 10))
  end)
end)

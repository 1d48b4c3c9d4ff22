local recent = require "veloflux.recent"

describe("a map of recent things", function()
  it("keeps the last used, and never more than twice as many", function()
    local map = recent.new(3)
    for i = 1, 100 do
      map:put(i, "v" .. i)
      assert.equal("v1", map:get(1)) -- always used, never forgotten
    end
    local n = 0
    for i = 1, 100 do n = n + (map:get(i) and 1 or 0) end
    assert.is_true(n <= 6, n)
    assert.is_nil(map:get(50))
  end)

  it("replaces, and keeps false", function()
    local map = recent.new(2)
    map:put("a", 1)
    map:put("a", false)
    assert.is_false(map:get "a")
    map:put("b", 1)
    assert.is_false(map:get "a")
  end)
end)

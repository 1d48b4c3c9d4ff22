--- The names of a map in their order.
local sorted = require "veloflux.sorted"

describe("names", function()
  it("come in their order, whatever they were put in", function()
    assert.same({ "a", "b", "c" }, sorted.names { c = 1, a = false, b = {} })
    assert.same({ 1, 2, 10 }, sorted.names { [10] = true, [2] = true, [1] = true })
    assert.same({}, sorted.names {})
  end)

  it("of several types come as their texts would", function()
    assert.same({ 1, 10, 2, "a", true }, sorted.as_texts { a = 1, [10] = 1, [2] = 1, [1] = 1, [true] = 1 })
  end)
end)

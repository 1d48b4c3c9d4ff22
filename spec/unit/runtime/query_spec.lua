--- Queries as plugins see them.
local query = require "veloflux.runtime.query"

describe("a query", function()
  it("is taken apart: texts, true without a value, lists of repeated ones; nothing without a name", function()
    assert.same({ a = "1", b = true, c = { "2", "x y", "" }, ["e&"] = "+" },
      query.decode("a=1&b&c=2&&c=x+y&c=&=d=e&e%26=%2B&", 100))
    assert.same({}, query.decode("", 100))
    assert.same({}, query.decode(nil, 100))
    assert.same({ ["100%"] = "%zz" }, query.decode("100%=%zz", 100))
  end)

  it("is bounded", function()
    local arguments, err = query.decode("a&b&c", 2)
    assert.same({ a = true, b = true }, arguments)
    assert.equal("truncated", err)
    assert.is_nil(select(2, query.decode("a&b&", 2)))
  end)

  it("gives the first argument of a name", function()
    for text, expected in pairs { ["a=1&a=2"] = "1", ["b&a"] = true, ["aa=1&a=%41"] = "A", ["&&a=&a=1"] = "",
      ["%61=x"] = "x", ["a=b=c"] = "b=c" } do
      assert.equal(expected, query.first(text, "a"), text)
    end
    assert.is_nil(query.first("b=1&ab", "a"))
    assert.is_nil(query.first(nil, "a"))
  end)
end)

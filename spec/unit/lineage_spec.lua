local lineage = require "veloflux.lineage"

local function sorted(keys)
  table.sort(keys)
  return table.concat(keys, " ")
end

describe("the lineage of tables", function()
  it("says which keys may differ, over several steps", function()
    local first = { a = 1, b = 2 }
    local second = lineage.copy(first)
    second.a = 3
    lineage.note(second, "a")
    local third = lineage.copy(second)
    third.b, third.c = nil, 4
    lineage.note(third, "b")
    lineage.note(third, "c")
    assert.same({ a = 1, b = 2 }, first)
    assert.same({ a = 3, c = 4 }, third)
    assert.equal("", sorted(lineage.difference(third, third)))
    assert.equal("a", sorted(lineage.difference(first, second)))
    assert.equal("a b c", sorted(lineage.difference(first, third)))
  end)

  it("knows nothing of tables that did not come from each other, or long ago", function()
    local first = { a = 1 }
    assert.is_nil(lineage.difference(first, { a = 1 }))
    local last = first
    for _ = 1, 100 do last = lineage.copy(last) end
    assert.is_nil(lineage.difference(first, last))
    assert.is_nil(lineage.difference(last, first))
  end)

  it("keeps nothing", function()
    local seen = setmetatable({}, { __mode = "k" })
    local copy
    do
      local original = {}
      seen[original] = true
      copy = lineage.copy(original)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
    assert.is_nil(lineage.difference({}, copy))
  end)
end)

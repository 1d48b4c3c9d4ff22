local pieces = require "veloflux.kit.pieces"

describe("kit.pieces", function()
  it("cuts texts so that nothing is lost and no piece is empty", function()
    local random = pieces.new(7)
    for length = 0, 200 do
      local text = ("0123456789"):rep(20):sub(1, length)
      local cut = random:cut(text)
      assert.equal(text, table.concat(cut))
      for _, piece in ipairs(cut) do assert.is_true(#piece > 0) end
    end
  end)

  it("cuts in many ways, and in the same ways again", function()
    local function ways(seed)
      local random, list = pieces.new(seed), {}
      for i = 1, 40 do list[i] = table.concat(random:cut "abcdefgh", "|") end
      return list
    end
    local list, seen, different = ways(1), {}, 0
    for _, way in ipairs(list) do
      if not seen[way] then seen[way], different = true, different + 1 end
    end
    assert.is_true(different > 10)
    assert.is_true(seen["abcdefgh"])
    assert.is_true(seen["a|b|c|d|e|f|g|h"])
    assert.same(list, ways(1))
    assert.is_not.same(list, ways(2))
  end)

  it("stays within bounds", function()
    local random, seen = pieces.new(0), {}
    for _ = 1, 1000 do seen[random:below(4)] = true end
    assert.same({ [0] = true, true, true, true }, seen)
  end)

  it("makes seeds of names", function()
    assert.equal(pieces.seed_of(1, "a > b"), pieces.seed_of(1, "a > b"))
    assert.not_equal(pieces.seed_of(1, "a > b"), pieces.seed_of(2, "a > b"))
    assert.not_equal(pieces.seed_of(1, "a > b"), pieces.seed_of(1, "a > c"))
  end)
end)

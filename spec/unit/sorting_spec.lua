require "support.library"
local slices = require "veloflux.slices"
local sorting = require "veloflux.sorting"

local function random_list(n, most)
  local list = {}
  for i = 1, n do list[i] = math.random(most) end
  return list
end

describe("lists", function()
  it("are sorted as table.sort does, whatever their length", function()
    for _, n in ipairs { 0, 1, 2, 2047, 2048, 2049, 4096, 5000, 8193, 20001 } do
      for _, most in ipairs { 10, 1e9 } do
        local list = random_list(n, most)
        local expected = { unpack(list, 1, 0) }
        for i = 1, n do expected[i] = list[i] end
        table.sort(expected)
        assert.same(expected, sorting.sort(list))
      end
    end
    local texts = {}
    for i = 1, 5000 do texts[i] = ("%d"):format((i * 7919) % 5000) end
    local sorted = sorting.sort(texts)
    for i = 2, #sorted do assert.is_true(sorted[i - 1] < sorted[i]) end
  end)

  it("let others have their turn", function()
    local turns, result = {}, nil
    slices.open { turn = function(fn) turns[#turns + 1] = fn end, on_fault = error }
    finally(function() slices.open {} end)
    slices.run(function() result = sorting.sort(random_list(300000, 1e9)) end)
    assert.is_nil(result)
    local n = 0
    while not result and n < 1e6 do
      n = n + 1
      table.remove(turns, 1)()
    end
    for i = 2, #result do assert.is_true(result[i - 1] <= result[i]) end
  end)
end)

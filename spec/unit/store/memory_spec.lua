local contract = require "unit.store.contract"
local fixture = require "unit.store.fixture"
local memory = require "veloflux.store.memory"
local store = require "veloflux.store"

describe("the store in memory", function()
  local bench

  --- A bench whose answers wait in a list, which stands for the loop.
  local function set_up()
    local waiting, data = {}, memory.new()
    bench = fixture.new()
    function bench.drive(_, done, what)
      while not done() do
        local first = table.remove(waiting, 1)
        assert(first, "waited in vain for " .. tostring(what))
        first()
      end
    end
    return bench, function(now_ms)
      local opened = assert(store.open { driver = "memory", data = data, now_ms = now_ms,
        later = function(fn) waiting[#waiting + 1] = fn end })
      bench.stores[opened] = true
      return opened
    end
  end

  describe("keeps the contract:", function()
    contract.describe(getfenv(), set_up, function() bench:finish() end)
  end)
end)

--- Least connections: the fewest exchanges per weight, over all workers; the weights alone when idle.
local ffi = require "ffi"
local fixture = require "unit.proxy.fixture"

describe("least_conn", function()
  local b
  before_each(function()
    local snapshot, names = fixture.weighted("least_conn", { 1, 1, 2 })
    b = fixture.balancer(fixture.state(), snapshot, names)
  end)

  it("follows the weights on an idle pool", function()
    assert.same({ a = 10, b = 10, c = 20 }, b:tally(40))
  end)

  it("takes the one with fewest exchanges per weight", function()
    b:counters("a").in_flight, b:counters("b").in_flight, b:counters("c").in_flight = 3, 2, 5
    for _ = 1, 5 do assert.equal("b", b:pick()) end -- 3/1, 2/1, 5/2
    b:counters("c").in_flight = 3
    for _ = 1, 5 do assert.equal("c", b:pick()) end
  end)

  it("keeps loads in proportion to weights while exchanges stay", function()
    b:tally(400, function(name)
      local counters = b:counters(name)
      counters.in_flight = counters.in_flight + 1
    end)
    for name, load in pairs { a = 100, b = 100, c = 200 } do
      assert.is_true(math.abs(tonumber(b:counters(name).in_flight) - load) <= 1)
    end
  end)

  it("fills up a backend that comes", function()
    b:tally(90, function(name) b:counters(name).in_flight = b:counters(name).in_flight + 1 end)
    b:publish(fixture.snapshot { algorithm = "least_conn",
      backends = { { name = "a" }, { name = "b" }, { name = "c", weight = 2 }, { name = "new" } } })
    for _ = 1, 15 do
      assert.equal("new", b:pick())
      b:counters("new").in_flight = b:counters("new").in_flight + 1
    end
  end)

  it("counts what other workers have in flight, and forgets workers that ended", function()
    local state = b.state
    local second = ffi.cast("struct vf_state_block *", state.blocks) + 1
    second.lease, second.kind = fixture.lib.VF_BLOCK_LEASED, fixture.lib.VF_PROCESS_WORKER
    second.backends[fixture.slot "a"].in_flight, second.backends[fixture.slot "b"].in_flight = 50, 50
    assert.same({ a = 0, b = 0, c = 20 }, b:tally(20))
    second.lease = fixture.lib.VF_BLOCK_ENDED
    b.now_ns = b.now_ns + 2e8
    assert.same({ a = 5, b = 5, c = 10 }, b:tally(20))
  end)

  it("leaves out what is drained even when it is idle", function()
    b:backend("a").drain = 1
    for _, name in ipairs { "b", "c" } do b:counters(name).in_flight = 100 end
    assert.equal("c", b:pick())
  end)
end)

local ffi = require "ffi"
require "support.library"
local slices = require "veloflux.slices"

ffi.cdef [[
void vf_clock_hold(uint64_t ns, uint64_t wall_ms);
void vf_clock_release(void);
]]
local C = ffi.C

describe("work in slices", function()
  local turns, faults
  before_each(function()
    turns, faults = {}, {}
    slices.open { turn = function(fn) turns[#turns + 1] = fn end,
      on_fault = function(message) faults[#faults + 1] = message end }
  end)
  after_each(function() slices.open {} end)

  --- Works for longer than a slice.
  local function work_on()
    local until_s = os.clock() + 0.01
    while os.clock() < until_s do slices.pause() end
  end

  it("lets the loop turn, and goes on where it was", function()
    local steps = {}
    slices.run(function()
      for i = 1, 3 do
        work_on()
        steps[#steps + 1] = i
      end
    end)
    assert.equal(1, #turns)
    assert.same({}, steps)
    local count = 0
    while turns[1] do
      table.remove(turns, 1)()
      count = count + 1
    end
    assert.same({ 1, 2, 3 }, steps)
    assert.is_true(count > 3)
  end)

  it("waits in its own way where it has one, and gives what it returns or raises", function()
    local n_waits, first, second, third, ok, message = 0, nil, nil, nil, nil, nil
    local thread = coroutine.create(function()
      local function wait(turn)
        n_waits = n_waits + 1
        turn(function() coroutine.resume(coroutine.running()) end)
      end
      local own = coroutine.running()
      first, second, third = slices.within(own, wait, function()
        work_on()
        return 1, nil, 3
      end)
      ok, message = pcall(slices.within, own, wait, function() error("broken", 0) end)
      slices.pause()
    end)
    assert(coroutine.resume(thread))
    assert.same({ 1, nil, 3 }, { first, second, third })
    assert.is_true(n_waits >= 2)
    assert.equal(n_waits, #turns)
    assert.same({ false, "broken" }, { ok, message })
  end)

  it("is done at once when it is short", function()
    local is_done = false
    C.vf_clock_hold(1e15, 1e12) -- no time passes
    slices.run(function()
      for _ = 1, 100 do slices.pause() end
      is_done = true
    end)
    C.vf_clock_release()
    assert.is_true(is_done)
    assert.equal(0, #turns)
  end)

  it("is not interrupted where nobody said that it may be", function()
    work_on()
    local thread = coroutine.create(function()
      work_on()
      return "done"
    end)
    assert.same({ true, "done" }, { coroutine.resume(thread) })
    slices.open {}
    local is_done = false
    slices.run(function()
      work_on()
      is_done = true
    end)
    assert.is_true(is_done)
    assert.equal(0, #turns)
  end)

  it("goes through pcall, and a fault in it is logged and ends it", function()
    local caught
    slices.run(function()
      caught = select(2, pcall(function()
        work_on()
        error("wrong", 0)
      end))
      error("worse", 0)
    end)
    while turns[1] do table.remove(turns, 1)() end
    assert.equal("wrong", caught)
    assert.equal(1, #faults)
    assert.truthy(faults[1]:find("worse", 1, true))
  end)
end)

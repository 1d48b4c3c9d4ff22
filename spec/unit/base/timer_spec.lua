local ffi = require "ffi"
local callbacks = require "support.callbacks"
local lib = callbacks.outside(require "support.library")

ffi.cdef [[
enum { VF_TIMER_TICK_MS = 8, VF_TIMER_LEVELS = 4, VF_TIMER_SLOTS = 64 };
struct vf_timer {
  struct vf_timer *next, *prev;
  uint64_t deadline_ms, slot_ms;
  void (*on_fire)(struct vf_timer *timer);
};
struct vf_timers {
  struct vf_timer slots[VF_TIMER_LEVELS][VF_TIMER_SLOTS];
  uint64_t now_tick;
  uint32_t n_timers;
};
void vf_timers_init(struct vf_timers *, uint64_t now_ms);
void vf_timers_run(struct vf_timers *, uint64_t now_ms);
int64_t vf_timers_next(const struct vf_timers *, uint64_t now_ms);
void vf_timer_start(struct vf_timers *, struct vf_timer *, uint64_t deadline_ms);
void vf_timer_stop(struct vf_timers *, struct vf_timer *);
]]

local TICK = ffi.C.VF_TIMER_TICK_MS

--- A wheel with `count` timers that starts at `now`; `fired` gets the indexes of timers as they fire.
local function wheel(count, now, on_fire)
  local self = { timers = ffi.new "struct vf_timers", timer = ffi.new("struct vf_timer[?]", count), fired = {} }
  self.callback = callbacks.new("void (*)(struct vf_timer *)", function(timer)
    local index = tonumber(timer - self.timer)
    self.fired[#self.fired + 1] = index
    if on_fire then on_fire(self, index) end
  end)
  for i = 0, count - 1 do self.timer[i].on_fire = self.callback end
  lib.vf_timers_init(self.timers, now)
  function self.start(index, deadline) lib.vf_timer_start(self.timers, self.timer[index], deadline) end
  function self.stop(index) lib.vf_timer_stop(self.timers, self.timer[index]) end
  --- Runs up to `time` and returns what fired.
  function self.run(time)
    self.fired = {}
    lib.vf_timers_run(self.timers, time)
    return self.fired
  end
  function self.next(time) return tonumber(lib.vf_timers_next(self.timers, time)) end
  return self
end

describe("timer wheel", function()
  it("fires at the deadline, late by at most a tick and never early", function()
    local w = wheel(1, 1000)
    w.start(0, 1100)
    assert.same({}, w.run(1099))
    assert.same({ 0 }, w.run(1100 + TICK))
    assert.same({}, w.run(5000))
    assert.equal(0, w.timers.n_timers)
  end)

  it("fires in order of deadline across ticks", function()
    local w = wheel(3, 0)
    w.start(0, 300)
    w.start(1, 100)
    w.start(2, 200)
    assert.same({ 1, 2, 0 }, w.run(1000))
  end)

  it("fires what was due before it began with the next tick", function()
    local w = wheel(1, 1000)
    w.start(0, 5)
    assert.same({ 0 }, w.run(1000 + TICK))
  end)

  it("only remembers a later deadline, and obeys it", function()
    local w = wheel(1, 0)
    w.start(0, 100)
    for now = 0, 4000, 50 do
      assert.same({}, w.run(now))
      w.start(0, now + 100)
      assert.equal(1, w.timers.n_timers)
    end
    assert.same({ 0 }, w.run(4100 + TICK))
  end)

  it("moves an earlier deadline forward", function()
    local w = wheel(1, 0)
    w.start(0, 100000)
    w.start(0, 50)
    assert.equal(1, w.timers.n_timers)
    assert.same({ 0 }, w.run(50 + TICK))
  end)

  it("forgets a stopped timer, twice too", function()
    local w = wheel(2, 0)
    w.start(0, 50)
    w.start(1, 50)
    w.stop(0)
    w.stop(0)
    assert.same({ 1 }, w.run(1000))
    assert.equal(0, w.timers.n_timers)
  end)

  it("lets a callback start and stop timers", function()
    local w = wheel(4, 0, function(self, index)
      if index == 0 then
        self.stop(1) -- of the same tick
        self.start(0, 200)
        self.start(2, 40) -- already due: the next tick
      end
    end)
    w.start(0, 40)
    w.start(1, 40)
    assert.same({ 0, 2 }, w.run(40 + 2 * TICK))
    assert.same({ 0 }, w.run(200))
  end)

  it("waits for deadlines beyond its look-ahead", function()
    local day, w = 24 * 3600 * 1000, wheel(1, 0)
    w.start(0, 3 * day)
    assert.same({}, w.run(3 * day - 1))
    assert.same({ 0 }, w.run(3 * day + TICK))
  end)

  it("says when to look again, and -1 when there is nothing to wait for", function()
    local w = wheel(1, 0)
    assert.equal(-1, w.next(0))
    w.start(0, 96)
    local wait = w.next(0)
    assert.is_true(wait > 0 and wait <= 96)
    assert.equal(0, w.next(10000))
  end)

  it("never sleeps past a deadline when it is run as it says", function()
    local w = wheel(1, 0)
    w.start(0, 1000000)
    local now = 0
    while #w.run(now) == 0 do
      assert.is_true(now <= 1000000 + TICK)
      now = now + math.max(1, w.next(now))
    end
    assert.is_true(now >= 1000000 and now <= 1000000 + TICK)
  end)

  it("keeps every promise over random starts, moves, stops and leaps", function()
    local count, now = 200, 123456
    local deadline, w = {}, nil
    w = wheel(count, now, function(_, index)
      assert(deadline[index], "fired though stopped")
      assert(deadline[index] <= w.time, "fired early")
      assert(deadline[index] >= w.before - 2 * TICK, "fired late")
      deadline[index] = nil
    end)
    math.randomseed(7)
    for _ = 1, 5000 do
      local index = math.random(0, count - 1)
      local action = math.random(10)
      if action <= 6 then
        deadline[index] = now + math.random(0, 10 ^ math.random(1, 7))
        w.start(index, deadline[index])
      elseif action == 7 then
        deadline[index] = nil
        w.stop(index)
      else
        w.before, now = now, now + math.random(0, 10 ^ math.random(1, 4))
        w.time = now
        w.run(now)
      end
    end
    local running = 0
    for _ in pairs(deadline) do running = running + 1 end
    assert.equal(running, w.timers.n_timers)
  end)
end)

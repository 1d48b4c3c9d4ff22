--- The arithmetic of rate limits: worked examples, borders, and the bound that defines it.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_gcra { uint64_t interval_ns, slack_ns; };
bool vf_gcra_admit(const struct vf_gcra *, uint64_t now_ns, uint64_t *due_ns);
bool vf_gcra_take(const struct vf_gcra *, uint64_t cost, uint64_t now_ns, uint64_t *due_ns);
uint64_t vf_gcra_left(const struct vf_gcra *, uint64_t now_ns, uint64_t due_ns);
uint64_t vf_gcra_wait_ns(const struct vf_gcra *, uint64_t cost, uint64_t now_ns, uint64_t due_ns);
]]

local NEVER = 0xffffffffffffffffULL

local function limit_of(interval, burst) return ffi.new("struct vf_gcra", interval, (burst - 1) * interval) end

describe("the generic cell rate algorithm", function()
  it("admits a burst, then one event an interval", function()
    local limit, due = limit_of(100, 3), ffi.new "uint64_t[1]"
    for _ = 1, 3 do assert.is_true(lib.vf_gcra_admit(limit, 1000, due)) end
    assert.equal(1300, tonumber(due[0]))
    assert.is_false(lib.vf_gcra_admit(limit, 1000, due))
    assert.equal(1300, tonumber(due[0])) -- a refusal costs nothing
    assert.equal(100, tonumber(lib.vf_gcra_wait_ns(limit, 1, 1000, due[0])))
    assert.is_false(lib.vf_gcra_admit(limit, 1099, due))
    assert.is_true(lib.vf_gcra_admit(limit, 1100, due))
    assert.is_false(lib.vf_gcra_admit(limit, 1100, due))
  end)

  it("without slack wants a whole interval between two", function()
    local limit, due = limit_of(10, 1), ffi.new "uint64_t[1]"
    assert.is_true(lib.vf_gcra_admit(limit, 0, due))
    assert.is_false(lib.vf_gcra_admit(limit, 9, due))
    assert.is_true(lib.vf_gcra_admit(limit, 10, due))
  end)

  it("takes several at once or none", function()
    local limit, due = limit_of(100, 5), ffi.new "uint64_t[1]"
    assert.is_true(lib.vf_gcra_take(limit, 0, 50, due))
    assert.equal(0, tonumber(due[0]))
    assert.is_false(lib.vf_gcra_take(limit, 6, 50, due))
    assert.equal(NEVER, lib.vf_gcra_wait_ns(limit, 6, 50, due[0]))
    assert.is_true(lib.vf_gcra_take(limit, 4, 50, due))
    assert.equal(1, tonumber(lib.vf_gcra_left(limit, 50, due[0])))
    assert.is_false(lib.vf_gcra_take(limit, 2, 50, due))
    assert.equal(100, tonumber(lib.vf_gcra_wait_ns(limit, 2, 50, due[0])))
    assert.is_true(lib.vf_gcra_take(limit, 2, 150, due))
    assert.equal(0, tonumber(lib.vf_gcra_left(limit, 150, due[0])))
    assert.equal(5, tonumber(lib.vf_gcra_left(limit, 10000, due[0])))
  end)

  it("refuses what does not fit in 64 bits", function()
    local limit = ffi.new("struct vf_gcra", 2 ^ 40, NEVER)
    local due = ffi.new("uint64_t[1]", NEVER - 5)
    assert.is_false(lib.vf_gcra_take(limit, 1, NEVER - 10, due))
    assert.is_false(lib.vf_gcra_take(limit, NEVER, 0, due))
    assert.equal(NEVER, lib.vf_gcra_wait_ns(limit, NEVER, 0, 0))
    assert.equal(NEVER - 5, due[0])
  end)

  it("admits at most burst + t / interval in any time t, and that whenever asked all the time", function()
    math.randomseed(7)
    for _ = 1, 50 do
      local interval, burst = math.random(1, 50), math.random(1, 20)
      local limit, due, now, times = limit_of(interval, burst), ffi.new "uint64_t[1]", 1000, {}
      for _ = 1, 400 do
        now = now + (math.random(4) == 1 and math.random(0, 3 * interval) or math.random(0, 2))
        local left = tonumber(lib.vf_gcra_left(limit, now, due[0]))
        local wait = tonumber(lib.vf_gcra_wait_ns(limit, 1, now, due[0]))
        local is_admitted = lib.vf_gcra_admit(limit, now, due)
        assert.equal(left > 0, is_admitted)
        assert.equal(wait == 0, is_admitted)
        if is_admitted then times[#times + 1] = now end
      end
      local n_over = 0
      for i = 1, #times do
        for k = i, #times do
          if k - i + 1 > burst + (times[k] - times[i]) / interval then n_over = n_over + 1 end
        end
      end
      assert.equal(0, n_over)
    end
  end)
end)

local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
uint64_t vf_clock_ns(void);
uint64_t vf_clock_wall_ms(void);
uint64_t vf_clock_true_ns(void);
uint64_t vf_clock_cost_ns(void);
uint64_t vf_clock_of(uint64_t cost_ns);
void vf_clock_hold(uint64_t ns, uint64_t wall_ms);
void vf_clock_move(uint64_t ns);
void vf_clock_release(void);
void vf_clock_rfc3339(uint64_t wall_ms, char *out);
void vf_clock_http_date(uint64_t wall_ms, char *out);
]]

describe("clock", function()
  it("never goes back", function()
    local before = lib.vf_clock_ns()
    for _ = 1, 1000 do
      local now = lib.vf_clock_ns()
      assert.is_true(now >= before)
      before = now
    end
  end)

  it("tells the time of day", function()
    local before = os.time()
    local now = tonumber(lib.vf_clock_wall_ms()) / 1000
    assert.is_true(now > before - 1 and now < os.time() + 2)
  end)

  it("stands still while it is held, and is moved by hand", function()
    finally(lib.vf_clock_release)
    local before = lib.vf_clock_true_ns()
    lib.vf_clock_hold(5000000000ULL, 1700000000123ULL)
    assert.equal(5000000000ULL, lib.vf_clock_ns())
    assert.equal(5000000000ULL, lib.vf_clock_of(before))
    assert.equal(1700000000123ULL, lib.vf_clock_wall_ms())
    lib.vf_clock_move(1500000ULL)
    assert.equal(5001500000ULL, lib.vf_clock_ns())
    assert.equal(1700000000124ULL, lib.vf_clock_wall_ms())
    lib.vf_clock_move(500000ULL) -- halves of milliseconds add up
    assert.equal(1700000000125ULL, lib.vf_clock_wall_ms())
    assert.is_true(lib.vf_clock_true_ns() >= before)
    local cost = lib.vf_clock_cost_ns()
    assert.is_true(cost < before) -- of this thread, not of the machine
    lib.vf_clock_release()
    assert.is_true(lib.vf_clock_cost_ns() >= before)
    assert.is_true(lib.vf_clock_ns() >= before)
    assert.equal(7ULL, lib.vf_clock_of(7ULL))
  end)

  it("writes times as RFC 3339 and RFC 9110 want them", function()
    local out = ffi.new "char[32]"
    local function rfc3339(ms)
      lib.vf_clock_rfc3339(ms, out)
      return ffi.string(out, 24)
    end
    local function http_date(ms)
      lib.vf_clock_http_date(ms, out)
      return ffi.string(out, 29)
    end
    assert.equal("1970-01-01T00:00:00.000Z", rfc3339(0))
    assert.equal("2024-02-29T23:59:59.999Z", rfc3339(1709251199999ULL))
    assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", http_date(0))
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", http_date(784111777123ULL)) -- RFC 9110 section 5.6.7
  end)
end)

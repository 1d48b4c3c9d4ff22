local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
uint64_t vf_random_seed(void);
void vf_random_hold(uint64_t first);
void vf_random_release(void);
]]

describe("seeds", function()
  it("are the system's, each another", function()
    assert.not_equal(lib.vf_random_seed(), lib.vf_random_seed())
  end)

  it("come again in the same row while they are held", function()
    finally(lib.vf_random_release)
    local function row(first)
      lib.vf_random_hold(first)
      return { lib.vf_random_seed(), lib.vf_random_seed() }
    end
    local one = row(1)
    assert.same({ tostring(one[1]), tostring(one[2]) }, { tostring(row(1)[1]), tostring(row(1)[2]) })
    assert.not_equal(one[1], one[2])
    assert.not_equal(one[1], row(2)[1])
    lib.vf_random_release()
    assert.not_equal(one[1], lib.vf_random_seed())
  end)
end)

--- How Lua reaches the memory that all processes share.
local ffi = require "ffi"
local lib = require "support.library"
local memory = require "veloflux.shared_memory"

ffi.cdef [[
int vf_state_create(struct vf_state **out);
int close(int);
]]
local OK = 0

describe("shared memory in Lua", function()
  local state

  setup(function()
    local out = ffi.new "struct vf_state *[1]"
    local fd = lib.vf_state_create(out)
    assert.is_true(fd >= 0)
    ffi.C.close(fd)
    state = out[0]
  end)

  it("has a dictionary from the start, and others that are asked for with a size", function()
    local default = assert(memory.dict(state, memory.DEFAULT))
    local info = ffi.new "struct vf_dict_info"
    lib.vf_dict_info(default, info)
    assert.equal(16 * 1024 * 1024, tonumber(info.bytes))
    assert.same({ nil, 'there is no shared dictionary "mine"' }, { memory.dict(state, "mine") })
    local mine = assert(memory.dict(state, "mine", 100000))
    assert.is_true(mine == assert(memory.dict(state, "mine")))
    assert.same({ nil, 'there is no room for the shared dictionary "huge"' }, { memory.dict(state, "huge", 2 ^ 31) })
    local names = {}
    for index, dict in memory.dicts(state) do
      lib.vf_dict_info(dict, info)
      names[index] = ffi.string(info.name)
    end
    assert.same({ [0] = "default", "mine" }, names)
    local sum, init = ffi.new "double[1]", ffi.new("double[1]", 40)
    assert.equal(OK, lib.vf_dict_incr(mine, "n", 1, 2, init, 0, lib.vf_clock_ns(), sum))
    assert.equal(42, sum[0])
  end)

  it("has cells", function()
    local limit, answer = ffi.new("struct vf_gcra", 1e9, 0), ffi.new "struct vf_cells_answer"
    local cells, now = memory.cells(state), lib.vf_clock_ns()
    assert.equal(lib.VF_CELLS_ADMITTED, lib.vf_cells_take(cells, "k", 1, limit, 1, now, answer))
    assert.equal(lib.VF_CELLS_REFUSED, lib.vf_cells_take(cells, "k", 1, limit, 1, now, answer))
  end)
end)

local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_arena { void *chunks; char *next; size_t left; };
void vf_arena_init(struct vf_arena *);
void *vf_arena_alloc(struct vf_arena *, size_t size);
void *vf_arena_zalloc(struct vf_arena *, size_t size);
char *vf_arena_strndup(struct vf_arena *, const char *data, size_t len);
void vf_arena_deinit(struct vf_arena *);
void vf_arena_trim(void);
]]

local CHUNK = 8192

local function address(pointer)
  return tonumber(ffi.cast("uintptr_t", pointer))
end

describe("arena", function()
  local arena

  before_each(function()
    arena = ffi.new "struct vf_arena"
    lib.vf_arena_init(arena)
  end)

  after_each(function()
    lib.vf_arena_deinit(arena)
    lib.vf_arena_trim()
  end)

  it("hands out aligned slices that do not overlap", function()
    local slices = {}
    for i = 1, 500 do
      local size = i * 37 % 5000 + 1
      local slice = lib.vf_arena_alloc(arena, size)
      assert.equal(0, address(slice) % 8)
      ffi.fill(slice, size, i % 256)
      slices[i] = { ffi.cast("uint8_t *", slice), size }
    end
    for i, slice in ipairs(slices) do
      assert.equal(i % 256, slice[1][0])
      assert.equal(i % 256, slice[1][slice[2] - 1])
    end
  end)

  it("keeps filling the current chunk around a large slice", function()
    local first = lib.vf_arena_alloc(arena, 8)
    assert.is_true(lib.vf_arena_alloc(arena, 10 * CHUNK) ~= nil)
    assert.equal(address(first) + 8, address(lib.vf_arena_alloc(arena, 8)))
  end)

  it("gives zeroed memory when asked", function()
    ffi.fill(lib.vf_arena_alloc(arena, 4000), 4000, 255)
    lib.vf_arena_deinit(arena)
    local again = ffi.cast("uint8_t *", lib.vf_arena_zalloc(arena, 4000))
    for i = 0, 3999 do assert.equal(0, again[i]) end
  end)

  it("copies text with a NUL behind it", function()
    assert.equal("ab\0c", ffi.string(lib.vf_arena_strndup(arena, "ab\0c", 4), 4))
    assert.equal("", ffi.string(lib.vf_arena_strndup(arena, nil, 0)))
  end)

  it("is empty and usable after it gave everything back", function()
    local first = address(lib.vf_arena_alloc(arena, 100))
    lib.vf_arena_deinit(arena)
    assert.equal(0, tonumber(arena.left))
    assert.equal(first, address(lib.vf_arena_alloc(arena, 100))) -- the same chunk, from the free list
  end)

  it("refuses what no memory can hold", function()
    assert.is_true(lib.vf_arena_alloc(arena, -1) == nil)
  end)
end)

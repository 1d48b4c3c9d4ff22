local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
int vf_shm_create(const char *name, size_t size, void **map);
int vf_shm_create_sealed(const char *name, const void *data, size_t size);
void *vf_shm_map(int fd, int writable, size_t *size);
void vf_shm_unmap(void *map, size_t size);
int vf_shm_seal(int fd);
int vf_shm_fix_size(int fd);
int memfd_create(const char *name, unsigned flags);
int pipe(int ends[2]);
long splice(int from, long *from_at, int to, long *to_at, size_t len, unsigned flags);
long write(int, const void *, size_t);
int ftruncate(int, long);
int fcntl(int, int, ...);
int close(int);
]]

local EPERM, EBADF = 1, 9
local F_GETFD, FD_CLOEXEC = 1, 1
local F_ADD_SEALS, F_SEAL_WRITE, MFD_ALLOW_SEALING = 1033, 8, 2

describe("shared memory", function()
  local size = ffi.new "size_t[1]"

  it("is the same in all mappings and begins with zeros", function()
    local map = ffi.new "void *[1]"
    local fd = lib.vf_shm_create("spec", 10000, map)
    assert.is_true(fd >= 0)
    assert.equal(FD_CLOEXEC, ffi.C.fcntl(fd, F_GETFD))
    local first = ffi.cast("uint8_t *", map[0])
    local second = ffi.cast("uint8_t *", lib.vf_shm_map(fd, 1, size))
    assert.equal(10000, tonumber(size[0]))
    assert.equal(0, second[9999])
    first[9999] = 7
    assert.equal(7, second[9999])
    lib.vf_shm_unmap(map[0], 10000)
    lib.vf_shm_unmap(second, 10000)
    ffi.C.close(fd)
  end)

  it("is not mapped for reading alone as long as somebody may write", function()
    local map = ffi.new "void *[1]"
    local fd = lib.vf_shm_create("spec", 4096, map)
    assert.is_true(lib.vf_shm_map(fd, 0, size) == nil)
    assert.equal(EPERM, ffi.errno())
    lib.vf_shm_unmap(map[0], 4096)
    ffi.C.close(fd)
  end)

  it("is not mapped for reading alone as long as somebody may cut it short", function()
    local fd = ffi.C.memfd_create("spec", MFD_ALLOW_SEALING)
    ffi.C.write(fd, "content", 7)
    assert.equal(0, ffi.C.fcntl(fd, F_ADD_SEALS, ffi.cast("int", F_SEAL_WRITE)))
    assert.is_true(lib.vf_shm_map(fd, 0, size) == nil)
    assert.equal(EPERM, ffi.errno())
    assert.equal(0, lib.vf_shm_fix_size(fd))
    local map = lib.vf_shm_map(fd, 0, size)
    assert.equal("content", ffi.string(map, size[0]))
    lib.vf_shm_unmap(map, size[0])
    ffi.C.close(fd)
  end)

  it("cannot be changed once it is sealed", function()
    local fd = lib.vf_shm_create_sealed("spec", "immutable", 9)
    assert.is_true(fd >= 0)
    assert.equal(-1, tonumber(ffi.C.write(fd, "x", 1)))
    assert.equal(EPERM, ffi.errno())
    assert.equal(-1, ffi.C.ftruncate(fd, 100))
    assert.is_true(lib.vf_shm_map(fd, 1, size) == nil)
    local map = lib.vf_shm_map(fd, 0, size)
    assert.equal("immutable", ffi.string(map, size[0]))
    lib.vf_shm_unmap(map, 9)
    ffi.C.close(fd)
  end)

  -- A page in a pipe is held as one is that the kernel moves: no seal against writing is given for 70 ms.
  it("is sealed while somebody holds its pages: as a copy", function()
    local map, ends = ffi.new "void *[1]", ffi.new "int[2]"
    local fd = lib.vf_shm_create("spec", 10000, map)
    ffi.copy(map[0], "held")
    ffi.cast("char *", map[0])[9999] = 7
    lib.vf_shm_unmap(map[0], 10000)
    assert.equal(0, ffi.C.pipe(ends))
    assert.equal(4096, tonumber(ffi.C.splice(fd, ffi.new "long[1]", ends[1], nil, 4096, 0)))
    assert.equal(0, lib.vf_shm_seal(fd))
    assert.equal(-1, tonumber(ffi.C.write(fd, "x", 1)))
    assert.equal(FD_CLOEXEC, ffi.C.fcntl(fd, F_GETFD))
    local sealed = lib.vf_shm_map(fd, 0, size)
    assert.equal(10000, tonumber(size[0]))
    assert.equal("held", ffi.string(sealed))
    assert.equal(7, ffi.cast("char *", sealed)[9999])
    lib.vf_shm_unmap(sealed, 10000)
    for _, one in ipairs { fd, ends[0], ends[1] } do ffi.C.close(one) end
  end)

  it("needs a descriptor", function()
    assert.is_true(lib.vf_shm_map(-1, 1, size) == nil)
    assert.equal(EBADF, ffi.errno())
    lib.vf_shm_unmap(nil, 0)
  end)
end)

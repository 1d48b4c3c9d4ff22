--- Memory that the processes of a spec share, for rate-limit cells and dictionaries: the headers as FFI has them, and
-- regions that a peer (support.peer) finds by their path.
local ffi = require "ffi"

local M = { lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so") }
local lib = M.lib

local function declare_header(path)
  local kept = {}
  for line in io.lines(path) do
    if not line:match "^#" then kept[#kept + 1] = line end
  end
  ffi.cdef(table.concat(kept, "\n"))
end

ffi.cdef [[
struct vf_gcra { uint64_t interval_ns, slack_ns; };
int vf_shm_create(const char *name, size_t size, void **map);
void *vf_shm_map(int fd, int writable, size_t *size);
void vf_shm_unmap(void *map, size_t size);
uint64_t vf_clock_ns(void);
int open(const char *path, int flags);
int close(int fd);
int getpid(void);
]]
declare_header "src/snapshot/cells.h"
declare_header "src/snapshot/dict/dict.h"

local O_RDWR = 2

--- Creates a region.
-- @return pointer, path that other processes open, and a function that closes it
function M.create(bytes)
  local map = ffi.new "void *[1]"
  local fd = lib.vf_shm_create("spec", bytes, map)
  assert(fd >= 0, fd)
  return map[0], ("/proc/%d/fd/%d"):format(ffi.C.getpid(), fd), function()
    lib.vf_shm_unmap(map[0], bytes)
    ffi.C.close(fd)
  end
end

--- Maps a region of another process.
function M.map(path)
  local size = ffi.new "size_t[1]"
  local fd = ffi.C.open(path, O_RDWR)
  assert(fd >= 0, path)
  local map = lib.vf_shm_map(fd, 1, size)
  assert(map ~= nil)
  ffi.C.close(fd)
  return map
end

return M

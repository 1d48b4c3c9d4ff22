--- Bytes in a file without a name, because they are too many for memory (src/base/spool.h). They go with the object.
-- A spool is a table: `len`, and `data` once it is mapped. There are few at a time in a process.
local ffi = require "ffi"

ffi.cdef [[
struct vf_spool;
struct vf_spool_bytes { const char *data; size_t len; };
int vf_spool_new(const char *folder, int kind, struct vf_spool **out);
int vf_spool_open(const char *path, struct vf_spool **out);
int vf_spool_write(struct vf_spool *spool, const char *data, size_t len);
uint64_t vf_spool_len(const struct vf_spool *spool);
ssize_t vf_spool_read(struct vf_spool *spool, uint64_t offset, char *out, size_t len);
int vf_spool_map(struct vf_spool *spool, struct vf_spool_bytes *out);
void vf_spool_free(struct vf_spool *spool);
]]
local C = ffi.C

local M = {}

local EBUSY, ENOENT, EINVAL = -16, -2, -22
local OUT, OWN = 1, 2 -- enum vf_spool_kind
local ROOM_BYTES = 64 * 1024

local pointer_room = ffi.new "struct vf_spool *[1]"
local room = ffi.new("char[?]", ROOM_BYTES)

local function adopt(pointer)
  return { owner = ffi.gc(pointer, C.vf_spool_free), len = tonumber(C.vf_spool_len(pointer)) }
end

--- Returns nil, a message and a code: busy (there are as many as there may be), not_found or failed.
local function failure(rc, what)
  if rc == EBUSY then return nil, "other requests with much content are under way", "busy" end
  if rc == ENOENT or rc == EINVAL then return nil, what .. " is not there", "not_found" end
  return nil, ("%s: error %d"):format(what, -rc), "failed"
end

--- Makes an empty one in a folder. Returns it; or nil, a message and a code (see `failure`).
-- @param is_own true: it is not for sending, so no client can keep it for long
function M.new(folder, is_own)
  local rc = C.vf_spool_new(folder, is_own and OWN or OUT, pointer_room)
  if rc ~= 0 then return failure(rc, folder) end
  return adopt(pointer_room[0])
end

--- The same of a file that is there, to be read. It may be changed meanwhile: then reads fail or differ.
function M.open(path)
  local rc = C.vf_spool_open(path, pointer_room)
  if rc ~= 0 then return failure(rc, path) end
  return adopt(pointer_room[0])
end

--- Maps its bytes: `data` is valid as long as the table. Not for one of `open`. Returns true, or nil and a message.
function M.map(spool)
  if spool.data then return true end
  local bytes = ffi.new "struct vf_spool_bytes"
  local rc = C.vf_spool_map(spool.owner, bytes)
  if rc ~= 0 then return nil, ("cannot be mapped (error %d)"):format(-rc) end
  spool.data, spool.len = bytes.data, tonumber(bytes.len)
  return true
end

--- Takes what C hands over, and maps it.
-- @param pointer to struct vf_spool, ours from here on
-- @return the spool, or nil and a message
function M.take(pointer)
  local spool = adopt(ffi.cast("struct vf_spool *", pointer))
  local ok, message = M.map(spool)
  if not ok then return nil, message end
  return spool
end

--- Appends. Returns true; or nil and a message: it is of no more use.
function M.write(spool, text)
  if not spool.owner then return nil, "it is closed" end
  local rc = C.vf_spool_write(spool.owner, text, #text)
  if rc ~= 0 then return nil, ("error %d"):format(-rc) end
  spool.len = spool.len + #text
  return true
end

--- Returns the pointer to struct vf_spool, which is the caller's to free from here on.
function M.give(spool)
  local pointer = ffi.gc(spool.owner, nil)
  spool.owner, spool.data = nil, nil
  return pointer
end

--- Gives the memory back now instead of some time later.
function M.close(spool)
  if spool.owner then C.vf_spool_free(M.give(spool)) end
  spool.len = 0
end

local function read(spool, first, len)
  local parts = {}
  while len > 0 do
    local n = tonumber(C.vf_spool_read(spool.owner, first, room, math.min(len, ROOM_BYTES)))
    if n < 0 then return nil, ("error %d"):format(-n) end
    if n == 0 then return nil, "it ends too early" end
    parts[#parts + 1] = ffi.string(room, n)
    first, len = first + n, len - n
  end
  return table.concat(parts)
end

--- Returns a part of it as a string; or nil and a message.
-- @param first from 0; all of it when left out
function M.text(spool, first, len)
  first = math.min(first or 0, spool.len)
  len = math.min(len or spool.len, spool.len - first)
  if spool.data then return ffi.string(spool.data + first, len) end
  if not spool.owner then return nil, "it is closed" end
  return read(spool, first, len)
end

return M

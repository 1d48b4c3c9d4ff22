--- Content of a request that was too much for memory (src/base/spool.h): bytes in a mapped file that goes with the
-- object.
local ffi = require "ffi"

ffi.cdef [[
struct vf_spool;
struct vf_spool_bytes { const char *data; size_t len; };
int vf_spool_map(struct vf_spool *spool, struct vf_spool_bytes *out);
void vf_spool_free(struct vf_spool *spool);
]]
local C = ffi.C

local M = {}

--- Takes what C hands over.
-- @param pointer to struct vf_spool, ours from here on
-- @return {data, len}: valid as long as the table; or nil and a message
function M.take(pointer)
  local spool = ffi.gc(ffi.cast("struct vf_spool *", pointer), C.vf_spool_free)
  local bytes = ffi.new "struct vf_spool_bytes"
  local rc = C.vf_spool_map(spool, bytes)
  if rc ~= 0 then return nil, ("cannot be mapped (error %d)"):format(-rc) end
  return { data = bytes.data, len = tonumber(bytes.len), owner = spool }
end

--- Gives the memory back now instead of some time later.
function M.close(spool)
  if not spool.owner then return end
  C.vf_spool_free(ffi.gc(spool.owner, nil))
  spool.owner, spool.data, spool.len = nil, nil, 0
end

--- Returns a part of it as a string.
-- @param first from 0
function M.text(spool, first, len)
  first = first or 0
  return ffi.string(spool.data + first, math.min(len or spool.len, spool.len - first))
end

return M

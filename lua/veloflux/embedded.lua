--- The files that the binary carries (src/lua/embedded.h).
local ffi = require "ffi"

ffi.cdef [[
struct vf_embedded { const char *name; const char *data; size_t len; };
const struct vf_embedded *vf_embedded_find(const char *name);
]]

local M = {}

--- Returns the text of an asset, such as "veloflux/admin/status.html"; nil when there is none.
function M.asset(name)
  local file = ffi.C.vf_embedded_find("asset:" .. name)
  if file == nil then return nil end
  return ffi.string(file.data, file.len)
end

return M

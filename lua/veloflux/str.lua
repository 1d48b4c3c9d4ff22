--- struct vf_str of src/base/str.h for FFI: bytes that somebody else owns. Declared once, here.
local ffi = require "ffi"

ffi.cdef "struct vf_str { const char *data; size_t len; };"

local M = {}

--- Returns a view to be filled by C.
M.new = ffi.typeof "struct vf_str"

--- Copies what a view shows.
function M.copy(view) return view.len > 0 and ffi.string(view.data, view.len) or "" end

return M

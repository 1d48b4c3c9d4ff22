--- Pools and backends in a few numbers (src/snapshot/overview.h): cheap with any number of backends.
local ffi = require "ffi"
local totals = require "veloflux.totals"

ffi.cdef [[
struct vf_overview { uint32_t pools, backends, usable, algorithms; uint64_t health_mark, version; };
void vf_overview(const void *state, const void *snapshot, struct vf_overview *out);
]]
local C = ffi.C

local M = {}

local numbers = ffi.new "struct vf_overview"

--- Returns the numbers: pools, backends, usable, algorithms (bits), health_mark, version (of what is read here; the
-- state area may know of a later one already). Valid until the next call; all zero before the first configuration.
function M.get()
  if totals.has_snapshot() then
    C.vf_overview(totals.state(), totals.snapshot(), numbers)
  else
    ffi.fill(numbers, ffi.sizeof(numbers))
  end
  return numbers
end

--- Returns a text that is another one when a backend's health has changed.
function M.health_mark()
  local found = M.get()
  return ("%d/%d/%s"):format(found.usable, found.backends, tostring(found.health_mark))
end

return M

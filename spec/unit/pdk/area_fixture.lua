--- Shared memory for specs of the plugin API's modules, in a state area of their own. Which plugin runs is said by the
-- spec: `M.plugin "name"`; nil is core code.
local ffi = require "ffi"
local lib = require "support.library"

ffi.cdef [[
int vf_state_create(struct vf_state **out);
int vf_state_lease(struct vf_state *state, int kind, uint32_t worker, uint64_t incarnation);
void vf_state_end_lease(struct vf_state *state, int block);
int close(int);
]]

local M = { lib = lib, task = { run = {}, values = {} } }
local instance

package.loaded["veloflux.runtime.task"] = M.task
package.loaded["veloflux.runtime.chain"] = { current = function() return instance end }

--- Says which plugin runs.
function M.plugin(name)
  instance = name and { name = name, as = name, plugin = { name = name } }
end

local area = require "veloflux.runtime.area"
local out = ffi.new "struct vf_state *[1]"
local fd = lib.vf_state_create(out)
assert(fd >= 0, fd)
M.state = out[0]
M.path = ("/proc/self/fd/%d"):format(fd)

function area.state() return M.state end

local block, incarnation

--- Makes this the process of another block of the area. Returns the number of the block.
function M.lease()
  incarnation = (incarnation or 0) + 1
  block = lib.vf_state_lease(M.state, 0, 0, incarnation)
  return block
end

function area.block()
  if not block then M.lease() end
  return block, incarnation
end

return M

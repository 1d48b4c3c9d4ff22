--- The memory that all processes share, for Lua: rate-limit cells (src/snapshot/cells.h) and dictionaries
-- (src/snapshot/dict/dict.h). What these headers declare is declared here, from the headers that C compiles: their
-- functions are ffi.C.vf_cells_* and vf_dict_*, their structs and constants as written there.
local ffi = require "ffi"
local embedded = require "veloflux.embedded"

for _, name in ipairs { "src/base/gcra.h", "src/snapshot/cells.h", "src/snapshot/dict/dict.h" } do
  local header = assert(embedded.asset(name), name .. " is not embedded")
  ffi.cdef((("\n" .. header):gsub("\n#[^\n]*", "\n")))
end
ffi.cdef [[
struct vf_state;
struct vf_cells *vf_state_cells(struct vf_state *state);
struct vf_dicts *vf_state_dicts(struct vf_state *state);
uint64_t vf_clock_ns(void);
]]

local C = ffi.C

local M = { DEFAULT = "default" } -- VF_STATE_DICT of snapshot/state.h

local opened = ffi.new "struct vf_dict *[1]"

--- Returns the rate-limit cells, struct vf_cells *, of a state area (a pointer to struct vf_state).
function M.cells(state) return C.vf_state_cells(ffi.cast("struct vf_state *", state)) end

--- Returns the dictionary called `name`, struct vf_dict *; it lives as long as the state area.
-- @param state pointer to struct vf_state; nil: this process has none
-- @param bytes size of one that has to be made, or nil: do not make it
-- @return the dictionary, or nil and why not
function M.dict(state, name, bytes)
  if state == nil then return nil, "there is no shared memory" end
  local rc = C.vf_dicts_open(C.vf_state_dicts(ffi.cast("struct vf_state *", state)), name, bytes or 0, opened)
  if rc == C.VF_DICT_ABSENT then return nil, ("there is no shared dictionary %q"):format(name) end
  if rc ~= C.VF_DICT_OK then return nil, ("there is no room for the shared dictionary %q"):format(name) end
  return opened[0]
end

--- Iterates over all dictionaries: index from 0, struct vf_dict *.
function M.dicts(state)
  local set, index = C.vf_state_dicts(ffi.cast("struct vf_state *", state)), -1
  return function()
    index = index + 1
    local dict = C.vf_dicts_at(set, index)
    if dict ~= nil then return index, dict end
  end
end

return M

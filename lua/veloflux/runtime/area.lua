--- The memory that all processes share, as the plugin that runs sees it: dictionaries and rate-limit cells
-- (src/snapshot/dict/dict.h, cells.h), and keys with the plugin's name in front, so that plugins do not meet by chance.
local ffi = require "ffi"
local chain = require "veloflux.runtime.chain"
local memory = require "veloflux.shared_memory"
local task = require "veloflux.runtime.task"

ffi.cdef [[
struct vf_state_block;
struct vf_state *vf_guard_state(struct vf_run *run);
struct vf_state_block *vf_guard_block(struct vf_run *run);
uint32_t vf_state_block_index(const struct vf_state *state, const struct vf_state_block *block);
int vf_state_is_alive(const struct vf_state *state, uint32_t block, uint64_t incarnation);
uint64_t vf_state_incarnation(const struct vf_state *state, uint32_t block);
]]
local C, copy = ffi.C, ffi.copy
local current = chain.current

local MOST_PREFIX = 256 -- longer than any prefix
local MOST_KEY = C.VF_DICT_KEY_BYTES - MOST_PREFIX

local M = {}

--- Where `key` leaves the bytes of a key for C; used within one call of a binding.
M.KEY = ffi.new("char[?]", C.VF_DICT_KEY_BYTES)
local KEY = M.KEY

--- Prefix of keys that all plugins share; those of a plugin have its name in front of the colon.
M.COMMON = ":"

local state
local dicts = {} -- name -> dictionary

--- Returns the state area, struct vf_state *.
function M.state()
  if not state then
    if task.run == nil then error("there is no shared memory in this process", 0) end
    state = C.vf_guard_state(task.run)
  end
  return state
end

--- Returns the number of this process's block in it, and which incarnation it is (uint64_t).
function M.block()
  local block = C.vf_state_block_index(M.state(), C.vf_guard_block(task.run))
  return block, C.vf_state_incarnation(state, block)
end

--- Returns a dictionary, made when there is none.
-- @param name of 63 bytes at most
-- @param bytes its size if it has to be made
-- @return struct vf_dict *, or nil, message, code
function M.dict(name, bytes)
  local dict = dicts[name]
  if not dict then
    local err
    dict, err = memory.dict(M.state(), name, bytes)
    if not dict then return nil, err, "no_room" end
    dicts[name] = dict
  end
  return dict
end

--- Returns the rate-limit cells, struct vf_cells *.
function M.cells() return memory.cells(M.state()) end

local prefixes = {}

local function new_prefix(name)
  local prefix = name .. ":"
  prefixes[name] = prefix
  return prefix
end

--- Returns what the keys of the plugin that runs begin with. Raises when none runs.
-- @param name of the function that was called
-- @param level where errors belong, 1 being the caller
function M.prefix(name, level)
  local instance = current()
  if not instance then error(name .. " cannot be called while the plugin's code is loaded", level + 1) end
  return prefixes[instance.name] or new_prefix(instance.name)
end

local function refuse(key, name, level)
  local got = type(key) == "string" and ("one of %d bytes"):format(#key) or type(key)
  error(("%s: expected a key, a string of 1 to %d bytes, got %s"):format(name, MOST_KEY, got), level)
end

--- Writes prefix and key to KEY, from `offset` on.
-- @param name, level as for `prefix`
-- @return where they end
function M.put(offset, prefix, key, name, level)
  if type(key) ~= "string" or #key == 0 or #key > MOST_KEY - offset then refuse(key, name, level + 2) end
  local n = #prefix
  copy(KEY + offset, prefix, n)
  copy(KEY + offset + n, key, #key)
  return offset + n + #key
end

return M

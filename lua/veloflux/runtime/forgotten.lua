--- What the caches of this node have forgotten and the other nodes of its cluster have yet to: keys, in memory that all
-- processes share. Whoever invalidates a key notes it; control, which knows the other nodes, takes it from here
-- (cluster/caches.lua). A node without others has no such list, and notes nothing.
--
-- The list is bounded. What does not fit makes one note, that everything is to be forgotten.
local ffi = require "ffi"
local memory = require "veloflux.shared_memory"

ffi.cdef [[
void vf_state_invalidate(struct vf_state *state, const char *key, size_t key_len);
void vf_state_invalidate_all(struct vf_state *state);
]]
local C, clock = ffi.C, ffi.C.vf_clock_ns

local KEYS, KEYS_BYTES = "veloflux.forgotten", 4 * 1024 * 1024 -- the list alone, so that it pushes nothing else out
local NOTES, NOTES_BYTES = "veloflux.cluster", 64 * 1024
local LIST, ALL, TAKEN, HEARD = "keys", "all", "taken", "heard"
local MOST = 4096 -- keys of the list

local M = {}

local value, length = ffi.new "struct vf_dict_value", ffi.new "uint32_t[1]"
local room = 4096
local buffer = ffi.new("char[?]", room)
local of_state, keys, notes

--- Finds the dictionaries of a state area. Returns false when this node has no others.
local function open(state, may_make)
  if of_state == state and keys then return true end
  keys = memory.dict(state, KEYS, may_make and KEYS_BYTES or nil)
  notes = keys and memory.dict(state, NOTES, may_make and NOTES_BYTES or nil)
  of_state = notes and state
  return notes ~= nil
end

local function set(name, number)
  value.type, value.number, value.flags = number and C.VF_DICT_NUMBER or C.VF_DICT_NIL, number or 0, 0
  C.vf_dict_set(notes, name, #name, value, 0, clock(), C.VF_DICT_SAFE, nil)
end

local function get(name)
  if C.vf_dict_get(notes, name, #name, clock(), buffer, room, value) ~= C.VF_DICT_OK then return nil end
  return value.number
end

local function push(key, len)
  C.vf_dict_length(keys, LIST, #LIST, clock(), length)
  if length[0] >= MOST then return false end
  value.type, value.data, value.len, value.flags = C.VF_DICT_STRING, key, len, 0
  return C.vf_dict_push(keys, LIST, #LIST, C.VF_DICT_TAIL, value, clock(), length) == C.VF_DICT_OK
end

--- Notes a key that this node has forgotten.
-- @param state pointer to struct vf_state
-- @param key pointer to its bytes
function M.note(state, key, len)
  if not open(state) then return end
  if not push(key, len) then set(ALL, 1) end
end

--- There are other nodes from here on: what is forgotten is noted.
function M.begin(state) return open(state, true) end

local function pop()
  local rc = C.vf_dict_pop(keys, LIST, #LIST, C.VF_DICT_HEAD, clock(), buffer, room, value)
  while rc == C.VF_DICT_SMALL do
    room = tonumber(value.len)
    buffer = ffi.new("char[?]", room)
    rc = C.vf_dict_pop(keys, LIST, #LIST, C.VF_DICT_HEAD, clock(), buffer, room, value)
  end
  return rc == C.VF_DICT_OK and ffi.string(value.data, value.len) or nil
end

local function take_keys(most_bytes)
  local list, bytes = {}, 0
  while bytes < most_bytes do
    local key = pop()
    if not key then break end
    list[#list + 1], bytes = key, bytes + #key
  end
  return list
end

--- Takes what was noted, some `most_bytes` of it. Until `finish` is called this stands in shared memory as begun: a
-- successor that finds that does not know what was taken, and gets "all".
-- @return list of keys, or "all", or nil: nothing
function M.take(most_bytes)
  if get(ALL) or get(TAKEN) then
    set(TAKEN, 1)
    set(ALL, nil)
    while pop() do end -- what comes meanwhile is among all
    return "all"
  end
  C.vf_dict_length(keys, LIST, #LIST, clock(), length)
  if length[0] == 0 then return nil end
  set(TAKEN, 1)
  local list = take_keys(most_bytes)
  if #list > 0 then return list end
  set(TAKEN, nil)
end

--- What was taken has been told.
function M.finish() set(TAKEN, nil) end

--- Returns the number of the last news of other nodes that this node has heeded, or nil.
function M.heard(state) return open(state) and get(HEARD) or nil end

--- Forgets what another node has forgotten.
-- @param list of keys, or nil: everything
-- @param number of the news that say so
function M.heed(state, list, number)
  state = ffi.cast("struct vf_state *", state)
  if list then
    for _, key in ipairs(list) do C.vf_state_invalidate(state, key, #key) end
  else
    C.vf_state_invalidate_all(state)
  end
  if open(state, true) then set(HEARD, number) end
end

return M

--- Cached values in shared memory, for pdk/cache.lua: how they are written, and when they are valid.
--
-- An entry is a head and the value as string.buffer encodes it. The head has the stamp that the key had before the
-- value was made. An invalidation changes the stamp, in shared memory: from then on entries with the old one are void,
-- wherever they are kept, even those that are written later by somebody who had begun before. One stamp serves one in
-- 65,536 of all keys, so a few others are made anew, too.
local ffi = require "ffi"
local string_buffer = require "string.buffer"
local area = require "veloflux.runtime.area"
local forgotten = require "veloflux.runtime.forgotten"

ffi.cdef [[
const uint32_t *vf_state_stamp(struct vf_state *state, const char *key, size_t key_len);
struct vf_cached_head { uint32_t stamp, reserved; double fresh_until_ns; };
]]
local C = ffi.C
local clock, KEY = C.vf_clock_ns, area.KEY
local HEAD_BYTES = ffi.sizeof "struct vf_cached_head"
local head_pointer = ffi.typeof "const struct vf_cached_head *"

local DICT, DICT_BYTES = "veloflux.cache", 64 * 1024 * 1024
local VALUE, LOCK = 118, 108 -- "v", "l": first byte of keys

local M = {}

local given, out = ffi.new "struct vf_dict_value", ffi.new "struct vf_dict_value"
local head = ffi.new "struct vf_cached_head"
local room = 65536
local buffer = ffi.new("char[?]", room)
local dict

--- Returns the dictionary of all caches, struct vf_dict *. Raises when there is no room for it.
function M.dict()
  if not dict then
    local err
    dict, err = area.dict(DICT, DICT_BYTES)
    if not dict then error(err, 0) end
  end
  return dict
end

local function put(kind, prefix, key)
  KEY[0] = kind
  return area.put(1, prefix, key, "cache", 1)
end

--- Returns a function that leaves the key of the lock in area.KEY and returns its length.
function M.lock_place(prefix, key)
  return function() return put(LOCK, prefix, key) end
end

--- Returns where the stamp of a key stands: const uint32_t *.
function M.stamp(prefix, key) return C.vf_state_stamp(area.state(), KEY, put(VALUE, prefix, key)) end

--- Makes all void that is cached under a key, in all processes.
-- @param is_everywhere true: of the other nodes, too
function M.invalidate(prefix, key, is_everywhere)
  local n, state = put(VALUE, prefix, key), area.state()
  C.vf_state_invalidate(state, KEY, n)
  C.vf_dict_delete(M.dict(), KEY, n, clock())
  if is_everywhere then forgotten.note(state, KEY, n) end
end

local function get(n)
  local rc = C.vf_dict_get(M.dict(), KEY, n, clock(), buffer, room, out)
  while rc == C.VF_DICT_SMALL do
    while room < out.len do room = room * 2 end
    buffer = ffi.new("char[?]", room)
    rc = C.vf_dict_get(dict, KEY, n, clock(), buffer, room, out)
  end
  return rc == C.VF_DICT_OK and out.type == C.VF_DICT_STRING and out.len >= HEAD_BYTES
end

--- Reads a valid entry.
-- @return {value, fresh_until_ns, bytes}, fresh or not; nil when there is none
function M.read(prefix, key)
  local n = put(VALUE, prefix, key)
  local stamp = C.vf_state_stamp(area.state(), KEY, n)[0]
  if not get(n) then return nil end
  local found = ffi.cast(head_pointer, buffer)
  if found.stamp ~= stamp then return nil end
  local fresh_until_ns = found.fresh_until_ns
  local bytes = tonumber(out.len)
  local ok, value = pcall(string_buffer.decode, ffi.string(buffer + HEAD_BYTES, bytes - HEAD_BYTES))
  if not ok then return nil end
  return { value = value, fresh_until_ns = fresh_until_ns, bytes = bytes, stamp = stamp }
end

--- Says whether an entry is still good, besides its stamp.
function M.is_fresh(entry, now_ns) return now_ns < entry.fresh_until_ns end

--- Makes an entry of a value.
-- @param stamp that the key had before the value was made
-- @param ttl_s seconds; 0: for ever
-- @return entry as of `read`, and its text for `write`; or nil and why the value cannot be kept
function M.make(value, stamp, ttl_s)
  local ok, text = pcall(string_buffer.encode, value)
  if not ok then return nil, "the value cannot be kept: " .. tostring(text) end
  local fresh_until_ns = ttl_s == 0 and math.huge or tonumber(clock()) + ttl_s * 1e9
  return { value = value, fresh_until_ns = fresh_until_ns, bytes = HEAD_BYTES + #text, stamp = stamp }, text
end

--- Writes an entry; other processes find it then.
-- @param stale_s how long it is kept, for hard times, when it is not fresh any more
-- @return true, or false: it is too large
function M.write(prefix, key, entry, text, stale_s)
  head.stamp, head.fresh_until_ns = entry.stamp, entry.fresh_until_ns
  local whole = ffi.string(head, HEAD_BYTES) .. text
  given.type, given.data, given.len, given.flags = C.VF_DICT_STRING, whole, #whole, 0
  local now_ns = clock()
  local ttl_ns = entry.fresh_until_ns == math.huge and 0 or
    math.max(entry.fresh_until_ns - tonumber(now_ns) + stale_s * 1e9, 1)
  return C.vf_dict_set(M.dict(), KEY, put(VALUE, prefix, key), given, ttl_ns, now_ns, 0, nil) == C.VF_DICT_OK
end

return M

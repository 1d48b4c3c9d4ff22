--- What shared dictionaries say (src/snapshot/dict/dict.h) and what that is in Lua: values, keys, problems.
local ffi = require "ffi"
require "veloflux.shared_memory"

local C, text_of = ffi.C, ffi.string
local NIL, BOOLEAN, NUMBER, INTEGER, STRING = C.VF_DICT_NIL, C.VF_DICT_BOOLEAN, C.VF_DICT_NUMBER, C.VF_DICT_INTEGER,
  C.VF_DICT_STRING

local PROBLEMS = {
  [C.VF_DICT_ABSENT] = { "not found", "absent" }, [C.VF_DICT_PRESENT] = { "exists already", "exists" },
  [C.VF_DICT_CONFLICT] = { "has another value", "changed" },
  [C.VF_DICT_TYPE] = { "the value is of another type", "type" },
  [C.VF_DICT_NO_MEMORY] = { "the dictionary is full", "no_memory" },
  [C.VF_DICT_TOO_LARGE] = { "key and value are longer than can be kept", "too_large" },
}
local KEYS_ROOM, MOST_KEYS_ROOM = 64 * 1024, 64 * 1024 * 1024

local M = {}

--- Returns nil, a message and a code for a status other than VF_DICT_OK.
function M.failed(rc)
  local problem = PROBLEMS[rc] or { "cannot be done", "failed" }
  return nil, problem[1], problem[2]
end

local function refuse(value, name, level)
  if type(value) == "table" then
    error(name .. ": a table cannot be kept: encode it (pdk.json.encode), or keep its fields under keys of their own",
      level)
  end
  error(("%s: expected a string, a number or a boolean, got %s"):format(name, type(value)), level)
end

--- Fills a struct. Raises for what cannot be kept.
-- @param value string, number, boolean or nil; a string has to be held as long as the struct is used
-- @param name of the function that was called
-- @param level where errors belong, 1 being the caller
function M.fill(struct, value, name, level)
  local kind = type(value)
  struct.flags = 0
  if kind == "string" then
    struct.type, struct.data, struct.len = STRING, value, #value
  elseif kind == "number" then
    struct.type, struct.number = NUMBER, value
  elseif kind == "boolean" then
    struct.type, struct.integer = BOOLEAN, value and 1 or 0
  elseif kind == "nil" then
    struct.type = NIL
  else
    refuse(value, name, level + 2)
  end
end

--- Returns what a struct holds; nil, message and code for a list.
function M.read(struct)
  local kind = struct.type
  if kind == STRING then return text_of(struct.data, struct.len) end
  if kind == NUMBER then return struct.number end
  if kind == BOOLEAN then return struct.integer ~= 0 end
  if kind == INTEGER then return tonumber(struct.integer) end
  return nil, "the value is a list", "type"
end

local used = ffi.new "size_t[1]"

-- Reads keys that are laid out as vf_dict_keys does, without their first `skip` bytes.
local function read_keys(bytes, n_bytes, skip)
  local keys, at, len = {}, 0, ffi.new "uint32_t[1]"
  while at < n_bytes do
    ffi.copy(len, bytes + at, 4)
    keys[#keys + 1] = text_of(bytes + at + 4 + skip, len[0] - skip)
    at = at + 4 + len[0]
  end
  return keys
end

--- Returns the keys that begin with `prefix`, without it.
-- @param dict struct vf_dict *
-- @param max at most so many; 0: all
function M.keys(dict, prefix, max)
  local room = KEYS_ROOM
  while true do
    local bytes = ffi.new("char[?]", room)
    local n = C.vf_dict_keys(dict, prefix, #prefix, max, C.vf_clock_ns(), bytes, room, used)
    local n_used = tonumber(used[0])
    if n == max or room - n_used > C.VF_DICT_KEY_BYTES + 4 or room >= MOST_KEYS_ROOM then
      return read_keys(bytes, n_used, #prefix)
    end
    room = room * 4
  end
end

return M

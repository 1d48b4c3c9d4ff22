--- Values of shared dictionaries (struct vf_dict_value of src/snapshot/dict.h) and those of Lua.
local ffi = require "ffi"
require "veloflux.shared_memory"

local C, text_of = ffi.C, ffi.string
local NIL, BOOLEAN, NUMBER, INTEGER, STRING = C.VF_DICT_NIL, C.VF_DICT_BOOLEAN, C.VF_DICT_NUMBER, C.VF_DICT_INTEGER,
  C.VF_DICT_STRING

local M = {}

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

return M

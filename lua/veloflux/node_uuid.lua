--- The UUID of this node (RFC 9562, version 4) in memory that all its processes share: control, which keeps it in the
-- data directory (cluster/identity.lua), says it before the first plugin runs. Where there is no control, as in the
-- plugin kit, whoever asks first makes one.
local crypto = require "veloflux.pdk.crypto"
local ffi = require "ffi"
local memory = require "veloflux.shared_memory"

local C, clock = ffi.C, ffi.C.vf_clock_ns

local DICT, DICT_BYTES, NAME, ROOM = "veloflux.node", 64 * 1024, "uuid", 64
local FORM = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

local M = {}

--- Returns a new one.
function M.make()
  local hex = crypto.hex_encode(crypto.random_bytes(16))
  local variant = ("89ab"):sub(tonumber(hex:sub(17, 17), 16) % 4 + 1):sub(1, 1)
  return ("%s-%s-4%s-%s%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), variant, hex:sub(18, 20),
    hex:sub(21, 32))
end

--- Says whether a text is one, in lower case.
function M.is_valid(text) return type(text) == "string" and text == text:lower() and text:find(FORM) ~= nil end

local function put(dict, uuid, how)
  local value = ffi.new "struct vf_dict_value"
  value.type, value.data, value.len = C.VF_DICT_STRING, uuid, #uuid
  C.vf_dict_set(dict, NAME, #NAME, value, 0, clock(), how, nil)
end

--- Says which one this node has.
-- @param state pointer to struct vf_state
function M.publish(state, uuid)
  local dict = memory.dict(state, DICT, DICT_BYTES)
  if dict then put(dict, uuid, C.VF_DICT_SET) end
end

local buffer, found = ffi.new("char[?]", ROOM), ffi.new "struct vf_dict_value"

local function get(dict)
  if C.vf_dict_get(dict, NAME, #NAME, clock(), buffer, ROOM, found) ~= C.VF_DICT_OK then return nil end
  return ffi.string(found.data, found.len)
end

--- Returns the one of this node.
-- @param state pointer to struct vf_state
function M.of(state)
  local dict = assert(memory.dict(state, DICT, DICT_BYTES))
  local uuid = get(dict)
  if uuid then return uuid end
  put(dict, M.make(), C.VF_DICT_ADD) -- unless another process is faster
  return assert(get(dict), "no UUID of this node")
end

return M

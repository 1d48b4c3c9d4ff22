--- Where the compiler writes: the builder of snapshot/builder.h, and the slots of the state area.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"

local C, OFF = layout.C, layout.OFF

local POINTERS = {} -- section -> pointer type
for name, record in pairs { LISTENERS = "listener", POOLS = "pool", BACKENDS = "backend", ROUTES = "route",
  BINDINGS = "binding", CONDITIONS = "condition", POLICIES = "policy", FIELD_OPS = "field_op", HEALTH = "health",
  NETWORKS = "network", TENANTS = "tenant", PLUGINS = "plugin", PLUGIN_FILES = "plugin_file",
  INSTANCES = "instance", CHAINS = "chain", TLS = "tls", IDENTITIES = "identity", SERVER_NAMES = "server_name",
  TRUSTS = "trust", CLIENT_CERTS = "client_cert", UPSTREAM_TLS = "upstream_tls", DESTINATIONS = "destination" } do
  POINTERS[tonumber(C["VF_SNAP_" .. name])] = ffi.typeof("struct vf_snap_" .. record .. " *")
end
POINTERS[tonumber(C.VF_SNAP_MEMBERS)] = ffi.typeof "uint32_t *"
POINTERS[tonumber(C.VF_SNAP_NAME_IDENTITIES)] = ffi.typeof "uint32_t *"

local FULL = 0xffffffff
local first_index = ffi.new "uint32_t[1]"

local Sink = {}
Sink.__index = Sink

local M = {}

--- Makes a sink.
-- @param version of the snapshot to be
-- @param state the state area, or nil: slots are numbered as the entities come
-- @param oldest_pinned the oldest version that a process still has mapped
-- @param base a finished builder to begin with the texts of, or nil
function M.new(version, state, oldest_pinned, base)
  local builder
  if base then builder = C.vf_snapb_new_after(base) else builder = C.vf_snapb_new() end
  if builder == nil then error("out of memory", 0) end
  return setmetatable({ builder = ffi.gc(builder, C.vf_snapb_free), version = version, state = state,
    oldest_pinned = oldest_pinned or version, counts = {} }, Sink)
end

--- Appends `count` (1) zeroed records. Returns a pointer to the first, valid until the next add to the
-- same section, and its index.
function Sink:add(section, count)
  local record = C.vf_snapb_add(self.builder, section, count or 1, first_index)
  if record == nil then error("out of memory", 0) end
  return ffi.cast(POINTERS[section], record), first_index[0]
end

--- Stores a text and its place in *out, a field of a record.
function Sink:text(text, out)
  if C.vf_snapb_text(self.builder, text, #text, out) ~= 0 then error("out of memory", 0) end
end

--- The same for a field of snapshot/secret_fields.h.
function Sink:secret(text, out)
  if C.vf_snapb_secret(self.builder, text, #text, out) ~= 0 then error("out of memory", 0) end
end

--- Gives the entity behind `record` (a pointer with `slot`, or nil) its slot.
-- @param kind a key of layout.SLOTS
-- @param id the stable id
function Sink:slot(kind, id)
  if self.state == nil then
    local count = self.counts[kind] or 0
    self.counts[kind] = count + 1
    return count
  end
  local slot = C.vf_state_slot_take(self.state, layout.SLOTS[kind].kind, id, self.version, self.oldest_pinned)
  if slot == FULL then
    error({ kind = kind, room = layout.SLOTS[kind].room }, 0)
  end
  return slot
end

--- Returns the stable id of what is called by these texts, one inside the other: never 0.
function M.id(kind, outer, inner, innermost)
  local hash = C.vf_snapb_hash(kind, #kind, 0)
  hash = C.vf_snapb_hash(outer, #outer, hash)
  if inner then hash = C.vf_snapb_hash(inner, #inner, hash) end
  if innermost then hash = C.vf_snapb_hash(innermost, #innermost, hash) end
  return hash == 0 and 1ULL or hash
end

--- Numbers as the layout has them: math.huge is `off`.
function M.u64(value)
  return value == math.huge and OFF or value
end

--- Copies an address record of model/address.lua.
function M.address(value, out)
  out.family, out.port = value.family, value.port or 0
  if value.ip then ffi.copy(out.ip, value.ip, #value.ip) end
end

return M

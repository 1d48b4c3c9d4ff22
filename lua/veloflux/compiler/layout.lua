--- The records of a snapshot, declared from the very headers that C compiles: src/snapshot/layout.h and its parts.
local ffi = require "ffi"
local embedded = require "veloflux.embedded"

for _, name in ipairs { "layout_base.h", "layout_tls.h", "layout_plugins.h", "layout.h" } do
  local header = assert(embedded.asset("src/snapshot/" .. name), name .. " is not embedded")
  ffi.cdef((("\n" .. header):gsub("\n#[^\n]*", "\n")))
end
ffi.cdef [[
struct vf_snapb;
struct vf_snapb *vf_snapb_new(void);
void vf_snapb_free(struct vf_snapb *builder);
void *vf_snapb_add(struct vf_snapb *builder, uint32_t section, uint32_t count, uint32_t *first);
int vf_snapb_text(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out);
int vf_snapb_secret(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out);
struct vf_snap_settings *vf_snapb_settings(struct vf_snapb *builder);
int vf_snapb_finish(struct vf_snapb *builder, uint64_t version, char *error, size_t error_size);
const void *vf_snapb_data(const struct vf_snapb *builder);
size_t vf_snapb_size(const struct vf_snapb *builder);
int vf_snapb_memfd(const struct vf_snapb *builder);
int vf_snapb_is_unsound(const struct vf_snapb *builder);
uint64_t vf_snapb_hash(const char *data, size_t len, uint64_t seed);

struct vf_state;
uint32_t vf_state_slot_take(struct vf_state *state, uint32_t kind, uint64_t id, uint64_t version,
                            uint64_t oldest_pinned);
void vf_state_slot_sweep(struct vf_state *state, uint32_t kind, const uint32_t *slots, uint32_t count,
                         size_t stride, uint64_t version);
uint64_t vf_state_oldest_pinned(const struct vf_state *state, uint64_t now);
]]
local C = ffi.C

local M = { C = C, NONE = C.VF_SNAP_NONE, OFF = 0xffffffffffffffffULL }

--- The kinds of slots in the state area (enum vf_entity_kind of snapshot/state.h), how many entities of each it
-- holds, and where their records are.
M.SLOTS = {
  pools = { kind = 0, room = 4096, section = C.VF_SNAP_POOLS, record = "pool" },
  backends = { kind = 1, room = 16383, section = C.VF_SNAP_BACKENDS, record = "backend" },
  routes = { kind = 2, room = 131072, section = C.VF_SNAP_ROUTES, record = "route" },
  tenants = { kind = 3, room = 4096, section = C.VF_SNAP_TENANTS, record = "tenant" },
  listeners = { kind = 4, room = 64, section = C.VF_SNAP_LISTENERS, record = "listener" },
  plugins = { kind = 5, room = 256, section = C.VF_SNAP_PLUGINS, record = "plugin" },
}
for _, slots in pairs(M.SLOTS) do
  local record = "struct vf_snap_" .. slots.record
  slots.stride, slots.offset = ffi.sizeof(record), ffi.offsetof(record, "slot")
end

return M

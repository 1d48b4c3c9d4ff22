--- Snapshots for specs, from a few lines of Lua, through the builder that the compiler uses.
local bit = require "bit"
local ffi = require "ffi"
require "veloflux.str"

local M = {}

--- Declares the records of a header that LuaJIT can read: without the lines that begin with #.
local function declare_header(path)
  local kept = {}
  for line in io.lines(path) do
    if not line:match "^#" then kept[#kept + 1] = line end
  end
  ffi.cdef(table.concat(kept, "\n"))
end

M.LAYOUT = { "layout_base.h", "layout_tls.h", "layout_plugins.h", "layout.h" } -- in src/snapshot
for _, name in ipairs(M.LAYOUT) do declare_header("src/snapshot/" .. name) end
ffi.cdef [[

struct vf_snapb;
struct vf_snapb *vf_snapb_new(void);
void vf_snapb_free(struct vf_snapb *);
void *vf_snapb_add(struct vf_snapb *, uint32_t section, uint32_t count, uint32_t *first);
void *vf_snapb_record(struct vf_snapb *, uint32_t section, uint32_t index);
int vf_snapb_text(struct vf_snapb *, const char *data, size_t len, struct vf_snap_text *out);
struct vf_snap_settings *vf_snapb_settings(struct vf_snapb *);
int vf_snapb_finish(struct vf_snapb *, uint64_t version, char *error, size_t error_size);
const void *vf_snapb_data(const struct vf_snapb *);
size_t vf_snapb_size(const struct vf_snapb *);
int vf_snapb_memfd(const struct vf_snapb *);

struct vf_snapshot {
  const struct vf_snap_header *header;
  size_t size;
  uint64_t version;
  uint32_t refs, is_mapped;
};
int vf_snapshot_open(int fd, struct vf_snapshot **out);
int vf_snapshot_adopt(const void *memory, size_t size, struct vf_snapshot **out);
const char *vf_snapshot_fault(void);
struct vf_snapshot *vf_snapshot_retain(struct vf_snapshot *);
void vf_snapshot_release(struct vf_snapshot **);
bool vf_snapshot_is_trusted(const struct vf_snapshot *, uint32_t family, const uint8_t ip[16]);
void vf_policy_resolve(const struct vf_snapshot *, uint32_t base, uint32_t override, struct vf_snap_policy *out);
]]

M.lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local lib = M.lib

M.NONE = 0xffffffff

--- Returns a builder that is freed with its last reference.
function M.builder()
  return ffi.gc(lib.vf_snapb_new(), lib.vf_snapb_free)
end

--- Adds one record; returns it as `struct vf_snap_<name> *` and its index.
function M.add(builder, section, name)
  local first = ffi.new "uint32_t[1]"
  local record = lib.vf_snapb_add(builder, section, 1, first)
  assert(record ~= nil, "no record")
  record = ffi.cast("struct vf_snap_" .. name .. " *", record)
  if name == "pool" or name == "listener" then record.tls = lib.VF_SNAP_NONE end
  return record, first[0]
end

--- Stores `text` in the field `out` of a record.
function M.text(builder, text, out)
  assert(lib.vf_snapb_text(builder, text, #text, out) == 0)
end

local PATH_KINDS = { path = 0, path_regex = 1, path_prefix = 2 }
local METHODS = { DELETE = 0, GET = 1, HEAD = 2, POST = 3, PUT = 4, OPTIONS = 6, PATCH = 28 }
local EXTENSION = 63
local TESTS = { equal = 0, regex = 1, present = 2, absent = 3 }

local function add_conditions(builder, route, conditions)
  for i, wanted in ipairs(conditions) do
    local condition, index = M.add(builder, lib.VF_SNAP_CONDITIONS, "condition")
    condition.kind = wanted.query and 1 or 0
    condition.test = TESTS[wanted.test or "equal"]
    M.text(builder, wanted.query or wanted.header, condition.name)
    M.text(builder, wanted.value or "", condition.value)
    if i == 1 then route.conditions.first = index end
    route.conditions.count = i
  end
end

--- Adds a route { name, path | path_prefix | path_regex, hosts, methods, conditions, priority, tenant }.
function M.route(builder, wanted)
  local route, index = M.add(builder, lib.VF_SNAP_ROUTES, "route")
  route.action, route.status = 2, 200 -- a fixed answer needs no pool
  route.policy, route.chain, route.client_cert = M.NONE, M.NONE, M.NONE
  route.slot, route.tenant = index, wanted.tenant or 0
  route.priority = wanted.priority or 0
  M.text(builder, wanted.name, route.name)
  for key, kind in pairs(PATH_KINDS) do
    if wanted[key] then
      route.path_kind = kind
      M.text(builder, wanted[key], route.path)
    end
  end
  local more = {}
  for _, method in ipairs(wanted.methods or {}) do
    route.methods = bit.bor(route.methods, 2ULL ^ (METHODS[method] or EXTENSION))
    if not METHODS[method] then more[#more + 1] = method end
  end
  M.text(builder, table.concat(more, ", "), route.more_methods)
  add_conditions(builder, route, wanted.conditions or {})
  for _, host in ipairs(wanted.hosts or { "*" }) do
    local binding = M.add(builder, lib.VF_SNAP_BINDINGS, "binding")
    binding.route = index
    M.text(builder, host, binding.host)
  end
  return index
end

function M.tenant(builder, name)
  local tenant, index = M.add(builder, lib.VF_SNAP_TENANTS, "tenant")
  M.text(builder, name, tenant.name)
  tenant.slot, tenant.active = index, 1
  return index
end

--- Finishes `builder`. Returns a snapshot handle that keeps the builder alive, or nil and the error.
function M.finish(builder, version)
  local message, out = ffi.new "char[200]", ffi.new "struct vf_snapshot *[1]"
  lib.vf_snapb_settings(builder).workers = 1
  local rc = lib.vf_snapb_finish(builder, version or 1, message, 200)
  if rc ~= 0 then return nil, ffi.string(message), rc end
  assert(lib.vf_snapshot_adopt(lib.vf_snapb_data(builder), lib.vf_snapb_size(builder), out) == 0)
  local snapshot = out[0]
  return ffi.gc(snapshot, function()
    local _ = builder -- outlives the handle
    lib.vf_snapshot_release(ffi.new("struct vf_snapshot *[1]", { snapshot }))
  end)
end

--- Builds a snapshot of routes for the tenants "default" and "acme" (0 and 1).
function M.snapshot(routes)
  local builder = M.builder()
  M.tenant(builder, "default")
  M.tenant(builder, "acme")
  for _, route in ipairs(routes) do M.route(builder, route) end
  return assert(M.finish(builder))
end

--- Returns the records of `section` in a snapshot and their number.
function M.records(snapshot, section, name)
  local extent = snapshot.header.sections[section]
  local at = ffi.cast("const char *", snapshot.header) + extent.offset
  return ffi.cast("const struct vf_snap_" .. name .. " *", at), extent.count
end

--- Returns a text of a snapshot as a string.
function M.string(snapshot, text)
  return ffi.string(ffi.cast("const char *", snapshot.header) + text.offset, text.len)
end

return M

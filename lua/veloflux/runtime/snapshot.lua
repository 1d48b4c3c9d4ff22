--- Reads the records of a snapshot (src/snapshot/layout_plugins.h) that concern plugins.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"

ffi.cdef [[
struct vf_snapshot {
  const struct vf_snap_header *header;
  size_t size;
  uint64_t version;
  uint32_t refs;
  uint32_t is_mapped;
};
]]
local C = layout.C

local M = {}

local RECORDS = {
  [C.VF_SNAP_PLUGINS] = ffi.typeof "const struct vf_snap_plugin *",
  [C.VF_SNAP_PLUGIN_FILES] = ffi.typeof "const struct vf_snap_plugin_file *",
  [C.VF_SNAP_INSTANCES] = ffi.typeof "const struct vf_snap_instance *",
  [C.VF_SNAP_CHAINS] = ffi.typeof "const struct vf_snap_chain *",
  [C.VF_SNAP_MEMBERS] = ffi.typeof "const uint32_t *",
  [C.VF_SNAP_TENANTS] = ffi.typeof "const struct vf_snap_tenant *",
  [C.VF_SNAP_POOLS] = ffi.typeof "const struct vf_snap_pool *",
  [C.VF_SNAP_BACKENDS] = ffi.typeof "const struct vf_snap_backend *",
  [C.VF_SNAP_ROUTES] = ffi.typeof "const struct vf_snap_route *",
  [C.VF_SNAP_BINDINGS] = ffi.typeof "const struct vf_snap_binding *",
  [C.VF_SNAP_NETWORKS] = ffi.typeof "const struct vf_snap_network *",
}

local function base_of(header) return ffi.cast("const char *", header) end

--- Returns the header of a snapshot, and its version. It must be held as long as it is read.
-- @param pointer struct vf_snapshot * as light userdata or cdata
function M.open(pointer)
  local opened = ffi.cast("const struct vf_snapshot *", pointer)
  return opened.header, tonumber(opened.version)
end

--- Returns the records of a section as a C array, and their number.
function M.section(header, section)
  local extent = header.sections[section]
  return ffi.cast(RECORDS[section], base_of(header) + extent.offset), extent.count
end

--- Returns a text of the snapshot as a string.
function M.text(header, text)
  return ffi.string(base_of(header) + text.offset, text.len)
end

--- Returns a hash as a string that serves as a key: 16 hexadecimal digits, as the table of consumers has
-- those of their chains (compiler/tables.lua).
function M.key(hash) return bit.tohex(hash) end

return M

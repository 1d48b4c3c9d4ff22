--- Usage counters for specs: the structs of snapshot/usage.h, files of them, and snapshots with tenants to enter.
-- The caller has declared snapshot/state.h, or lets declare() do it.
local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local headers = require "unit.snapshot.state_header"

local M = { lib = fixture.lib }
local lib = M.lib

local function declare_header(path) ffi.cdef(headers.read(path)) end

--- Declares state.h and usage.h.
function M.declare()
  ffi.cdef(headers.state())
  M.declare_usage()
end

--- Declares usage.h and usage_file.h when state.h is there.
function M.declare_usage()
  declare_header "src/snapshot/usage.h"
  declare_header "src/snapshot/usage_file.h"
  ffi.cdef "int dup(int);"
end

--- A snapshot with tenants of these names; the id of each is its place among `ids`, or from 1.
function M.snapshot(names, ids)
  local builder = fixture.builder()
  local listener = fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener")
  listener.address.family = 1
  fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
  for i, name in ipairs(names) do
    local index = fixture.tenant(builder, name)
    local record = ffi.cast("struct vf_snap_tenant *", lib.vf_snapb_record(builder, lib.VF_SNAP_TENANTS, index))
    record.id = ids and ids[i] or i
  end
  return assert(fixture.finish(builder))
end

--- Opens the file in `dir`. Returns it, or nil, the error number and what failed.
function M.open(dir, n_rows)
  local file, fault = ffi.new "struct vf_usage_file", ffi.new "char[4300]"
  local rc = lib.vf_usage_file_open(file, dir, n_rows or 1, fault, 4300)
  if rc < 0 then return nil, -rc, ffi.string(fault) end
  return file
end

--- Enters the tenants of a snapshot. Returns 0, or the error number and what failed.
function M.enter(file, snapshot, n_rows)
  local fault = ffi.new "char[4300]"
  return -lib.vf_usage_file_enter(file, snapshot, n_rows or 1, fault, 4300), ffi.string(fault)
end

--- A view of the file, as a child has it.
function M.view(file)
  local usage = ffi.new "struct vf_usage"
  local rc = lib.vf_usage_open(usage, ffi.C.dup(file.fd))
  assert(rc == 0, rc)
  return usage
end

--- Requests of a tenant, summed.
function M.requests(usage, id)
  local out = ffi.new "uint64_t[8]"
  lib.vf_usage_add(usage, id, out)
  return tonumber(out[0])
end

return M

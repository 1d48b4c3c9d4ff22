--- This node and this process.
local ffi = require "ffi"
local task = require "veloflux.runtime.task"

ffi.cdef [[
int gethostname(char *name, size_t len);
struct vf_memory_view { uint64_t lua_bytes, lua_limit; uint32_t worker; int64_t pid; };
void vf_guard_memory(const struct vf_run *run, struct vf_memory_view *out);
]]
local C = ffi.C

---@class pdk.node
local M = {}

local MAX_NAME = 256
local hostname

--- Returns the name of the machine.
---@return string
function M.get_hostname()
  if not hostname then
    local name = ffi.new("char[?]", MAX_NAME)
    hostname = C.gethostname(name, MAX_NAME - 1) == 0 and ffi.string(name) or "localhost"
  end
  return hostname
end

--- Returns the UUID (version 4) of this node: made when it first starts, kept as node-uuid in its data directory. Each
-- instance has its own, several on one machine too. GET /api/cluster shows it as `uuid` beside the node's name.
---@return string
function M.get_id()
  return require("veloflux.node_uuid").of(require("veloflux.runtime.area").state())
end

local function shared_dicts(shown)
  local memory, area = require "veloflux.shared_memory", require "veloflux.runtime.area"
  local info, dicts = ffi.new "struct vf_dict_info", {}
  for _, dict in memory.dicts(area.state()) do
    C.vf_dict_info(dict, info)
    dicts[ffi.string(info.name)] = { allocated_slabs = shown(info.capacity_bytes - info.free_bytes),
      capacity = shown(info.capacity_bytes) }
  end
  return dicts
end

local UNITS = { b = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }

--- Returns what the Lua state of this process uses: {workers_lua_vms = {{pid, http_allocated_gc, limit}},
-- lua_shared_dicts = {NAME = {allocated_slabs, capacity}}}: what is used of each shared dictionary.
---@param unit "b"|"k"|"m"|"g"|nil of either case; bytes by default; others as text: "1.25 MiB"
---@param scale integer|nil digits behind the point (2)
---@return table
function M.get_memory_stats(unit, scale)
  local by = type(unit or "b") == "string" and UNITS[(unit or "b"):lower()]
  if not by then error('node.get_memory_stats: expected "b", "k", "m" or "g"', 2) end
  local found = ffi.new "struct vf_memory_view"
  C.vf_guard_memory(task.run, found)
  local function shown(bytes)
    local number = tonumber(bytes)
    if by == 1 then return number end
    return ("%." .. (scale or 2) .. "f %siB"):format(number / by, unit:upper())
  end
  return { workers_lua_vms = { { pid = tonumber(found.pid), http_allocated_gc = shown(found.lua_bytes),
    limit = shown(found.lua_limit) } }, lua_shared_dicts = shared_dicts(shown) }
end

return M

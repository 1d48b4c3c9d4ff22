--- What /metrics says of the tables (snapshot/table/table.h), as this process has them mapped.
local ffi = require "ffi"
local prometheus = require "veloflux.admin.prometheus"

ffi.cdef [[
struct vf_table_stats {
  uint64_t sequence, entries, bytes, delta_bytes, delta_room, delta_overlay;
};
int vf_table_figures(uint32_t kind, struct vf_table_stats *out);
]]
local C = ffi.C

local M = {}

local NAMES = { [0] = "consumers", "credentials" } -- enum vf_table_kind

-- Rows of prometheus.lua over struct vf_table_stats.
local FIGURES = {
  { "entries", "entries", "gauge", "Entries that a lookup finds." },
  { "sequence", "sequence", "gauge", "Grows with every change of a table." },
  { "bytes", "bytes", "gauge", "Memory of a table that all processes share, without its delta." },
  { "delta_bytes", "delta_bytes", "gauge",
    "Changes since the table was made anew; at half of the room it is made anew." },
  { "delta_room", "delta_room_bytes", "gauge", "Room for changes." },
}

local stats = ffi.new "struct vf_table_stats"

--- Adds the families to an exposition of admin/prometheus.lua. A table that is not there has no series.
function M.add(exposition)
  local families = exposition:rows("veloflux_table_", FIGURES)
  for kind = 0, #NAMES do
    if C.vf_table_figures(kind, stats) == 1 then
      families:add(prometheus.labels { "table", NAMES[kind] }, stats)
    end
  end
end

return M

--- The part of /metrics about the memory that plugins share: rate-limit cells and dictionaries.
local ffi = require "ffi"
local memory = require "veloflux.shared_memory"
local prometheus = require "veloflux.admin.prometheus"

local C = ffi.C

local M = {}

-- Each list: rows of prometheus.lua over an info struct.
local CELLS = {
  { "cells", "cells", "gauge", "Cells for rate limits that there are." },
  { "busy", "cells_busy", "gauge", "Cells of keys that are ahead of their schedule." },
  { "claims", "cells_claimed_total", "counter", "Keys that got a cell." },
  { "full", "cells_full_total", "counter", "Requests refused because all cells of a bucket were busy." },
}

local DICT = {
  { "bytes", "bytes", "gauge", "Memory of a shared dictionary." },
  { "capacity_bytes", "capacity_bytes", "gauge", "Of these, for entries." },
  { "free_bytes", "free_bytes", "gauge", "Of these, free." },
  { "entries", "entries", "gauge", "Entries of a shared dictionary." },
  { "evictions", "evictions_total", "counter", "Entries that made room for others before their time." },
  { "expirations", "expirations_total", "counter", "Entries removed after their time." },
  { "refusals", "refusals_total", "counter", "Calls that failed because there was no room." },
  { "repairs", "repairs_total", "counter", "Shards taken over from a process that was killed inside." },
  { "lost", "lost_total", "counter", "Entries lost by that." },
  { "emptied", "emptied_total", "counter", "Shards that were emptied because they did not add up." },
}

local cells, dict = ffi.new "struct vf_cells_info", ffi.new "struct vf_dict_info"

--- Adds the families.
-- @param exposition of prometheus.lua
-- @param state pointer to struct vf_state
function M.add(exposition, state)
  C.vf_cells_info(memory.cells(state), C.vf_clock_ns(), cells)
  exposition:rows("veloflux_rate_limit_", CELLS):add("", cells)
  local families = exposition:rows("veloflux_shared_dict_", DICT)
  for _, each in memory.dicts(state) do
    C.vf_dict_info(each, dict)
    families:add(prometheus.labels { "dict", ffi.string(dict.name) }, dict)
  end
end

return M

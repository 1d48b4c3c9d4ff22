--- What /metrics says of control's loop (src/control/turns.h): how long it kept others waiting.
local ffi = require "ffi"

ffi.cdef [[
struct vf_turn_figures {
  uint64_t buckets[10];
  uint64_t sum_ns, longest_ns;
};
extern const double vf_turn_bounds[9];
int vf_control_turns(struct vf_turn_figures *out);
]]
local C = ffi.C

local M = {}

local BOUNDS = {}
for i = 0, 8 do BOUNDS[i + 1] = tonumber(C.vf_turn_bounds[i]) end

local figures = ffi.new "struct vf_turn_figures"

--- Fills struct vf_turn_figures. Returns 0 in another process than control. Specs put another in its place.
function M.read(out) return C.vf_control_turns(out) end

--- Adds the families to an exposition of admin/prometheus.lua; in another process than control there are none.
function M.add(exposition)
  if M.read(figures) ~= 1 then return end
  local turns = exposition:family("veloflux_control_loop_stall_seconds", "histogram",
    "How long a turn of control's loop took: meanwhile nobody else was answered.")
  turns:add_histogram("", BOUNDS, function(i) return tonumber(figures.buckets[i - 1]) end,
    tonumber(figures.sum_ns) / 1e9)
  exposition:family("veloflux_control_loop_stall_max_seconds", "gauge",
    "The longest of these since the process began."):add("", tonumber(figures.longest_ns) / 1e9)
end

return M

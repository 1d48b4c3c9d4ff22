--- Log lines of the admin address (base/log.h).
local ffi = require "ffi"

ffi.cdef [[
bool vf_log_enabled(int level);
void vf_log_write(const void *log, int level, const char *event, const char *format, ...);
]]
local C = ffi.C

local M = {}
local LEVELS = { debug = 0, info = 1, warn = 2, error = 3 }

--- Writes one event.
-- @param level "debug", "info", "warn" or "error"
-- @param event dotted name
-- @param pairs list of name, value, name, value, ... (texts and whole numbers)
function M.write(level, event, pairs)
  local number = LEVELS[level]
  if not C.vf_log_enabled(number) then return end
  local format, values = {}, {}
  for i = 1, #pairs, 2 do
    format[#format + 1] = pairs[i] .. "=%s"
    values[#values + 1] = tostring(pairs[i + 1])
  end
  C.vf_log_write(nil, number, event, table.concat(format, " "), unpack(values))
end

return M

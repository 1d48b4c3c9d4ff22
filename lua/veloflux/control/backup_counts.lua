--- How scheduled backups went since this process began, and when the last one was made: what control/backups.lua counts
-- and /metrics shows.
local M = {}

local counts = { stored = 0, failed = 0, last_ms = 0 }

--- Begins anew.
function M.reset() counts.stored, counts.failed, counts.last_ms = 0, 0, 0 end

--- One was made at a time (wall clock), or was there already.
function M.seen(time_ms) counts.last_ms = math.max(counts.last_ms, time_ms) end

function M.stored() counts.stored = counts.stored + 1 end

function M.failed() counts.failed = counts.failed + 1 end

--- Returns {stored, failed, last_ms}: 0 before the first.
function M.get() return counts end

return M

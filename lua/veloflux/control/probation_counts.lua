--- How many versions are on probation, and how many probations have ended how since this process began: what
-- control/probation.lua counts and /metrics shows.
local M = {}

--- The states in which a probation has ended.
M.ENDS = { "passed", "confirmed", "rolled_back", "superseded", "failed" }

local counts = {}

--- Begins anew.
function M.reset()
  counts = { watching = 0 }
  for _, state in ipairs(M.ENDS) do counts[state] = 0 end
end
M.reset()

--- One more is watched.
function M.begun() counts.watching = counts.watching + 1 end

--- One that was watched has ended.
function M.ended(state) counts.watching, counts[state] = counts.watching - 1, counts[state] + 1 end

--- Returns {watching, passed, ...}.
function M.get() return counts end

return M

--- Rates: what was counted since a moment a few seconds ago, per second.
-- Every tick takes a sample of named counters; a rate is measured against the oldest of the last ones.
-- The clock is passed in.
local M = {}
local Rates = {}
Rates.__index = Rates

M.SAMPLES = 5 -- with a tick every 2 s: over 8 to 10 seconds

function M.new() return setmetatable({ samples = {} }, Rates) end

--- Adds a sample.
-- @param now seconds, monotonic
-- @param values map from names to counters; kept
function Rates:sample(now, values)
  table.insert(self.samples, { at = now, values = values })
  if #self.samples > M.SAMPLES then table.remove(self.samples, 1) end
end

--- Returns the rate per second of `name`, whose counter is `value` at `now`; 0 while nothing is known.
function Rates:get(name, value, now)
  local first = self.samples[1]
  local before = first and first.values[name]
  if not before or now <= first.at or value < before then return 0 end
  return (value - before) / (now - first.at)
end

--- Returns by how much the counter `name`, which is `value` now, has grown since the oldest sample; without
-- samples, or after a counter was begun anew, all of it.
function Rates:growth(name, value)
  local first = self.samples[1]
  local before = first and first.values[name] or 0
  return value >= before and value - before or value
end

--- Returns the samples, the oldest first: list of {at, values}.
function Rates:list() return self.samples end

return M

--- Quantiles of what was counted in buckets.
local M = {}

--- Estimates a quantile: it lies within a bucket as if that were filled evenly.
-- @param bounds upper bounds of the buckets; what lies behind the last is told as that
-- @param counts list of the buckets' counts, one more than bounds
-- @param share of all that lies below it, 0 to 1
-- @return a number in the unit of the bounds, or nil when nothing was counted
function M.of(bounds, counts, share)
  local all, sum = 0, 0
  for i = 1, #counts do all = all + counts[i] end
  if all == 0 then return nil end
  for i = 1, #bounds do
    local low = i > 1 and bounds[i - 1] or 0
    if counts[i] > 0 and sum + counts[i] >= share * all then
      return low + (bounds[i] - low) * (share * all - sum) / counts[i]
    end
    sum = sum + counts[i]
  end
  return bounds[#bounds]
end

return M

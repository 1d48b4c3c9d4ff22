--- Judges the traffic since a change by what it was before. Pure: figures come in, a reason goes out.
local figures = require "veloflux.control.figures"

local M = {}

local function percent(share) return ("%.1f %%"):format(100 * share) end

local function errors(guard, what, before, after, requests)
  if after - before <= guard.error_rate / 100 then return nil end
  return ("%s of %d requests of %s failed, %s before: more than %g points above"):format(percent(after), requests, what,
    percent(before), guard.error_rate)
end

local function latency(guard, what, before, after)
  if guard.latency == 0 or not before or not after then return nil end
  if after <= before * guard.latency or after - before <= guard.latency_floor_ms then return nil end
  return ("exchanges of %s took %.1f ms (%s), %.1f ms before: more than %g times as long"):format(what, after,
    guard.statistic, before, guard.latency)
end

--- Judges one kind of traffic.
-- @param guard {error_rate: percentage points, latency: a factor, 0 is off, latency_floor_ms, statistic, min_requests}
-- @param what it is, for the reason
-- @param before, after figures (figures.lua) of the time before and since
-- @return why it breaks the guard, or nil
function M.judge(guard, what, before, after)
  if after.requests < guard.min_requests then return nil end
  local share_before, ms_before = figures.of(before, guard.statistic)
  local share_after, ms_after = figures.of(after, guard.statistic)
  return errors(guard, what, share_before, share_after, after.requests) or latency(guard, what, ms_before, ms_after)
end

--- Returns figures as they are shown: {requests, error_rate: percent, latency_ms}.
function M.show(found, statistic)
  local share, ms = figures.of(found, statistic)
  return { requests = found.requests, error_rate = math.floor(share * 10000 + 0.5) / 100,
    latency_ms = ms and math.floor(ms * 100 + 0.5) / 100 or nil }
end

return M

--- What the traffic of a node looks like, from the counters of the state area: what probation compares.
-- Figures are {requests, errors, us, finished, buckets}: requests, those answered with 500 or above, and the time that
-- `finished` exchanges took, in microseconds; buckets (of the whole node) count exchanges by how long they took.
local quantile = require "veloflux.quantile"
local sink = require "veloflux.compiler.sink"
local totals = require "veloflux.totals"

local M = {}

local number = totals.number

--- Returns the figures of all traffic since the first start.
function M.node()
  local counts = totals.node().counts
  local figures = { requests = number(counts.requests), errors = number(counts.responses[4]), us = 0, finished = 0,
    buckets = {} }
  if not totals.has_snapshot() then return figures end
  local pools = totals.pools_from(0)
  figures.us = number(pools.sum_us)
  for i = 0, #totals.BUCKETS do
    figures.buckets[i + 1] = number(pools.buckets[i])
    figures.finished = figures.finished + figures.buckets[i + 1]
  end
  return figures
end

local function of_route(route)
  local requests = number(route.requests)
  return { requests = requests, errors = number(route.class_5xx), us = number(route.sum_us), finished = requests }
end

--- Returns the figures of routes since each of them is there.
-- @param keys list of TENANT/NAME
-- @param hints a table that the caller keeps from one call to the next: where they were
-- @return map from keys to figures; those that are not in the snapshot are not there
function M.routes(keys, hints)
  local found = {}
  if not totals.has_snapshot() then return found end
  for _, key in ipairs(keys) do
    local tenant, name = key:match "^([^/]*)/(.*)$"
    local at = totals.find("routes", sink.id("route", tenant, name), hints[key])
    hints[key] = at
    if at then found[key] = of_route(totals.route(at)) end
  end
  return found
end

--- Returns what was counted between two figures. Counters that are lower than before began anew.
-- @param before nil: nothing had been counted
function M.growth(before, after)
  if not before or after.requests < before.requests then return after end
  local growth = { requests = after.requests - before.requests, errors = math.max(0, after.errors - before.errors),
    us = math.max(0, after.us - before.us), finished = math.max(0, after.finished - before.finished) }
  if after.buckets and before.buckets then
    growth.buckets = {}
    for i, count in ipairs(after.buckets) do growth.buckets[i] = math.max(0, count - (before.buckets[i] or 0)) end
  end
  return growth
end

--- Returns the share of requests that failed, and how long exchanges took in milliseconds (nil: nothing is known).
-- @param statistic "mean" or "p99"; of routes there are no buckets: the mean is told
function M.of(figures, statistic)
  local share = figures.requests > 0 and math.min(1, figures.errors / figures.requests) or 0
  if statistic == "p99" and figures.buckets then
    local seconds = quantile.of(totals.BUCKETS, figures.buckets, 0.99)
    return share, seconds and seconds * 1000
  end
  return share, figures.finished > 0 and figures.us / figures.finished / 1000 or nil
end

return M

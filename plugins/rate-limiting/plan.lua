--- What a configuration asks for, read once: its limits, and what of the header fields never changes.
local periods = require "veloflux.plugins.rate-limiting.periods"

local M = {}

local function number_text(number) return ("%.14g"):format(number) end

local function window_limits(conf)
  local limits = {}
  for _, period in ipairs(periods) do
    local limit = conf[period.name]
    if limit then
      limits[#limits + 1] = { name = period.name, limit = limit, window = period.seconds, text = number_text(limit),
        limit_field = "X-RateLimit-Limit-" .. period.title, left_field = "X-RateLimit-Remaining-" .. period.title }
    end
  end
  return limits
end

local function gcra_limits(conf)
  local burst = conf.burst or math.max(1, math.floor(conf.rate))
  return { { name = "gcra", limit = burst, window = conf.per, interval = conf.per / conf.rate,
    text = number_text(burst) } }
end

--- RateLimit-Policy: the quota of each limit and its window, in whole seconds.
local function policy_of(conf, limits)
  local policies = {}
  for i, limit in ipairs(limits) do
    local quota = conf.algorithm == "gcra" and math.max(1, math.floor(conf.rate)) or limit.limit
    policies[i] = ('"%s";q=%.14g;w=%d'):format(limit.name, quota, math.max(1, math.ceil(limit.window)))
  end
  return table.concat(policies, ", ")
end

--- Makes the plan of a configuration: {limits, policy, rate, per, burst (of gcra)}. A limit is {name, limit,
-- window (seconds), interval (of gcra: seconds for one request), text, limit_field, left_field, item (the beginning of
-- RateLimit)}.
function M.of(conf)
  local is_gcra = conf.algorithm == "gcra"
  local limits = is_gcra and gcra_limits(conf) or window_limits(conf)
  for _, limit in ipairs(limits) do limit.item = ('"%s";r='):format(limit.name) end
  return { limits = limits, n = #limits, policy = policy_of(conf, limits), is_gcra = is_gcra, rate = conf.rate,
    per = conf.per, burst = is_gcra and limits[1].limit or nil }
end

--- Returns the limit that is nearest: of which the least is left; of two alike the longer one.
function M.nearest(plan, left)
  local found = 1
  for i = 2, plan.n do
    if left[i] <= left[found] then found = i end
  end
  return found
end

return M

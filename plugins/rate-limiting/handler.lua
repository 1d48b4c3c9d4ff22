--- Limits how many requests may come in a time: in sliding windows or evenly (GCRA), counted in this node's
-- shared memory or in Redis.
local pdk = require "veloflux.pdk"
local identity = require "veloflux.plugins.rate-limiting.identity"
local leases = require "veloflux.plugins.rate-limiting.leases"
local planner = require "veloflux.plugins.rate-limiting.plan"

local response, ratelimit = pdk.response, pdk.ratelimit
local ceil, max = math.ceil, math.max

local Plugin = { PRIORITY = 910, VERSION = "1.0.0" } -- behind authentication

local REPORT_S = 10 -- between two lines about the same trouble

local decided = pdk.metrics.counter("requests",
  "Requests that limits were asked about: allowed, refused, or uncounted where nobody could count.", { "verdict" })
local redis_failures = pdk.metrics.counter("redis_failures", "Requests for which Redis was away.")

local plans = setmetatable({}, { __mode = "k" }) -- configuration -> plan

local function plan_of(conf)
  local plan = plans[conf]
  if not plan then
    plan = planner.of(conf)
    plan.leases = conf.policy == "redis" and leases.new(conf, plan) or nil
    plans[conf] = plan
  end
  return plan
end

--- Says what is wrong, not for each request.
local function report(plan, event, problem)
  local now = pdk.timer.now()
  if plan.told_at and now - plan.told_at < REPORT_S then return end
  plan.told_at = now
  pdk.log.warn(event, ": ", problem)
end

-- Counting in this node -------------------------------------------------------------------------------

-- What is left of each limit, and when it is whole again: filled in and read without waiting in between.
local left, reset, texts = {}, {}, {}

--- Looks at all limits before any of them counts: a request that one of them refuses is not counted by others.
local function refusing_window(plan, key)
  local refusing, retry = 0, 0
  for i = 1, plan.n do
    local limit = plan.limits[i]
    local ok, rest, retry_after, until_reset = ratelimit.peek_window(key, limit.limit, limit.window)
    left[i], reset[i] = rest, until_reset
    if not ok then refusing, retry = i, max(retry, retry_after) end
  end
  return refusing, retry
end

local function take_windows(plan, key)
  if plan.n > 1 then
    local refusing, retry = refusing_window(plan, key)
    if refusing > 0 then return refusing, retry end
  end
  for i = 1, plan.n do
    local limit = plan.limits[i]
    local ok, rest, retry, until_reset, why = ratelimit.window(key, limit.limit, limit.window)
    left[i], reset[i] = rest, until_reset
    if why == "full" then return nil, "there is no memory for more counters" end
    if not ok then return i, retry end
  end
  return 0, 0
end

--- Decides on one request.
-- @return the limit that refuses it, or 0; seconds until it may be tried again. nil and a message: nobody can
-- count
local function take_local(plan, key)
  if not plan.is_gcra then return take_windows(plan, key) end
  local ok, rest, retry, until_reset, why = ratelimit.gcra(key, plan.rate, plan.per, plan.burst)
  left[1], reset[1] = rest, until_reset
  if why == "full" then return nil, "there is no memory for more counters" end
  return ok and 0 or 1, retry
end

local function take(conf, plan, key)
  if not plan.leases then return take_local(plan, key) end
  local refusing, retry = plan.leases:take(key, left, reset)
  if refusing then return refusing, retry end
  redis_failures:inc()
  if not conf.fault_tolerant then return nil, "Redis: " .. retry end
  report(plan, "this node counts for itself, Redis is away", retry)
  return take_local(plan, key)
end

-- Telling -----------------------------------------------------------------------------------------------

local function seconds(value) return ceil(max(value, 1)) end

--- Tells the client how things stand: as Kong does, and as the IETF's draft has it.
local function tell(plan)
  for i = 1, plan.n do
    local limit = plan.limits[i]
    texts[i] = ("%d"):format(left[i])
    if limit.limit_field then
      response.set_header(limit.limit_field, limit.text)
      response.set_header(limit.left_field, texts[i])
    end
  end
  local nearest = planner.nearest(plan, left)
  local limit, rest, until_reset = plan.limits[nearest], texts[nearest], ("%d"):format(seconds(reset[nearest]))
  response.set_header("RateLimit-Limit", limit.text)
  response.set_header("RateLimit-Remaining", rest)
  response.set_header("RateLimit-Reset", until_reset)
  response.set_header("RateLimit-Policy", plan.policy)
  response.set_header("RateLimit", limit.item .. rest .. ";t=" .. until_reset)
end

local function refuse(conf, retry)
  if not conf.hide_client_headers then
    response.set_header("Retry-After", retry < 2 ^ 31 and seconds(retry) or 2 ^ 31)
  end
  return response.error(conf.error_code, conf.error_message)
end

function Plugin:access(conf)
  local plan = plan_of(conf)
  local refusing, retry = take(conf, plan, identity.key(conf))
  if not refusing then
    decided:inc(1, "uncounted")
    if not conf.fault_tolerant then
      pdk.log.err("requests cannot be counted: ", retry)
      return response.error(500)
    end
    return report(plan, "requests are not counted", retry)
  end
  decided:inc(1, refusing > 0 and "refused" or "allowed")
  if not conf.hide_client_headers then tell(plan) end
  if refusing > 0 then return refuse(conf, retry) end
end

return Plugin

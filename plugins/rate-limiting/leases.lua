--- Counting over all nodes in Redis, without asking it for each request: a worker takes a slice of a budget,
-- a lease, and spends it on its own. A lease is used for `sync_rate` seconds at most; what is left of it then is
-- given back with the next question. Slices begin with one request and double while they are used up in
-- time, but never take more than an eighth of what is left, so a budget that nears its end is shared out one
-- by one. The count is that of pdk.ratelimit.window: this window's, and the last one's by how much of it counts; or
-- that of pdk.ratelimit.gcra: the time from which the next request is on schedule.
--
-- When Redis fails it is left alone for a second; then one request tries it again.
local pdk = require "veloflux.pdk"

local M = {}

local Leases = {}
Leases.__index = Leases

local KEPT = 10000 -- leases of a generation: what was not used for two of them is forgotten
local REST_S = 1   -- after Redis has failed
local PREFIX = "veloflux:rate-limiting:{"
local PER_LIMIT = 5 -- numbers of the script's answer
local ROUNDS = 3    -- of asking, while other requests spend what a lease has

-- For each key: limit, window (ms), wanted, given back, and of which window that is. Answers granted, left,
-- until the window ends (ms), until one more would be granted (ms), and which window this is.
local WINDOWS = [[
local time = redis.call('TIME')
local now, out = time[1] * 1000 + math.floor(time[2] / 1000), {}
for i = 1, #KEYS do
  local at = (i - 1) * 5
  local limit, window, want = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local index = math.floor(now / window)
  local elapsed = now - index * window
  local known = redis.call('HMGET', KEYS[i], 'i', 'c', 'p')
  local was, current, previous = tonumber(known[1]), tonumber(known[2]) or 0, tonumber(known[3]) or 0
  if was ~= index then
    previous = was == index - 1 and current or 0
    current = 0
  end
  if tonumber(ARGV[at + 5]) == index then current = math.max(current - tonumber(ARGV[at + 4]), 0) end
  local left = math.max(math.floor(limit - current - previous * (1 - elapsed / window) + 1e-9), 0)
  local granted = math.min(want, left, math.max(math.floor(left / 8), 1))
  current = current + granted
  local retry
  if current + 1 <= limit then
    local over = current + 1 + previous - limit
    retry = over > 0 and math.max(math.ceil(over * window / previous) - elapsed, 0) or 0
  else
    retry = window - elapsed + math.ceil((current + 1 - limit) * window / current)
  end
  redis.call('HSET', KEYS[i], 'i', index, 'c', current, 'p', previous)
  redis.call('PEXPIRE', KEYS[i], 2 * window)
  for _, value in ipairs { granted, left - granted, window - elapsed, retry, index } do out[#out + 1] = value end
end
return out
]]

-- For each key: burst, interval (ms), wanted, given back, and of which era that is. Answers granted, left, until the
-- whole burst is there (ms), until one more would be granted (ms), and which era this is. An era begins when nothing
-- counts any more: what was taken before that is past, and not to be given back.
local GCRA = [[
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now, out = us / 1000, {}
for i = 1, #KEYS do
  local at = (i - 1) * 5
  local burst, interval, want = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local known = redis.call('HMGET', KEYS[i], 'd', 'e')
  local due, era = tonumber(known[1]) or 0, tonumber(known[2])
  if tonumber(ARGV[at + 5]) == era then due = due - tonumber(ARGV[at + 4]) * interval end
  if due < now then due, era = now, us end
  local left = math.max(math.floor((now - due) / interval + burst + 1e-9), 0)
  local granted = math.min(want, left, math.max(math.floor(left / 8), 1))
  due = due + granted * interval
  redis.call('HSET', KEYS[i], 'd', string.format('%.17g', due), 'e', string.format('%.0f', era))
  redis.call('PEXPIRE', KEYS[i], math.ceil(due - now) + 1)
  local retry = math.max(math.ceil(due - now - (burst - 1) * interval), 0)
  for _, value in ipairs { granted, left - granted, math.ceil(due - now), retry, era } do out[#out + 1] = value end
end
return out
]]

--- Makes the leases of a configuration.
-- @param plan of plan.lua
function M.new(conf, plan)
  local redis = conf.redis
  local client = pdk.redis.new { host = redis.host, port = redis.port, username = redis.username,
    password = redis.password ~= "" and redis.password or nil, db = redis.database,
    ssl = redis.ssl, ssl_verify = redis.ssl_verify, ssl_server_name = redis.server_name,
    connect_timeout = redis.timeout / 1000, timeout = redis.timeout / 1000 }
  return setmetatable({ client = client, limits = plan.limits, script = plan.is_gcra and GCRA or WINDOWS,
    lease_s = math.max(conf.sync_rate, 0), timeout_s = redis.timeout / 1000, young = {}, old = {}, n = 0,
    rests_until = 0 }, Leases)
end

local function new_lease(n)
  local lease = { fetching_until = 0, n = n, tokens = {}, expires = {}, window = {}, slice = {}, left = {},
    resets = {}, denied_until = {} }
  for i = 1, n do
    lease.tokens[i], lease.expires[i], lease.window[i], lease.slice[i], lease.left[i] = 0, 0, 0, 1, 0
    lease.resets[i], lease.denied_until[i] = 0, 0
  end
  return lease
end

function Leases:find(key)
  local lease = self.young[key]
  if lease then return lease end
  if self.n >= KEPT then self.old, self.young, self.n = self.young, {}, 0 end
  lease = self.old[key] or new_lease(#self.limits)
  self.young[key], self.n = lease, self.n + 1
  return lease
end

--- Writes what the script is asked, for every limit of which the lease has nothing that may be spent.
function Leases:question(key, lease, now)
  local keys, arguments, asked = {}, {}, {}
  local is_second = now < lease.fetching_until -- somebody is asking for a slice already
  for i, limit in ipairs(self.limits) do
    local unused = lease.tokens[i]
    if unused < 1 or now >= lease.expires[i] then
      if unused > 0 then
        lease.slice[i] = math.max(1, math.floor(lease.slice[i] / 2))
      elseif now < lease.expires[i] then
        lease.slice[i] = math.min(lease.slice[i] * 2, limit.limit)
      end
      lease.tokens[i] = 0
      asked[#asked + 1], keys[#keys + 1] = i, PREFIX .. key .. "}:" .. limit.name
      local want = (is_second or self.lease_s == 0) and 1 or lease.slice[i]
      for _, value in ipairs { limit.limit, (limit.interval or limit.window) * 1000, want, unused, lease.window[i] } do
        arguments[#arguments + 1] = ("%.17g"):format(value)
      end
    end
  end
  return keys, arguments, asked
end

function Leases:note(lease, asked, answer, now)
  for k, i in ipairs(asked) do
    local at = (k - 1) * PER_LIMIT
    local granted, left, reset, retry = answer[at + 1], answer[at + 2], answer[at + 3] / 1000, answer[at + 4] / 1000
    lease.tokens[i] = lease.tokens[i] + granted
    lease.left[i], lease.resets[i], lease.window[i] = left, now + reset, answer[at + 5]
    lease.expires[i] = now + math.min(self.lease_s, reset)
    lease.denied_until[i] = granted == 0 and now + math.min(retry, math.max(self.lease_s, 0)) or 0
    lease.retry = granted == 0 and retry or lease.retry
  end
end

--- Asks Redis. Returns true; or nil and why not.
function Leases:ask(key, lease, now)
  if now < self.rests_until then return nil, "it has failed a moment ago" end
  if self.rests_until > 0 then self.rests_until = now + self.timeout_s + REST_S end -- this request tries it
  local keys, arguments, asked = self:question(key, lease, now)
  lease.fetching_until = now + self.timeout_s
  local answer, problem = self.client:eval(self.script, keys, arguments)
  lease.fetching_until = 0
  now = pdk.timer.now()
  if type(answer) ~= "table" or #answer ~= #asked * PER_LIMIT then
    self.rests_until = now + REST_S
    return nil, problem or "it has answered something else"
  end
  self.rests_until = 0
  self:note(lease, asked, answer, now)
  return true
end

--- Says which limit has nothing left to spend, or nil.
local function empty_one(lease, now)
  for i = 1, lease.n do
    if lease.tokens[i] < 1 or now >= lease.expires[i] then return i end
  end
end

local function denied_one(lease, now)
  for i = 1, lease.n do
    if now < lease.denied_until[i] then return i end
  end
end

local function tell(lease, now, left, reset)
  for i = 1, lease.n do
    left[i], reset[i] = lease.left[i] + lease.tokens[i], math.max(lease.resets[i] - now, 0)
  end
end

--- Says which limit has nothing left after an answer, those first that got nothing, and whether that is so; or nil.
local function spent_one(lease)
  local found
  for i = 1, lease.n do
    if lease.tokens[i] < 1 then
      if lease.denied_until[i] > 0 then return i, true end
      found = found or i
    end
  end
  return found, false
end

--- Gets what a lease has nothing of. What it had of other limits may be spent by others while it waits.
-- @return true; false and the limit that has nothing left; or nil and a message: Redis is away
function Leases:fill(key, lease, now)
  for round = 1, ROUNDS do
    local ok, problem = self:ask(key, lease, now)
    if not ok then return nil, problem end
    local spent, is_denied = spent_one(lease)
    if not spent then return true end
    if is_denied or round == ROUNDS then return false, spent end
    now = pdk.timer.now()
  end
end

--- Decides on one request. Waits when Redis is asked.
-- @param left, reset lists that are filled in, by limit
-- @return the limit that refuses it, or 0; seconds until it may be tried again. nil and a message: Redis is
-- away
function Leases:take(key, left, reset)
  local now, lease = pdk.timer.now(), self:find(key)
  local denied = denied_one(lease, now)
  if denied then
    tell(lease, now, left, reset)
    return denied, lease.denied_until[denied] - now
  end
  if empty_one(lease, now) then
    local ok, what = self:fill(key, lease, now)
    if ok == nil then return nil, what end
    now = pdk.timer.now()
    if not ok then
      tell(lease, now, left, reset)
      return what, lease.retry or 1
    end
  end
  for i = 1, lease.n do lease.tokens[i] = lease.tokens[i] - 1 end
  tell(lease, now, left, reset)
  return 0, 0
end

return M

--- Failed logins slow their client down: after LIMIT failures it is locked out, each time for longer.
-- The clock is passed in. The table is bounded: the client that was quiet longest is forgotten first.
local M = {}
local Throttle = {}
Throttle.__index = Throttle

M.LIMIT = 5            -- failures before a lock
M.LOCK_S = 30          -- the first lock; each further failure after it doubles
M.MAX_LOCK_S = 15 * 60
M.FORGET_S = 30 * 60   -- after the last failure
M.MAX_CLIENTS = 10000

function M.new() return setmetatable({ clients = {}, count = 0 }, Throttle) end

--- Clients of one IPv6 network of 64 bits count as one: whoever has one address there has them all.
local function key_of(client)
  if not client:find(":", 1, true) then return client end
  local head, tail = client:match "^(.-)::(.*)$"
  local groups = {}
  for group in (head or client):gmatch "[^:]+" do groups[#groups + 1] = group end
  if head then
    local after = select(2, tail:gsub("[^:]+", ""))
    for _ = #groups + after + 1, 8 do groups[#groups + 1] = "0" end
    for group in tail:gmatch "[^:]+" do groups[#groups + 1] = group end
  end
  return table.concat(groups, ":", 1, math.min(4, #groups)) .. "::/64"
end

M.key_of = key_of

function Throttle:forget_oldest()
  local oldest, at
  for key, entry in pairs(self.clients) do
    if not at or entry.last < at then oldest, at = key, entry.last end
  end
  self.clients[oldest] = nil
  self.count = self.count - 1
end

--- Returns how many seconds the client has to wait, 0 when it may try.
function Throttle:wait_s(client, now)
  local entry = self.clients[key_of(client)]
  if not entry or entry.locked_until <= now then return 0 end
  return math.ceil(entry.locked_until - now)
end

--- Notes a failed login at `now` (seconds).
-- @return seconds that the client is locked out for from now on, 0 when it may try again
function Throttle:failed(client, now)
  local key = key_of(client)
  local entry = self.clients[key]
  if entry and now - entry.last > M.FORGET_S then entry.failures = 0 end
  if not entry then
    if self.count >= M.MAX_CLIENTS then self:forget_oldest() end
    entry = { failures = 0, locked_until = 0 }
    self.clients[key] = entry
    self.count = self.count + 1
  end
  entry.failures, entry.last = entry.failures + 1, now
  if entry.failures < M.LIMIT then return 0 end
  local lock = math.min(M.LOCK_S * 2 ^ (entry.failures - M.LIMIT), M.MAX_LOCK_S)
  entry.locked_until = now + lock
  return lock
end

--- Returns the clients (of IPv6 their networks) that are locked out at `now`, in their order.
-- @param most how many at most
function Throttle:locked(now, most)
  local list = {}
  for key, entry in pairs(self.clients) do
    if entry.locked_until > now then list[#list + 1] = key end
  end
  table.sort(list)
  for i = #list, most + 1, -1 do list[i] = nil end
  return list
end

--- Notes a successful login: what was before is forgotten.
function Throttle:succeeded(client)
  local key = key_of(client)
  if self.clients[key] then
    self.clients[key] = nil
    self.count = self.count - 1
  end
end

return M

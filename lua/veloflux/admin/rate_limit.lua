--- How many requests of a client the admin address answers: GCRA (ITU-T I.371) over a table of clients, bounded like
-- that of throttle.lua. The clock is passed in.
local throttle = require "veloflux.admin.throttle"

local M = {}
local Limit = {}
Limit.__index = Limit

M.MAX_CLIENTS = 10000

--- Makes a limit that lets everything pass.
function M.new() return setmetatable({ due = {}, count = 0 }, Limit) end

--- Takes over the settings of a configuration.
-- @param settings the record admin.rate_limit, or nil: off
function Limit:configure(settings)
  local is_same = settings and self.settings and settings.requests == self.settings.requests
    and settings.per == self.settings.per and settings.burst == self.settings.burst
  if is_same then return end
  self.settings, self.due, self.count = settings, {}, 0
  if not settings then return end
  self.interval = settings.per / 1000 / settings.requests
  self.slack = self.interval * ((settings.burst or settings.requests) - 1)
end

--- Forgets clients whose next request would pass anyhow; when all are busy, everybody.
function Limit:make_room(now)
  for client, due in pairs(self.due) do
    if due <= now then
      self.due[client] = nil
      self.count = self.count - 1
    end
  end
  if self.count >= M.MAX_CLIENTS then self.due, self.count = {}, 0 end
end

--- Decides on a request at `now` (seconds).
-- @return nil: it may pass; else the seconds after which the next may
function Limit:refuse(client, now)
  if not self.settings then return nil end
  local key = throttle.key_of(client)
  local before = self.due[key]
  local due = math.max(before or now, now)
  if due - now > self.slack then return math.max(1, math.ceil(due - now - self.slack)) end
  if not before then
    if self.count >= M.MAX_CLIENTS then self:make_room(now) end
    self.count = self.count + 1
  end
  self.due[key] = due + self.interval
  return nil
end

return M

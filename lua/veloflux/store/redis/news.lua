--- News of other nodes: texts that are published and kept nowhere. Each has a number, so that who listens sees when it
-- has missed one: by the next, or, should none come, by looking now and then (watcher.lua) how many there were.
local reply = require "veloflux.redis.reply"

local News = {}
News.__index = News

local M = {}

--- Makes one.
-- @param settings channel and key: one name; writer: who we are
function M.new(settings) return setmetatable({ name = settings.name, writer = settings.writer }, News) end

--- Says who hears.
-- @param since number of the last that was heard, or nil: it is not known
-- @param on_news function(text, number): text nil: some were missed, `number` is the last of them
function News:listen(since, on_news) self.seen, self.on_news = since, on_news end

local function miss(self, number)
  self.seen, self.suspect = number, nil
  self.on_news(nil, number)
end

--- Takes a message of the channel. What this store has told itself is no news.
function News:on_message(message)
  local number, writer, at = (message or ""):match "^(%d+) (%S+) ()"
  number = tonumber(number)
  if not number or not self.on_news then return end
  local is_next = self.seen ~= nil and number <= self.seen + 1
  if not is_next then return miss(self, number) end
  self.seen = math.max(self.seen, number)
  if writer ~= self.writer then self.on_news(message:sub(at), self.seen) end
end

--- Takes what the server says how many there were.
-- @param value of the key
-- @param may_come true when the last of them may still be on its way
function News:looked(value, may_come)
  local number = value == reply.null and 0 or tonumber(value)
  if not number or not self.on_news or number == self.seen then return end
  local is_first_sight = not self.suspect or self.suspect <= (self.seen or 0)
  if may_come and self.seen and number > self.seen and is_first_sight then
    self.suspect = number
    return
  end
  miss(self, number)
end

return M

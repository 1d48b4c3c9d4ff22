--- Hears of versions that others have committed, and of their news (news.lua): by subscription, and, because a notice
-- may be lost, by looking now and then. What the store has read or committed itself is no news.
local reply = require "veloflux.redis.reply"
local greeting = require "veloflux.store.redis.greeting"

local LOOK_MS = 5000 -- with a subscription; else LISTEN_MS
local LISTEN_MS = 1000 -- until the next attempt to subscribe
local MAX_MESSAGE_BYTES = 256 * 1024

local Watcher = {}
Watcher.__index = Watcher

local M = {}

--- Makes a watcher.
-- @param settings wire, session, timeout_ms, channel, writer (who we are), meta_key, news
function M.new(settings)
  return setmetatable({ wire = settings.wire, session = settings.session, timeout_ms = settings.timeout_ms,
    channel = settings.channel, writer = settings.writer, meta_key = settings.meta_key, news = settings.news,
    callbacks = {}, seen = 0, pending = {} }, Watcher)
end

function Watcher:add(callback)
  self.callbacks[#self.callbacks + 1] = callback
  if #self.callbacks == 1 then self:start() end
end

local function tell(self, version)
  self.seen = version
  for _, callback in ipairs(self.callbacks) do callback(version) end
end

--- This store has read or committed a version.
function Watcher:knows(version) self.seen = version end

--- A commit of our own is under way: what is heard of it before its answer is no news.
function Watcher:begin(version) self.pending[version] = true end

--- Its answer has come. When nobody knows what has become of it, the store may have it nevertheless: the next look
-- tells.
function Watcher:finish(version) self.pending[version] = nil end

local function on_message(self, channel, text)
  if channel == self.news.name then return self.news:on_message(text) end
  local version, writer = (text or ""):match "^(%d+) (.*)$"
  version = tonumber(version)
  if not version or version <= self.seen then return end
  if writer == self.writer and self.pending[version] then return end
  tell(self, version)
end

--- Asks for the version; a lower one than was seen before tells that the server has lost some.
-- @param may_come true when news may be on their way
local function look(self, may_come)
  if self.is_closed or not self.session:link_in_use() then return end
  local seen = self.seen
  self.session:call({ { "HGET", self.meta_key, "version" }, { "GET", self.news.name } }, function(err, replies)
    local version = not err and replies[1]
    version = version == reply.null and 0 or tonumber(version)
    if version and (version > self.seen or version < seen) and not self.pending[version] then tell(self, version) end
    if not err then self.news:looked(replies[2], may_come) end
  end)
end

local function again(self)
  if self.is_closed then return end
  self.wire:cancel(self.timer)
  self.timer = self.wire:after(self.is_listening and LOOK_MS or LISTEN_MS, function()
    if self.session:link_in_use() and not self.is_listening then self:listen() end
    if self.is_listening then self.link:send({ { "PING" } }, function() end) end
    look(self, self.is_listening)
    again(self)
  end)
end

local function forget_link(self)
  if self.link then self.link:close() end
  self.link, self.is_listening = nil, false
end

--- Subscribes, at the server that the session uses.
function Watcher:listen()
  local _, target = self.session:link_in_use()
  forget_link(self)
  local link
  local function on_open(err)
    if err then
      self.link = nil
      return
    end
    local commands = greeting.credentials(self.session.where)
    commands[#commands + 1] = { "SUBSCRIBE", self.channel }
    commands[#commands + 1] = { "SUBSCRIBE", self.news.name }
    link:send(commands, function(failure, replies)
      if failure or link ~= self.link then return end
      for _, value in ipairs(replies) do
        if reply.is_error(value) then return self:refused(value) end
      end
      self.is_listening, self.is_refused = true, nil
      look(self)
    end)
  end
  link = self.wire:link(target, { patience_ms = self.timeout_ms, max_reply_bytes = MAX_MESSAGE_BYTES }, on_open)
  link.on_message = function(channel, text) on_message(self, channel, text) end
  link.on_lost = function() if self.link == link then self.link, self.is_listening = nil, false end end
  self.link = link
end

--- The user may not subscribe: looking has to do.
function Watcher:refused(value)
  forget_link(self)
  if self.is_refused then return end
  self.is_refused = true
  self.session.log("warn", "store.not_listening", "SUBSCRIBE: " .. value.err)
end

--- The session has a server, again.
function Watcher:start()
  if #self.callbacks == 0 or not self.session:link_in_use() or self.is_closed then return end
  self:listen()
  look(self)
  again(self)
end

function Watcher:close()
  self.is_closed = true
  self.wire:cancel(self.timer)
  forget_link(self)
end

return M

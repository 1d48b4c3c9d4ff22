--- One client: what waits to be sent to it, what it follows, and how it behaves.
--
-- The queue is bounded, in frames and bytes. When a frame does not fit the oldest go, and a frame of type `gap` in
-- their place says how many and which; so a slow client costs a bounded amount of memory, is told what it missed, and
-- never slows another. One that takes nothing at all for STALL_S while frames are dropped is closed (1013).
local M = {}
local Client = {}
Client.__index = Client

M.MAX_FRAMES = 256
M.STALL_S = 30
M.MESSAGES_PER_S, M.MESSAGES_BURST = 20, 60 -- what a client may say

--- Makes a client.
-- @param id number that C knows it by
-- @param identity of admin/auth.lua
-- @param now seconds
function M.new(id, identity, now)
  return setmetatable({ id = id, identity = identity, subscriptions = {}, queue = {}, head = 1, tail = 0, bytes = 0,
    gaps = {}, heard_at = now, opened_at = now, tokens = M.MESSAGES_BURST, tokens_at = now }, Client)
end

--- Returns the number of frames that wait.
function Client:waiting() return self.tail - self.head + 1 end

function Client:take()
  local frame = self.queue[self.head]
  self.queue[self.head] = nil
  self.head = self.head + 1
  self.bytes = self.bytes - #frame.text
  return frame
end

function Client:drop_oldest(now)
  local frame = self:take()
  local channel = frame.channel
  self.stalled_since = self.stalled_since or now
  if not channel then return end -- an answer to a message, not of a channel
  channel.n_dropped = channel.n_dropped + 1
  local gap = self.gaps[channel.name] or { channel = channel.name, dropped = 0, from = frame.sequence }
  gap.dropped, gap.to = gap.dropped + 1, frame.sequence
  self.gaps[channel.name] = gap
end

--- Queues a frame {text, sequence, channel}.
-- @param max_bytes of the queue; one frame may be larger when it is alone
function Client:push(frame, now, max_bytes)
  while self:waiting() > 0 and (self:waiting() >= M.MAX_FRAMES or self.bytes + #frame.text > max_bytes) do
    self:drop_oldest(now)
  end
  self.tail = self.tail + 1
  self.queue[self.tail] = frame
  self.bytes = self.bytes + #frame.text
end

--- The client takes a frame: returns its text, or nil when none waits.
-- @param gap_text function(gap) -> text of a frame that tells of the ones dropped
function Client:pop(gap_text)
  self.stalled_since = nil
  local name, gap = next(self.gaps)
  if gap then
    self.gaps[name] = nil
    return gap_text(gap)
  end
  if self:waiting() == 0 then return nil end
  return self:take().text
end

--- Returns true when the client has taken nothing for too long while frames were dropped.
function Client:is_stalled(now) return self.stalled_since ~= nil and now - self.stalled_since >= M.STALL_S end

--- Counts a message. Returns false when there are too many.
function Client:may_speak(now)
  self.tokens = math.min(M.MESSAGES_BURST, self.tokens + (now - self.tokens_at) * M.MESSAGES_PER_S)
  self.tokens_at = now
  if self.tokens < 1 then return false end
  self.tokens = self.tokens - 1
  return true
end

return M

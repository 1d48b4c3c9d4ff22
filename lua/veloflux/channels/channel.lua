--- One channel: its subscribers, its frames and what is kept of them.
--
-- A frame is encoded once, whoever gets it. The last `history` frames stay, within MAX_HISTORY_BYTES, so that a client
-- that comes back finds what it missed. Frames for one client alone (its first, filtered ones, those of a channel that
-- is per_client) carry the sequence of the newest frame and are not kept.
local json = require "veloflux.pdk.json"

local M = {}
local Channel = {}
Channel.__index = Channel

M.MAX_HISTORY_BYTES = 1024 * 1024

--- Makes a channel.
-- @param definition of definition.lua
-- @param sequence of the frame before its first: larger than that of any channel of an earlier process
function M.new(definition, sequence)
  return setmetatable({ definition = definition, name = definition.name, path = definition.path, sequence = sequence,
    kept = {}, first = 1, last = 0, kept_bytes = 0, subscribers = {}, n_subscribers = 0, n_frames = 0, n_dropped = 0,
    n_errors = 0 }, Channel)
end

--- Puts the text of a frame together. `extra` are further members, as JSON that begins with a comma, or nil.
function M.text(kind, channel, sequence, timestamp, data, extra)
  return ('{"type":%s%s%s,"timestamp":"%s"%s,"data":%s}'):format(json.encode(kind),
    channel and ',"channel":' .. json.encode(channel) or "", sequence and (',"sequence":%.0f'):format(sequence) or "",
    timestamp, extra or "", data)
end

--- Makes a frame of data that is JSON already: what it says holds as of the newest sequence. Returns {sequence,
-- channel, text}.
function Channel:make(kind, timestamp, data, extra)
  return { sequence = self.sequence, channel = self,
    text = M.text(kind or self.definition.type, self.name, self.sequence, timestamp, data, extra) }
end

--- The same with the next sequence.
function Channel:make_next(...)
  self.sequence = self.sequence + 1
  return self:make(...)
end

function Channel:forget_first()
  self.kept_bytes = self.kept_bytes - #self.kept[self.first].text
  self.kept[self.first] = nil
  self.first = self.first + 1
end

--- Keeps a frame for those who come back.
function Channel:keep(frame)
  local history = self.definition.history
  if history == 0 then return end
  self.last = self.last + 1
  self.kept[self.last] = frame
  self.kept_bytes = self.kept_bytes + #frame.text
  while self.last - self.first + 1 > history or (self.kept_bytes > M.MAX_HISTORY_BYTES and self.first < self.last) do
    self:forget_first()
  end
end

--- Returns the frames behind `sequence`, none when there is none; or nil when some of them are not kept, or the number
-- is not one of this channel's.
function Channel:since(sequence)
  if sequence > self.sequence then return nil end
  local frames = {}
  if sequence == self.sequence then return frames end
  local oldest = self.kept[self.first]
  if not oldest or oldest.sequence > sequence + 1 then return nil end
  for i = self.first, self.last do
    if self.kept[i].sequence > sequence then frames[#frames + 1] = self.kept[i] end
  end
  local expected = self.sequence - sequence -- frames that were not kept leave holes
  return #frames == expected and frames or nil
end

return M

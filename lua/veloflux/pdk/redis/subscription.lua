--- Listening to channels: a task of its own that connects, subscribes, hands messages on, and begins again when the
-- connection breaks.
local background = require "veloflux.runtime.background"
local connections = require "veloflux.pdk.redis.connection"
local network = require "veloflux.runtime.network"
local reply = require "veloflux.redis.reply"

local QUIET_MS = 30000 -- without a message: is the server still there?

---@class pdk.redis.subscription
local Subscription = {}
Subscription.__index = Subscription
Subscription.__metatable = false -- its methods serve all plugins

local M = {}

local function tell(self, is_connected, err)
  if self.options.on_state then self.owner:call(self.options.on_state, is_connected, err) end
end

local function subscribe(self)
  local connection, err, code = connections.open(self.client.target, self.client.options, true)
  if not connection then return nil, err, code end
  self.connection = connection
  local command = { self.options.patterns and "PSUBSCRIBE" or "SUBSCRIBE" }
  for i, channel in ipairs(self.channels) do command[i + 1] = channel end
  local ok
  ok, err, code = connection:send(connections.encode { command })
  if not ok then return nil, err, code end
  for _ = 1, #self.channels do
    local confirmed
    confirmed, err, code = connection:read()
    if confirmed == nil then return nil, err, code end
    if reply.is_error(confirmed) then return nil, command[1] .. ": " .. confirmed.err, confirmed.code end
  end
  return true
end

-- Hands messages on until the connection breaks. Returns why it did.
local function listen(self)
  local connection, asked = self.connection, false
  while not self.is_closed do
    local value, err, code = connection:read(QUIET_MS)
    if type(value) == "table" and not reply.is_error(value) then
      asked = false
      if value[1] == "message" then
        self.owner:call(self.on_message, value[3], value[2])
      elseif value[1] == "pmessage" then
        self.owner:call(self.on_message, value[4], value[3])
      end
    elseif code == "timeout" and not asked then
      asked = true
      connection.is_broken = nil -- nothing of a reply had come
      local ok
      ok, err, code = connection:send(connections.encode { { "PING" } })
      if not ok then return err, code end
    elseif value == nil then
      return err, code
    end
  end
end

-- One life of a connection. Returns how long to wait before the next.
local function live(self)
  local ok, err, code = subscribe(self)
  if ok then
    tell(self, true)
    err, code = listen(self)
  end
  if self.connection then self.connection:close() end
  self.connection = nil
  if self.is_closed then return end
  tell(self, false, err)
  return connections.back_off(self.client.target.key, err, code)
end

local function run(self)
  while not self.is_closed do
    local wait_ms = live(self)
    if wait_ms and not self.is_closed then network.wait_signal(self.signal, wait_ms) end
  end
end

--- Starts one; see pdk.redis.
function M.start(client, channels, on_message, options)
  local self = setmetatable({ client = client, channels = channels, on_message = on_message, options = options },
    Subscription)
  self.owner = background.owner()
  self.signal = network.signal()
  self.owner:spawn(run, self, function() self:close() end)
  return self
end

--- Ends it; no message follows.
function Subscription:close()
  if self.is_closed then return end
  self.is_closed = true
  network.raise(self.signal)
  if self.connection then self.connection:close() end
end

return M

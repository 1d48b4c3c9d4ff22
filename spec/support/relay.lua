--- A TCP relay between a client and a server, to cut the wire between them.
--
--     local relay = relays.start(port_of_the_server)
--     relay.port           -- for the client
--     relay:freeze()       -- nothing passes any more, and nobody is told: a network that is gone
--     relay:cut()          -- all connections are reset, and new ones as soon as they are made
--     relay:heal()         -- what stood before is reset, and new connections pass
local uv = require "luv"
local loop = require "support.loop"

local M = {}
local Relay = {}
Relay.__index = Relay

local function close(tcp)
  if not tcp:is_closing() then tcp:close() end
end

local function reset(tcp)
  if not tcp:is_closing() and not tcp:close_reset() then close(tcp) end -- one without a connection is just closed
end

local function drop(pair)
  reset(pair.client)
  reset(pair.server)
end

--- Passes on what one side says. The end of one is the end of both.
local function pass(pair, from, to)
  from:read_start(function(err, data)
    if err or not data then
      close(pair.client)
      return close(pair.server)
    end
    if not to:is_closing() then to:write(data) end
  end)
end

function Relay:accept()
  local pair = { client = uv.new_tcp(), server = uv.new_tcp() }
  self.listener:accept(pair.client)
  if self.state == "cut" then return drop(pair) end
  self.pairs[#self.pairs + 1] = pair
  if self.state == "frozen" then return end
  pair.server:connect("127.0.0.1", self.target, function(err)
    if err then return drop(pair) end
    if self.state ~= "open" or pair.client:is_closing() then return end
    pair.client:nodelay(true)
    pair.server:nodelay(true)
    pass(pair, pair.client, pair.server)
    pass(pair, pair.server, pair.client)
  end)
end

local function drop_all(self)
  for _, pair in ipairs(self.pairs) do drop(pair) end
  self.pairs = {}
end

function Relay:freeze()
  self.state = "frozen"
  for _, pair in ipairs(self.pairs) do
    for _, tcp in pairs(pair) do
      if not tcp:is_closing() then tcp:read_stop() end
    end
  end
end

function Relay:cut()
  self.state = "cut"
  drop_all(self)
end

function Relay:heal()
  drop_all(self)
  self.state = "open"
end

function Relay:close()
  drop_all(self)
  close(self.listener)
end

--- Starts one on a free port.
-- @param target the port of the server
function M.start(target)
  local self = setmetatable({ target = target, pairs = {}, state = "open", listener = uv.new_tcp() }, Relay)
  assert(self.listener:bind("127.0.0.1", 0))
  self.port = self.listener:getsockname().port
  assert(self.listener:listen(128, function(err)
    if not err then self:accept() end
  end))
  loop.defer(function() self:close() end)
  return self
end

return M

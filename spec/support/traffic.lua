--- Clients that keep asking while something else happens, and remember every failure.
--
--     local traffic = traffics.start { port = server.ports.http, clients = 8 }
--     ...
--     assert.same({}, traffic:stop())
local loop = require "support.loop"
local clients = require "support.client"

local M = {}
local Traffic = {}
Traffic.__index = Traffic

local function ask(client, path)
  client:request("GET", path)
  local response, fault = client:read_response "GET"
  if not response then return nil, fault end
  if response.status ~= 200 then return nil, ("status %d: %s"):format(response.status, response.body) end
  if not response.complete then return nil, response.fault end
  return response
end

local function says_close(response)
  return (response:get "connection" or ""):lower():find "close" ~= nil
end

-- One connection: up to `per_connection` requests, fewer when the server says close.
local function visit(self)
  local connected, client = pcall(clients.connect, self.port)
  if not connected then return nil, client end
  for _ = 1, self.per_connection do
    local response, fault = ask(client, self.path)
    if not response then
      client:close()
      return nil, fault
    end
    self.answers = self.answers + 1
    self.changed:notify()
    if says_close(response) or self.is_stopping then break end
  end
  client:close()
  return true
end

local function run(self)
  while not self.is_stopping do
    local ok, fault = visit(self)
    if not ok then self.failures[#self.failures + 1] = tostring(fault) end
  end
  self.running = self.running - 1
  self.changed:notify()
end

--- Starts asking.
-- @param options table: port, clients (4), per_connection (3), path ("/")
-- @return traffic: answers (how many were right so far), failures (list)
function M.start(options)
  local self = setmetatable({
    port = options.port, path = options.path or "/", per_connection = options.per_connection or 3, answers = 0,
    failures = {}, running = options.clients or 4, changed = loop.condition(), is_stopping = false,
  }, Traffic)
  for _ = 1, self.running do loop.spawn(run, self) end
  return self
end

--- Awaits `count` more right answers.
function Traffic:wait_answers(count)
  local goal = self.answers + count
  self.changed:wait(("%d answers"):format(count), function() return self.answers >= goal end)
end

--- Lets the clients finish. Returns the list of failures.
function Traffic:stop()
  self.is_stopping = true
  self.changed:wait("the clients", function() return self.running == 0 end)
  return self.failures
end

return M

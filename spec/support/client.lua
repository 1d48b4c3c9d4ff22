--- A raw HTTP client: sends exactly the bytes it is given, reads answers strictly (support.message).
--
--     local client = clients.connect(server.ports.http)
--     client:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
--     local response = client:read_response()
--     client:expect_end()
local loop = require "support.loop"
local message = require "support.message"
local stream = require "support.stream"

local M = {}
local Client = {}
Client.__index = Client

--- Connects. Fails the spec when that is impossible.
-- @param port integer
-- @param options table or nil: see support.stream.connect
function M.connect(port, options)
  local conn, err = stream.connect(port, options)
  if not conn then error(("cannot connect to port %d: %s"):format(port, err), 2) end
  return setmetatable({ stream = conn }, Client)
end

--- Sends bytes: a string, or a list of strings written one after the other, each in a write of its own.
-- @return true, or nil and the reason
function Client:send(bytes)
  if type(bytes) == "string" then return self.stream:write(bytes) end
  for _, chunk in ipairs(bytes) do
    local ok, reason = self.stream:write(chunk)
    if not ok then return nil, reason end
  end
  return true
end

--- Sends a well-formed request.
-- @param method, target strings
-- @param fields map or list of { name, value }, or nil; Host is added unless given
-- @param body string or nil, sent with Content-Length
function Client:request(method, target, fields, body)
  local lines, has_host = { ("%s %s HTTP/1.1"):format(method, target) }, false
  local function add(name, value)
    has_host = has_host or name:lower() == "host"
    lines[#lines + 1] = name .. ": " .. value
  end
  for name, value in pairs(fields or {}) do
    if type(name) == "number" then add(value[1], value[2]) else add(name, value) end
  end
  if not has_host then table.insert(lines, 2, "Host: localhost") end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return self:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or ""))
end

--- Reads one response head, interim or final.
-- @param method of the request it answers, "GET" by default
-- @return message, or nil and why
function Client:read_head(method)
  return message.read_head(self.stream, "response", method or "GET")
end

--- Reads the body that belongs to a head.
function Client:read_body(response) return message.read_body(self.stream, response) end

--- Reads one final response; interim ones before it are collected in its list `interim`.
-- @param method of the request it answers, "GET" by default
-- @return message (look at complete and fault), or nil and why
function Client:read_response(method)
  local interim = {}
  while true do
    local response, fault = self:read_head(method)
    if not response then return nil, fault end
    if response.status >= 200 or response.status == 101 then
      response.interim = interim
      return self:read_body(response)
    end
    interim[#interim + 1] = response
  end
end

--- Awaits the end of the connection. Returns "eof" or "reset", and the bytes that came before it.
function Client:expect_end()
  local rest, ended = self.stream:read_rest "the peer's close"
  return ended, rest
end

--- Half-closes: no more requests, answers are still read.
function Client:shutdown() return self.stream:shutdown() end

--- Closes both directions.
function Client:close() self.stream:close() end

--- Closes with RST.
function Client:reset() self.stream:reset() end

--- One request on a connection of its own.
-- @return its response; raises when there is none
function M.request(port, method, target, fields, body)
  local client = M.connect(port)
  client:request(method, target, fields, body)
  local response, fault = client:read_response(method)
  client:close()
  if not response then error(("%s %s got no answer: %s"):format(method, target, fault), 2) end
  return response
end

--- GETs a path on a connection of its own. Returns the response.
function M.get(port, path, fields) return M.request(port, "GET", path, fields) end

--- Runs several functions at once; returns when all have finished.
function M.together(...)
  local left, finished = select("#", ...), loop.condition()
  for _, fn in ipairs { ... } do
    loop.spawn(function()
      fn()
      left = left - 1
      finished:notify()
    end)
  end
  finished:wait("all branches", function() return left == 0 end)
end

return M

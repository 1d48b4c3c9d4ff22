--- Origin servers that specs script byte by byte.
--
--     local origin = origins.start(function(conn, request)
--       conn:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
--     end)
--
-- The handler runs in a coroutine per connection, once per request, and may await anything. It is given the connection
-- (a support.stream: write, shutdown, reset, close, pause, ...) and the request (a support.message). Requests are read
-- strictly: one that is not well-formed is recorded in `faults`, and the connection is closed.
local cjson = require "cjson"
local loop = require "support.loop"
local message = require "support.message"
local ports = require "support.ports"
local stream = require "support.stream"
local uv = require "luv"

local M = {}
local Origin = {}
Origin.__index = Origin

--- Answers 200 with a JSON description of the request: method, target, version, fields and trailers (lists of pairs),
-- framing, body, origin (options.name), connection and request (both counted from 1).
function M.echo(conn, request)
  local fields, trailers = {}, {}
  for i, field in ipairs(request.fields) do fields[i] = { field.name, field.value } end
  for i, field in ipairs(request.trailers or {}) do trailers[i] = { field.name, field.value } end
  local body = cjson.encode {
    method = request.method, target = request.target, version = request.version, fields = fields, trailers = trailers,
    framing = request.framing, body = request.body, origin = request.origin.name,
    connection = request.connection, request = request.number,
  }
  conn:write(M.response(200, { ["Content-Type"] = "application/json" }, body, request.method))
end

--- Formats a response with Content-Length.
-- @param fields map or nil
-- @param method of the request: no body is appended for HEAD
function M.response(status, fields, body, method)
  local lines = { ("HTTP/1.1 %d X"):format(status) }
  for name, value in pairs(fields or {}) do lines[#lines + 1] = name .. ": " .. value end
  lines[#lines + 1] = "Content-Length: " .. #(body or "")
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (method ~= "HEAD" and body or "")
end

local function serve_request(self, conn, index, number)
  local request, fault = message.read_head(conn, "request")
  if not request then
    if fault:match "^malformed" or fault:match "^cut short" then self.faults[#self.faults + 1] = fault end
    return false
  end
  request.connection, request.number, request.origin = index, number, self
  self.requests[#self.requests + 1] = request
  self.changed:notify()
  if self.eager then
    message.read_body(conn, request)
    if request.fault and request.fault:match "^malformed" then self.faults[#self.faults + 1] = request.fault end
  end
  self.handler(conn, request)
  self.changed:notify()
  if conn.closed or (request.body and not request.complete) then return false end
  message.read_body(conn, request)
  return request.complete
end

local function serve(self, tcp)
  self.accepted = self.accepted + 1
  local index, number = self.accepted, 0
  local conn = stream.wrap(tcp, ("%s connection %d"):format(self.name, index), { paused = self.paused })
  self.connections[index] = conn
  self.changed:notify()
  if self.preface then self.preface(conn) end
  repeat number = number + 1 until not serve_request(self, conn, index, number)
  self.changed:notify()
  if not conn.keep_open then conn:close() end
end

--- Starts an origin on an ephemeral port of 127.0.0.1. The scope closes it and its connections.
-- @param handler function(conn, request), or nil for echo
-- @param options table or nil: name; port; backlog; eager = false leaves the body to the handler (origins.read_body);
--   paused = true starts connections without reading; preface, function(conn) that reads what comes before requests
-- @return origin: port, accepted (number of connections), connections, requests (all, in order), faults; fields may be
--   reassigned at any time, `handler` too
function M.start(handler, options)
  options = options or {}
  local self = setmetatable({
    name = options.name or "origin", handler = handler or M.echo, eager = options.eager ~= false,
    paused = options.paused, preface = options.preface,
    scope = loop.current_scope(), accepted = 0, connections = {}, requests = {}, faults = {},
    changed = loop.condition(),
  }, Origin)
  self.listener = uv.new_tcp()
  assert(self.listener:bind(options.host or "127.0.0.1", options.port or 0))
  assert(self.listener:listen(options.backlog or 1024, function(err)
    assert(not err, err)
    local tcp = uv.new_tcp()
    self.listener:accept(tcp)
    loop.spawn_in(self.scope, serve, self, tcp)
  end))
  self.port = self.listener:getsockname().port
  self.address = (options.host or "127.0.0.1") .. ":" .. self.port
  self.host = options.host
  loop.defer(function() self:shut() end)
  return self
end

--- Reads the body of a request whose origin is not eager.
function M.read_body(conn, request) return message.read_body(conn, request) end

--- Awaits that `count` requests have arrived in all. Returns the last of them.
function Origin:wait_requests(count)
  return self.changed:wait(("%d requests at %s"):format(count, self.name), function() return self.requests[count] end)
end

--- Awaits that `count` connections were accepted in all. Returns the last of them.
function Origin:wait_connections(count)
  return self.changed:wait(("%d connections at %s"):format(count, self.name),
    function() return self.connections[count] end)
end

--- Ends every connection with FIN and awaits that the peer closes too, so that nothing of the past is reused.
-- What still arrives is served first.
function Origin:retire_connections()
  local connections = self.connections
  for _, conn in pairs(connections) do conn:shutdown() end
  for _, conn in pairs(connections) do
    conn.changed:wait("the peer's close of " .. conn.name, function() return conn.ended end)
    conn:close()
  end
  for index in pairs(connections) do connections[index] = nil end
end

--- Stops listening: further connections are refused, as the port is nobody else's until the scope ends; those that
-- stand go on.
function Origin:refuse()
  if self.listener:is_closing() then return end
  self.listener:close()
  ports.hold(self.port, self.host)
end

--- Closes every connection, and the listener as refuse() does.
function Origin:close()
  self:refuse()
  for _, conn in pairs(self.connections) do conn:close() end
end

--- Closes everything, and leaves the port to others.
function Origin:shut()
  if not self.listener:is_closing() then self.listener:close() end
  for _, conn in pairs(self.connections) do conn:close() end
end

return M

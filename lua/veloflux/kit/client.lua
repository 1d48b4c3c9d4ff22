--- Clients of a gateway: each request of a spec is a task with a connection of its own.
--
-- A request: method, path (with query), host, headers, body (text, or a list of pieces); and how it is sent:
--   ip, port  of the client
--   listener  that it connects to
--   delay     seconds before it begins
--   interval  seconds between its pieces
--   chunked   true: without a length
--   raw       text that is sent instead
-- An answer: status, reason, headers, fields, body, interim (statuses before it), elapsed (seconds); `error` is
-- "closed" or "reset" when it did not come whole.
local ffi = require "ffi"
local message = require "veloflux.kit.message"
local native = require "veloflux.kit.native"
local wires = require "veloflux.kit.wire"
local world = require "veloflux.kit.world"

local M = {}

local Pending = {}
Pending.__index = Pending

local IP, PORT, HOST = "198.51.100.1", 40000, "example.test"

local function connect(gateway, request)
  local listener, ip = request.listener or "http", request.ip or IP
  local fd = native.C.vf_kit_connect(gateway.kit, listener, ip, request.port or PORT)
  if fd >= 0 then
    local wire = wires.new(gateway.kit, fd)
    table.insert(gateway.wires, wire)
    return wire
  end
  error(("no connection from %s to the listener %s: %s"):format(ip, listener, ffi.string(native.C.uv_strerror(fd))), 0)
end

--- Returns the texts that a request is sent as.
local function parts_of(gateway, request)
  if request.raw then return gateway.random and gateway.random:cut(request.raw) or { request.raw } end
  local method, fields = request.method or "GET", message.fields_of(request.headers)
  if not message.has(fields, "host") then table.insert(fields, 1, { "Host", request.host or HOST }) end
  local pieces = message.body(request.body or "", fields, { chunked = request.chunked or type(request.body) == "table",
    random = gateway.random, announce_empty = method == "POST" or method == "PUT" or method == "PATCH" })
  local head = message.head(("%s %s HTTP/1.1"):format(method, request.path or "/"), fields)
  return message.join(head, pieces, request.interval or not gateway.random or gateway.random:below(2) == 0)
end

local function read_answer(wire, request)
  local answer = { interim = {} }
  repeat
    local line, why, rest = message.read_head(wire)
    if not line then
      answer.error, answer.body = why, rest
      return answer
    end
    answer.headers, answer.fields = why, rest
    answer.status = tonumber(line:match "^HTTP/1%.%d (%d%d%d)")
    answer.reason = line:match "^HTTP/1%.%d %d%d%d ?(.*)$"
    local is_interim = answer.status and answer.status >= 100 and answer.status < 200 and answer.status ~= 101
    if is_interim then table.insert(answer.interim, answer.status) end
  until not is_interim
  if request.method == "HEAD" or answer.status == 204 or answer.status == 304 then
    answer.body = ""
    return answer
  end
  local body, why, rest = message.read_body(wire, answer.headers, true)
  answer.body, answer.error = body or rest, not body and why or nil
  return answer
end

local function play(gateway, pending)
  local request = pending.request
  if request.delay then world.sleep(request.delay) end
  local begun = world.now_ms()
  pending.wire = connect(gateway, request)
  gateway.world:spawn(function()
    pending.wire:send_pieces(parts_of(gateway, request), request.interval)
  end)
  local answer = read_answer(pending.wire, request)
  answer.elapsed = (world.now_ms() - begun) / 1000
  pending.wire:close()
  pending.done = answer
end

--- Begins a request. It goes on while the gateway runs.
function M.begin(gateway, request)
  local pending = setmetatable({ gateway = gateway, request = request }, Pending)
  gateway.world:spawn(play, gateway, pending)
  gateway.world:settle()
  return pending
end

--- Waits for the answer and returns it.
function Pending:answer()
  local what = ("the answer to %s %s"):format(self.request.method or "GET", self.request.path or "/")
  self.gateway.world:drive(function() return self.done end, what)
  return self.done
end

--- Returns true once the answer is there.
function Pending:is_done() return self.done ~= nil end

--- The client goes away without waiting for the answer.
function Pending:abort()
  if self.gateway.kit == nil then return end
  if self.wire then self.wire:reset() end
  self.gateway.world:settle()
end

return M

--- Hosts that the gateway connects to: backends, and whatever a plugin calls. A host is a function of the spec,
-- function(request) -> answer, or one that speaks for itself on the wire (kit.wire).
--
-- An answer: status, reason, headers, body; and how it is sent:
--   delay     seconds before it begins
--   interval  seconds between its pieces
--   chunked   true: without a length
--   cut       bytes of the body after which the connection is closed
--   reset     true: the connection is broken off instead; a number: after so many bytes of the body
--   close     true: the connection is closed behind it
--   raw       text that is sent instead of all that
local message = require "veloflux.kit.message"
local world = require "veloflux.kit.world"

local M = {}

--- Returns the pieces up to a number of bytes.
local function first_bytes(pieces, count)
  local result = {}
  for _, piece in ipairs(pieces) do
    if count <= 0 then break end
    result[#result + 1] = piece:sub(1, count)
    count = count - #piece
  end
  return result
end

local function normal(answer)
  if answer == nil then return { status = 200 } end
  if type(answer) == "number" then return { status = answer } end
  if type(answer) == "string" then return { status = 200, body = answer } end
  if type(answer) == "table" then return answer end
  error(("a host answered with a %s: expected a table, a status or a text"):format(type(answer)), 0)
end

local function has_no_body(request, status)
  return request.method == "HEAD" or status == 204 or status == 304
end

--- Breaks the connection off, or closes it, in the middle.
local function give_up(wire, answer)
  world.pass()
  if answer.reset then return wire:reset() end
  wire:hang_up()
end

local function send_whole(wire, request, answer, random)
  local status, fields = answer.status or 200, message.fields_of(answer.headers)
  local pieces = message.body(answer.body or "", fields, { chunked = answer.chunked, random = random,
    announce_empty = not has_no_body(request, status) })
  if has_no_body(request, status) then pieces = {} end
  local broken_at = type(answer.reset) == "number" and answer.reset or answer.cut
  if broken_at then pieces = first_bytes(pieces, broken_at) end
  if answer.close and not message.has(fields, "connection") then fields[#fields + 1] = { "Connection", "close" } end
  local head = message.head(("HTTP/1.1 %d %s"):format(status, answer.reason or message.reason(status)), fields)
  local parts = message.join(head, pieces, answer.interval or not random or random:below(2) == 0)
  local ok = wire:send_pieces(parts, answer.interval)
  if broken_at then return give_up(wire, answer) end
  if not ok then return wire:close() end
  if answer.close then return wire:hang_up() end
  return true
end

--- Sends an answer. Returns true when the connection goes on.
local function send(wire, request, answer, random)
  if answer.delay then world.sleep(answer.delay) end
  if answer.reset == true then return wire:reset() end
  if not answer.raw then return send_whole(wire, request, answer, random) end
  if wire:send_pieces(random and random:cut(answer.raw) or { answer.raw }, answer.interval) and not answer.close then
    return true
  end
  return wire:hang_up()
end

--- Reads a request. Returns nil when the connection has ended.
local function read_request(wire, place)
  local line, headers, fields = message.read_head(wire)
  local method, target = (line or ""):match "^(%S+) (%S+) HTTP/1%.%d$"
  if not method then return nil end
  if (headers.expect or ""):lower() == "100-continue" then wire:send "HTTP/1.1 100 Continue\r\n\r\n" end
  local body, why, rest = message.read_body(wire, headers)
  return { method = method, path = target, headers = headers, fields = fields, body = body or rest, error = why,
    host = place.host, port = place.port, time = world.now_ms() / 1000 }
end

--- What a host does on one connection.
-- @param wire of kit/wire.lua
-- @param place {host, port}: as the gateway has asked for it
-- @param handler function(request) -> answer
-- @param options {random, seen = function(request)}
function M.serve(wire, place, handler, options)
  while true do
    local request = read_request(wire, place)
    if not request then return wire:hang_up() end
    options.seen(request)
    if not send(wire, request, normal(handler(request)), options.random) then return end
  end
end

return M

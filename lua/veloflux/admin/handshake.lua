--- The request that opens a WebSocket (RFC 6455 section 4.2.1): what is no such request is answered here, in HTTP.
-- Authentication, permission and the origin were judged before, as for every request of the admin address.
local crypto = require "veloflux.pdk.crypto"
local encoding = require "veloflux.pdk.encoding"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"

local M = {}

local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" -- RFC 6455 section 1.3
local VERSION = "13"
local KEY_BYTES = 16
local UPGRADE = { "Upgrade", "websocket", "Sec-WebSocket-Version", VERSION }

M.PROTOCOL = "veloflux" -- for clients that have to name one

local function has_token(field, token)
  for item in (field or ""):gmatch "[^,]+" do
    if item:lower():match "^%s*(.-)%s*$" == token then return true end
  end
  return false
end

--- Returns the bearer token that stands among the subprotocols, as bearer.TOKEN, or nil: browsers can set no other
-- field of the request.
function M.token_of(request)
  local field = request.headers["sec-websocket-protocol"] or ""
  return ("," .. field):match ",%s*bearer%.([^%s,]+)"
end

local function upgrade_required(detail) return nil, problem.new("upgrade_required", detail, { headers = UPGRADE }) end

local function invalid(pointer, detail)
  return nil, problem.new("invalid", detail, { errors = { { pointer = pointer, detail = detail } } })
end

--- Returns the sequence that the client has seen last, nil: none; or false and a problem.
local function since_of(text)
  if text == nil then return nil end
  local since = text:find "^%d+$" and #text <= 15 and tonumber(text)
  if since then return since end
  local _, refused = invalid("?since", "since: expected the sequence of a frame, a whole number.")
  return false, refused
end

--- Judges a request.
-- @param request of the router
-- @return {accept = Sec-WebSocket-Accept, protocol = the subprotocol or nil, since = number or nil}; or nil and a
-- problem
function M.judge(request)
  local headers = request.headers
  local known, refused = parameters.read(request, { "since", "token" })
  if not known then return nil, refused end
  if request.method ~= "GET" or not has_token(headers.upgrade, "websocket")
    or not has_token(headers.connection, "upgrade") then
    return upgrade_required "This path speaks WebSocket: ask for it with Upgrade: websocket."
  end
  if request.http_minor == 0 then return upgrade_required "WebSocket needs HTTP/1.1." end
  if headers["sec-websocket-version"] ~= VERSION then
    return upgrade_required "This version of WebSocket is not known; 13 is."
  end
  if request.body ~= "" then return invalid("", "The request has a body.") end
  local key = headers["sec-websocket-key"]
  local bytes = key and #key == 24 and encoding.base64_decode(key, true)
  if not bytes or #bytes ~= KEY_BYTES then
    return invalid("Sec-WebSocket-Key", "Sec-WebSocket-Key: expected 16 bytes in base64.")
  end
  local since, bad = since_of(known.since)
  if since == false then return nil, bad end
  return { accept = encoding.base64_encode(crypto.hash("sha1", key .. GUID)), since = since,
    protocol = has_token(headers["sec-websocket-protocol"], M.PROTOCOL) and M.PROTOCOL or nil }
end

return M

--- An HTTP/1.1 client for plugins, on the proxy's own parser and connections.
--
--     local res, err, code = http.get("http://auth.internal/check", { headers = { ["X-User"] = name }, timeout = 2 })
--     if not res then return pdk.response.exit(503) end
--     if res.status == 200 and res.headers.content_type == "application/json" then ... res.body ... end
--
-- Piece by piece, both ways:
--
--     local res = http.request("http://store/upload", { method = "PUT", body = next_piece, stream = true })
--     for piece in res.pieces do ... end       -- res.err, res.code tell when it ended early
--     res:close()
--
-- A pool of the model, by its name (in workers; Host is the pool's name unless given):
--
--     local res, err, code = http.request { pool = "auth", path = "/check?user=ana", method = "GET" }
--
-- There the pool's balancer chooses, with the client's address or the request's own hash key where it wants one;
-- health, limits, PROXY header and timeouts of the pool hold; a backend that takes no connection is failed over; all of
-- it counts as requests of clients do.
--
-- Answers are read as strictly as those of backends (RFC 9112); interim ones (1xx) are skipped; compressed content is
-- not decoded. Connections are kept for each host and port, or backend, in the proxy's own upstream pool
-- (limits.upstream_keepalive), where requests of clients use them, too. A request on a kept connection that turns out
-- to be closed is sent once more on a new one when its method is idempotent (RFC 9110 section 9.2.2) and its content
-- can be sent again.
--
-- https is verified by the system's authorities and by name; ssl_verify and ssl_server_name change that. To a pool it
-- is spoken when the pool has `tls`.
--
-- What fails returns nil, a message for people and a code: "invalid_url", "not_available" (pools outside of workers),
-- "tls" (the handshake, or the server's certificate), "invalid" (a header or method that HTTP forbids), "resolve",
-- "refused", "unreachable", "timeout", "closed", "reset", "malformed", "too_large", "too_many_redirects", "aborted"
-- (the content iterator said so), "too_many", "memory", "failed"; of pools "unknown" (there is none of that name) and
-- "unavailable" (it has no backend for this).
local calls = require "veloflux.pdk.http.call"
local connections = require "veloflux.pdk.http.connection"
local network = require "veloflux.runtime.network"

local MOST_REDIRECTS = 20
local REDIRECT_BYTES = 65536 -- of content that is read to keep the connection

---@class pdk.http
local M = {}

---@class pdk.http.options
---@field method? string GET unless given, POST when there is content
---@field headers? table<string, string|number|(string|number)[]> Host replaces the URL's
---@field body? string|fun():string? content, or an iterator of its pieces; sent chunked. nil and a message ends the
-- request
---@field timeout? number seconds for everything; no limit of its own unless given
---@field connect_timeout? number 3: look-up and connection; of a pool: its timeouts.connect
---@field send_timeout? number 60: until the server has taken one piece of the request
---@field response_timeout? number 60: between two pieces of the answer's head; of a pool: its timeouts.response
---@field read_timeout? number 60: between two pieces of its content; of a pool: its timeouts.response_body
---@field max_body_bytes? integer 1 MiB: more content is "too_large"; does not bound streamed content
---@field stream? boolean true: content is read piece by piece, see response
---@field max_redirects? integer 0: answers 301, 302, 303, 307 and 308 are followed up to this often (20 at most)
---@field keepalive? number|false seconds that the connection may wait for reuse, 60 unless given (of a pool: its
-- timeouts.upstream_idle); false closes it
---@field unix_socket? string path: connect there, not to the URL's host
---@field ssl_verify? boolean true: an https server has to have a good certificate with its name
---@field ssl_server_name? string the name that is asked for and verified, instead of the URL's host
---@field pool? string instead of a URL: the pool of this name
---@field path? string with pool: "/path?query", encoded; "/" unless given
---@field tenant? string with pool: whose it is, or may use it; the route's, or default, unless given
---@field hash_key? string with pool: what consistent_hash goes by, instead of the request that the plugin runs for

---@class pdk.http.response
---@field status integer
---@field reason string
---@field headers table names in lower case, found in any case and with _ for -; repeated fields are lists
---@field body? string nil when streamed
---@field trailers? table like headers, once the content was read
---@field url string of the answer, after redirects
---@field pieces? fun():string? streamed: returns the next piece of content, then nil
---@field err? string streamed: why the content ended early
---@field code? string
local Response = {}
Response.__index = Response
Response.__metatable = false -- its methods serve all plugins

--- Ends a streamed answer; what was not read of it is lost, and its connection too. May be repeated.
function Response:close()
  if self.connection then
    self.connection:close()
    self.target:finish()
  end
  self.connection = nil
end

-- Sends the request and reads the answer's head, once.
-- @return connection, status, reason, fields; or nil, message, code, and whether it may be sent again
local function attempt(call)
  local connection, err, code = connections.prepare {
    method = call.method, target = call.url.target, host_header = call.host_header, fields = call.fields,
  }
  if not connection then return nil, err, code end
  connection.deadline, connection.send_ms = call.deadline, call.send_ms
  connection.response_ms, connection.read_ms = call.response_ms, call.read_ms
  local stream, why, why_code, is_kept = call.target:connect(call)
  if not stream then return nil, why, why_code end
  local ok, status, reason, fields
  ok, err, code = connection:send(stream, call.body)
  if ok then
    call.target:sent()
    status, reason, fields = connection:read_head()
  end
  if status then
    call.target:answered(status)
    return connection, status, reason, fields
  end
  if ok then err, code = reason, fields end
  connection:close()
  local is_stale = is_kept and connection:is_stale() and (code == "closed" or code == "reset")
  if not (is_stale and call.may_repeat) then call.target:failed(code, not connection:is_stale()) end
  return nil, err, code, is_stale
end

-- Sends the request, again on a new connection when a kept one turned out to be closed.
local function exchange(call)
  local ok, err, code = calls.aim(call)
  if not ok then return nil, err, code end
  local connection, status, reason, fields = attempt(call)
  if not connection and fields and call.may_repeat then
    call.fresh = true
    connection, status, reason, fields = attempt(call)
  end
  if not connection then call.target:finish() end
  return connection, status, reason, fields
end

-- The answer was read: the connection goes back.
local function release(call, connection)
  connection:release(function(stream)
    if call.keeps then call.target:keep(stream, call.idle_ms) else stream:close() end
  end)
  call.target:finish()
end

-- It was not: the connection goes.
local function give_up(call, connection, code)
  connection:close()
  call.target:failed(code, true)
  call.target:finish()
end

local function streamed(call, connection, response)
  response.connection, response.target = connection, call.target
  response.pieces = function()
    if not response.connection then return nil end
    local piece, err, code = connection:read_body(false)
    if piece and piece ~= "" then
      call.target:passed(0, #piece)
      return piece
    end
    if piece then
      response.trailers = connection:trailers()
      release(call, connection)
    else
      response.err, response.code = err, code
      give_up(call, connection, code)
    end
    response.connection = nil
    return nil
  end
  if connection:is_done() then response.pieces() end
  return response
end

local function read_answer(call, connection, status, reason, fields)
  local response = setmetatable({ status = status, reason = reason, headers = fields, url = call.text }, Response)
  if call.stream then return streamed(call, connection, response) end
  local body, err, code = connection:read_body(true, call.max_body_bytes)
  if not body then
    give_up(call, connection, code)
    return nil, err, code
  end
  call.target:passed(0, #body)
  response.body, response.trailers = body, connection:trailers()
  release(call, connection)
  return response
end

-- The content of a redirect is not wanted, but the connection is.
local function finish_redirect(call, connection)
  if connection:read_body(true, REDIRECT_BYTES) then
    release(call, connection)
  else
    give_up(call, connection, "closed")
  end
end

--- Sends a request and reads its answer. With `pool` among the options it is called with those alone.
---@async
---@param url string|pdk.http.options "http://host[:port]/path?query", encoded
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.request(url, options)
  network.check "http.request"
  if type(url) == "table" then url, options = nil, url end
  options = options or {}
  local call, err, code = calls.begin(url, options)
  if not call then return nil, err, code end
  local most = options.max_redirects or 0
  local left = math.min(most, MOST_REDIRECTS)
  while true do
    local connection, status, reason, fields = exchange(call)
    if not connection then return nil, calls.shown(call.method .. " " .. call.text) .. ": " .. status, reason end
    local next_call, why, why_code = false, nil, nil
    if most > 0 then next_call, why, why_code = calls.redirected(call, status, fields) end
    if next_call == false then return read_answer(call, connection, status, reason, fields) end
    finish_redirect(call, connection)
    if next_call == nil then return nil, why, why_code end
    if left == 0 then return nil, "more redirects than allowed", "too_many_redirects" end
    left, call = left - 1, next_call
  end
end

-- Returns URL and options of a call with that method. Options alone may stand in the place of the URL.
local function with(url, options, method, body)
  local own = {}
  if type(url) == "table" then url, options = nil, url end
  for name, value in pairs(options or {}) do own[name] = value end
  own.method = method
  if body ~= nil then own.body = body end
  return url, own
end

--- GET, see request.
---@async
---@param url string|pdk.http.options
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.get(url, options) return M.request(with(url, options, "GET")) end

--- HEAD, see request.
---@async
---@param url string|pdk.http.options
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.head(url, options) return M.request(with(url, options, "HEAD")) end

--- POST, see request.
---@async
---@param url string|pdk.http.options
---@param body string|fun():string?
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.post(url, body, options) return M.request(with(url, options, "POST", body)) end

return M

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
-- Answers are read as strictly as those of backends (RFC 9112); interim ones (1xx) are skipped; compressed content is
-- not decoded. Connections are kept for each host and port in the worker and used by all plugins. A request on a kept
-- connection that turns out to be closed is sent once more on a new one when its method is idempotent (RFC 9110
-- section 9.2.2) and its content can be sent again.
--
-- What fails returns nil, a message for people and a code: "invalid_url", "not_available" (https), "invalid" (a header
-- or method that HTTP forbids), "resolve", "refused", "unreachable", "timeout", "closed", "reset", "malformed",
-- "too_large", "too_many_redirects", "aborted" (the content iterator said so), "too_many", "memory", "failed".
local connections = require "veloflux.pdk.http.connection"
local headers = require "veloflux.pdk.http.headers"
local network = require "veloflux.runtime.network"
local pool = require "veloflux.runtime.stream_pool"
local streams = require "veloflux.runtime.stream"
local urls = require "veloflux.pdk.http.url"

local CONNECT_S, SEND_S, RESPONSE_S, READ_S = 3, 60, 60, 60
local IDLE_S, KEPT_PER_HOST = 60, 32
local MAX_BODY_BYTES = 1024 * 1024
local MOST_REDIRECTS = 20
local REDIRECT_BYTES = 65536 -- of content that is read to keep the connection
local USER_AGENT = "VeloFlux"
local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local SECRETS = { authorization = true, cookie = true, ["proxy-authorization"] = true }
local OF_CONTENT = { ["content-type"] = true, ["content-encoding"] = true, ["content-language"] = true,
  ["content-location"] = true }

---@class pdk.http
local M = {}

---@class pdk.http.options
---@field method? string GET unless given, POST when there is content
---@field headers? table<string, string|number|(string|number)[]> Host replaces the URL's
---@field body? string|fun():string? content, or an iterator of its pieces; sent chunked. nil and a message ends the
-- request
---@field timeout? number seconds for everything; no limit of its own unless given
---@field connect_timeout? number 3: look-up and connection
---@field send_timeout? number 60: until the server has taken one piece of the request
---@field response_timeout? number 60: between two pieces of the answer's head
---@field read_timeout? number 60: between two pieces of its content
---@field max_body_bytes? integer 1 MiB: more content is "too_large"; does not bound streamed content
---@field stream? boolean true: content is read piece by piece, see response
---@field max_redirects? integer 0: answers 301, 302, 303, 307 and 308 are followed up to this often (20 at most)
---@field keepalive? number|false seconds that the connection may wait for reuse, 60 unless given; false closes it
---@field unix_socket? string path: connect there, not to the URL's host

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
  if self.connection then self.connection:close() end
  self.connection = nil
end

local function seconds(options, name, default)
  return network.milliseconds(options[name], default, name)
end

local function add_fields(list, fields, name, value)
  if type(value) == "table" then
    for _, one in ipairs(value) do add_fields(list, fields, name, one) end
  elseif type(value) == "string" or type(value) == "number" then
    list[#list + 1] = { name, tostring(value) }
  else
    error(("headers: %s: expected a string, got %s"):format(tostring(name), type(value)), 4)
  end
end

-- Makes the field lines of a request; `skip` says which names to leave out.
local function fields_of(options, skip)
  local list, given = {}, options.headers or {}
  for name, value in pairs(given) do
    if type(name) ~= "string" then error("headers: expected names, got a " .. type(name), 3) end
    local lower = name:lower()
    if lower ~= "host" and lower ~= "content-length" and not (skip and skip[lower]) then
      add_fields(list, given, name, value)
    end
  end
  if not headers.first(given, "user-agent") then list[#list + 1] = { "User-Agent", USER_AGENT } end
  if not headers.first(given, "accept") then list[#list + 1] = { "Accept", "*/*" } end
  return list
end

local function connect(call)
  local kept = not call.fresh and pool.take(call.key)
  if kept then return kept, nil, nil, true end
  local stream, err, code = streams.new()
  if not stream then return nil, err, code end
  stream.connect_ms = call.connect_ms
  if call.deadline then
    local left = call.deadline - network.now_ms()
    if left <= 0 then return nil, "connect: timed out", "timeout" end
    stream.connect_ms = math.min(left, stream.connect_ms)
  end
  local ok
  if call.unix_socket then
    ok, err, code = stream:connect(call.unix_socket)
  else
    ok, err, code = stream:connect(call.url.host, call.url.port)
  end
  if not ok then return nil, err, code end
  return stream
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
  local stream, why, why_code, is_kept = connect(call)
  if not stream then return nil, why, why_code end
  local ok, status, reason, fields
  ok, err, code = connection:send(stream, call.body)
  if ok then status, reason, fields = connection:read_head() end
  if status then return connection, status, reason, fields end
  if ok then err, code = reason, fields end
  connection:close()
  return nil, err, code, is_kept and connection:is_stale() and (code == "closed" or code == "reset")
end

-- Sends the request, again on a new connection when a kept one turned out to be closed.
local function exchange(call)
  local connection, status, reason, fields = attempt(call)
  local was_stale = not connection and fields
  if not was_stale or not call.may_repeat then return connection, status, reason, fields end
  call.fresh = true
  return attempt(call)
end

local function release(call, connection)
  connection:release(function(stream)
    pool.give(call.key, stream, call.idle_ms, call.keeps and KEPT_PER_HOST or 0)
  end)
end

local function streamed(call, connection, response)
  response.connection = connection
  response.pieces = function()
    if not response.connection then return nil end
    local piece, err, code = connection:read_body(false)
    if piece and piece ~= "" then return piece end
    if piece then
      response.trailers = connection:trailers()
      release(call, connection)
    else
      response.err, response.code = err, code
      connection:close()
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
    connection:close()
    return nil, err, code
  end
  response.body, response.trailers = body, connection:trailers()
  release(call, connection)
  return response
end

-- The content of a redirect is not wanted, but the connection is.
local function finish_redirect(call, connection)
  if connection:read_body(true, REDIRECT_BYTES) then
    release(call, connection)
  else
    connection:close()
  end
end

-- Turns a redirect into the next request. Returns true, or false when it is not to be followed; or nil, message, code.
local function redirect(call, status, fields)
  local location = fields.location
  if not REDIRECTS[status] or type(location) ~= "string" then return false end
  local method, body = call.method, call.body
  if status == 303 and method ~= "HEAD" or (status == 301 or status == 302) and method == "POST" then
    method, body = "GET", nil
  end
  if type(body) == "function" then return false end -- its pieces are gone
  local text = urls.resolve(call.url, location)
  local url, why = urls.parse(text)
  if not url then return nil, ("redirect to %s: %s"):format(location, why), "invalid_url" end
  if url.scheme == "https" then
    return nil, ("redirect to %s: https is not available in this version"):format(location), "not_available"
  end
  local skip = {}
  if url.origin ~= call.url.origin then for name in pairs(SECRETS) do skip[name] = true end end
  if not body then for name in pairs(OF_CONTENT) do skip[name] = true end end
  call.skip = call.skip or {}
  for name in pairs(skip) do call.skip[name] = true end -- for good: a way back does not bring them back
  if url.origin ~= call.url.origin then call.unix_socket = nil end
  call.fields = fields_of(call.options, call.skip)
  call.host_header = url.origin == call.url.origin and call.host_header or url.host_header
  call.method, call.body, call.url, call.text, call.fresh = method, body, url, text, nil
  call.key = "http " .. (call.unix_socket or url.origin)
  call.may_repeat = IDEMPOTENT[method]
  return true
end

-- Text of a caller in a message: one line, whatever it holds.
local function shown(text) return (text:gsub("%c", "?")) end

local function checked(url, options)
  if type(url) ~= "string" then error("http: expected a URL, got " .. type(url), 3) end
  if type(options) ~= "table" then error("http: expected a table of options, got " .. type(options), 3) end
  local body = options.body
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" then
    error("http: body: expected a string or a function, got " .. type(body), 3)
  end
  local method = options.method or (body and "POST" or "GET")
  if type(method) ~= "string" then error("http: method: expected a string, got " .. type(method), 3) end
  return method, body
end

local function begin(text, options)
  local method, body = checked(text, options)
  local url, why = urls.parse(text)
  if not url then return nil, ("URL %s: %s"):format(shown(text), why), "invalid_url" end
  if url.scheme == "https" then
    return nil, ("URL %s: https is not available in this version"):format(shown(text)), "not_available"
  end
  return {
    options = options, text = text, url = url, method = method, body = body, stream = options.stream,
    host_header = headers.first(options.headers or {}, "host") or url.host_header,
    fields = fields_of(options), unix_socket = options.unix_socket,
    key = "http " .. (options.unix_socket or url.origin),
    may_repeat = IDEMPOTENT[method] and type(body) ~= "function",
    deadline = options.timeout and network.now_ms() + seconds(options, "timeout"),
    connect_ms = seconds(options, "connect_timeout", CONNECT_S), send_ms = seconds(options, "send_timeout", SEND_S),
    response_ms = seconds(options, "response_timeout", RESPONSE_S), read_ms = seconds(options, "read_timeout", READ_S),
    max_body_bytes = options.max_body_bytes or MAX_BODY_BYTES,
    keeps = options.keepalive ~= false,
    idle_ms = network.milliseconds(options.keepalive or nil, IDLE_S, "keepalive"),
  }
end

--- Sends a request and reads its answer.
---@async
---@param url string "http://host[:port]/path?query", encoded
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.request(url, options)
  network.check "http.request"
  options = options or {}
  local call, err, code = begin(url, options)
  if not call then return nil, err, code end
  local left = math.min(options.max_redirects or 0, MOST_REDIRECTS)
  while true do
    local connection, status, reason, fields = exchange(call)
    if not connection then return nil, shown(call.method .. " " .. call.text) .. ": " .. status, reason end
    local is_redirect, why, why_code = false, nil, nil
    local before = { key = call.key, idle_ms = call.idle_ms, keeps = call.keeps }
    if (options.max_redirects or 0) > 0 then is_redirect, why, why_code = redirect(call, status, fields) end
    if is_redirect == false then return read_answer(call, connection, status, reason, fields) end
    finish_redirect(before, connection)
    if is_redirect == nil then return nil, why, why_code end
    if left == 0 then return nil, "more redirects than allowed", "too_many_redirects" end
    left = left - 1
  end
end

local function with(options, method, body)
  local own = {}
  for name, value in pairs(options or {}) do own[name] = value end
  own.method = method
  if body ~= nil then own.body = body end
  return own
end

--- GET, see request.
---@async
---@param url string
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.get(url, options) return M.request(url, with(options, "GET")) end

--- HEAD, see request.
---@async
---@param url string
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.head(url, options) return M.request(url, with(options, "HEAD")) end

--- POST, see request.
---@async
---@param url string
---@param body string|fun():string?
---@param options? pdk.http.options
---@return pdk.http.response? response
---@return string? err
---@return string? code
function M.post(url, body, options) return M.request(url, with(options, "POST", body)) end

return M

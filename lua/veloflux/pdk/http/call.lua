--- What a request of pdk.http asks for: its options, checked, and what redirects make of it.
--
-- A call is a table: url (of url.lua) and its text, method, body, fields (list of {name, value}), host_header, target
-- (address.lua, pool.lua), the limits in milliseconds, and what of the options is needed later.
local addresses = require "veloflux.pdk.http.address"
local headers = require "veloflux.pdk.http.headers"
local network = require "veloflux.runtime.network"
local pools = require "veloflux.pdk.http.pool"
local urls = require "veloflux.pdk.http.url"

local M = {}

local CONNECT_S, SEND_S, RESPONSE_S, READ_S, IDLE_S = 3, 60, 60, 60, 60
local MAX_BODY_BYTES = 1024 * 1024
local USER_AGENT = "VeloFlux"
local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local SECRETS = { authorization = true, cookie = true, ["proxy-authorization"] = true }
local OF_CONTENT = { ["content-type"] = true, ["content-encoding"] = true, ["content-language"] = true,
  ["content-location"] = true }

--- Text of a caller in a message: one line, whatever it holds.
function M.shown(text) return (text:gsub("%c", "?")) end

local function add_fields(list, fields, name, value)
  if type(value) == "table" then
    for _, one in ipairs(value) do add_fields(list, fields, name, one) end
  elseif type(value) == "string" or type(value) == "number" then
    list[#list + 1] = { name, tostring(value) }
  else
    error(("headers: %s: expected a string, got %s"):format(tostring(name), type(value)), 5)
  end
end

-- Makes the field lines of a request; `skip` says which names to leave out.
local function fields_of(options, skip)
  local list, given = {}, options.headers or {}
  for name, value in pairs(given) do
    if type(name) ~= "string" then error("headers: expected names, got a " .. type(name), 4) end
    local lower = name:lower()
    if lower ~= "host" and lower ~= "content-length" and not (skip and skip[lower]) then
      add_fields(list, given, name, value)
    end
  end
  if not headers.first(given, "user-agent") then list[#list + 1] = { "User-Agent", USER_AGENT } end
  if not headers.first(given, "accept") then list[#list + 1] = { "Accept", "*/*" } end
  return list
end

local function check_text(options, name)
  local value = options[name]
  if value ~= nil and type(value) ~= "string" then
    error(("http: %s: expected a string, got %s"):format(name, type(value)), 4)
  end
end

--- The URL that stands for a path of a pool: in messages, for redirects, and for the Host field.
local function url_of_pool(options)
  check_text(options, "path")
  check_text(options, "tenant")
  check_text(options, "hash_key")
  if not options.pool:find "^[%w][%w._-]*$" then return nil, "invalid name of a pool" end
  local path = options.path or "/"
  return "http://" .. options.pool .. (path:find "^[/?]" and path or "/" .. path)
end

local function checked(url, options)
  if type(options) ~= "table" then error("http: expected a table of options, got " .. type(options), 4) end
  check_text(options, "pool")
  check_text(options, "ssl_server_name")
  if options.pool and url ~= nil then error("http: a pool is asked without a URL: see path", 4) end
  if type(url) ~= "string" and not options.pool then error("http: expected a URL, got " .. type(url), 4) end
  local body = options.body
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" then
    error("http: body: expected a string or a function, got " .. type(body), 4)
  end
  local method = options.method or (body and "POST" or "GET")
  if type(method) ~= "string" then error("http: method: expected a string, got " .. type(method), 4) end
  return method, body
end

--- Takes a URL apart that can be asked for.
local function parse(text, what)
  local url, why = urls.parse(text)
  if not url then return nil, ("%s %s: %s"):format(what, M.shown(text), why), "invalid_url" end
  return url
end

local function seconds(options, name, default)
  if options[name] == nil and type(default) == "table" then return default.ms end
  return network.milliseconds(options[name], default, name)
end

--- Gives a call its target: where it goes, and what that says about time.
-- @return true, or nil, message, code
function M.aim(call)
  local options, own = call.options, nil
  if call.pool then
    local target, err, code = pools.new(options, call.method)
    if not target then return nil, err, code end
    call.target, own = target, target.limits
  else
    call.target = addresses.new(call.url, call.unix_socket,
      { name = options.ssl_server_name, verify = options.ssl_verify ~= false })
  end
  local function limit(name, default, of_pool)
    return seconds(options, name, own and { ms = own[of_pool] } or default)
  end
  call.connect_ms = limit("connect_timeout", CONNECT_S, "connect")
  call.response_ms = limit("response_timeout", RESPONSE_S, "response")
  call.read_ms = limit("read_timeout", READ_S, "read")
  call.idle_ms = options.keepalive and network.milliseconds(options.keepalive, IDLE_S, "keepalive")
    or own and own.idle or IDLE_S * 1000
  return true
end

--- Begins a call. What is wrong with the options raises an error.
-- @return call, not aimed yet; or nil, message, code
function M.begin(text, options)
  local method, body = checked(text, options)
  if options.pool then
    local err
    text, err = url_of_pool(options)
    if not text then return nil, err, "invalid_url" end
  end
  local url, err, code = parse(text, "URL")
  if not url then return nil, err, code end
  local call = {
    options = options, text = text, url = url, method = method, body = body, stream = options.stream,
    pool = options.pool, unix_socket = not options.pool and options.unix_socket or nil,
    host_header = headers.first(options.headers or {}, "host") or url.host_header, fields = fields_of(options),
    may_repeat = IDEMPOTENT[method] and type(body) ~= "function",
    deadline = options.timeout and network.now_ms() + seconds(options, "timeout"),
    send_ms = seconds(options, "send_timeout", SEND_S), max_body_bytes = options.max_body_bytes or MAX_BODY_BYTES,
    keeps = options.keepalive ~= false,
  }
  for _, name in ipairs { "connect_timeout", "response_timeout", "read_timeout" } do seconds(options, name, 1) end
  network.milliseconds(options.keepalive or nil, IDLE_S, "keepalive")
  return call
end

--- Returns the call that a redirect asks for; false when it is not to be followed; or nil, message, code.
function M.redirected(call, status, fields)
  local location = fields.location
  if not REDIRECTS[status] or type(location) ~= "string" then return false end
  local method, body = call.method, call.body
  if status == 303 and method ~= "HEAD" or (status == 301 or status == 302) and method == "POST" then
    method, body = "GET", nil
  end
  if type(body) == "function" then return false end -- its pieces are gone
  local text = urls.resolve(call.url, location)
  local url, err, code = parse(text, "redirect to")
  if not url then return nil, err, code end
  local stays, skip, next_call = url.origin == call.url.origin, {}, {}
  for name in pairs(call.skip or {}) do skip[name] = true end -- for good: a way back does not bring them back
  if not stays then for name in pairs(SECRETS) do skip[name] = true end end
  if not body then for name in pairs(OF_CONTENT) do skip[name] = true end end
  for name, value in pairs(call) do next_call[name] = value end
  next_call.skip, next_call.fields = skip, fields_of(call.options, skip)
  next_call.host_header = stays and call.host_header or url.host_header
  next_call.method, next_call.body, next_call.url, next_call.text = method, body, url, text
  next_call.may_repeat, next_call.fresh, next_call.target = IDEMPOTENT[method], nil, nil
  if not stays then next_call.unix_socket, next_call.pool = nil, nil end
  return next_call
end

return M

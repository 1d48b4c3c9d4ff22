--- Who `veloflux ctl` talks to, and how it says who it is:
--   --address or VFX_ADDRESS   HOST:PORT, http://HOST:PORT or the path of a socket
--   otherwise                  control.sock of the conf's data_dir when an instance runs there, else
--                              admin.address of the conf
-- Credentials (not for a socket): --user NAME:PASSWORD, VFX_API_KEY, API_USERNAME and API_PASSWORD, else those of the
-- conf.
local arguments = require "veloflux.cli.arguments"
local conf = require "veloflux.conf"
local encoding = require "veloflux.pdk.encoding"
local ffi = require "ffi"
local http = require "veloflux.cli.http"
local json = require "veloflux.pdk.json"

ffi.cdef "int32_t vf_instance_pid(const char *lock_path);"

local M = {}
local Client = {}
Client.__index = Client

local function not_an_address(text)
  return nil, ("not an address: %s: expected HOST:PORT, http://HOST:PORT or the path of a socket"):format(text)
end

--- Makes an address of what people write. Returns nil and a message when it is none, and for https.
local function address_of(text)
  if text:find "^https:" then return nil, "https is not spoken here: use the socket, or an address with http" end
  if text:find "^unix:" then return (text:gsub("^unix:/*", "/")) end
  local rest = text:match "^http://([^/]*)/*$"
  if not rest and text:find "^/" then return text end
  local address = rest and not rest:find ":%d+$" and rest .. ":80" or rest or text
  local port = tonumber(address:match "^[^/]+:(%d+)$" or nil)
  if port and port > 0 and port < 65536 then return address end
  if not rest and not text:find("://", 1, true) and text:find "/" then return text end -- a socket, by a relative path
  return not_an_address(text)
end

local function from_environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- Returns admin of the conf, as far as it can be read.
local function admin_of(parsed)
  local model = conf.load { source = { path = arguments.config_of(parsed) }, lenient = true }
  return model and model.node.admin
end

local function local_socket(parsed)
  local data_dir = conf.data_dir(arguments.config_of(parsed))
  if not data_dir or ffi.C.vf_instance_pid(data_dir .. "/veloflux.pid") <= 0 then return nil end
  return data_dir .. "/control.sock"
end

local function user_of(parsed, admin)
  if parsed.user then return parsed.user end
  local name, password = from_environment "API_USERNAME", from_environment "API_PASSWORD"
  name = name or admin and admin.auth.username or "admin"
  password = password or admin and type(admin.auth.password) == "string" and admin.auth.password or ""
  return password ~= "" and name .. ":" .. password or nil
end

--- Says whom to ask.
-- @param parsed of cli/arguments.lua: config, address, user
-- @return a client, or nil and a message
function M.open(parsed)
  local given = parsed.address or from_environment "VFX_ADDRESS"
  local socket = not given and local_socket(parsed)
  if socket then return setmetatable({ address = socket }, Client) end
  local admin = not (given and parsed.user) and admin_of(parsed) or nil
  if not given then
    local configured = admin and admin.address
    if type(configured) ~= "table" then return nil, "no instance runs here: say where with --address" end
    given = configured.text
  end
  local address, message = address_of(given)
  if not address then return nil, message end
  local is_socket = address:find("/", 1, true)
  if is_socket then return setmetatable({ address = address }, Client) end
  local key = not parsed.user and from_environment "VFX_API_KEY" or nil
  return setmetatable({ address = address, key = key, user = not key and user_of(parsed, admin) or nil }, Client)
end

--- Asks.
-- @param body a value that is sent as JSON, or nil
-- @param options table or nil: headers (list of name, value, ...), content_type, accept,
-- raw = true: the body is a text
-- that is sent as it is
-- @return {status, headers, body, text}: `body` is decoded JSON, nil when it is none; or nil and a message
function Client:ask(method, target, body, options)
  local headers = { "Accept", options and options.accept or "application/json", "User-Agent", "veloflux-ctl" }
  for _, text in ipairs(options and options.headers or {}) do headers[#headers + 1] = text end
  if self.key then
    headers[#headers + 1], headers[#headers + 2] = "X-API-Key", self.key
  elseif self.user then
    headers[#headers + 1] = "Authorization"
    headers[#headers + 1] = "Basic " .. encoding.base64_encode(self.user)
  end
  if body ~= nil then
    headers[#headers + 1] = "Content-Type"
    headers[#headers + 1] = options and options.content_type or "application/json"
  end
  local text = body
  if body ~= nil and not (options and options.raw) then text = json.encode(body) end
  local answer, message = http.ask(self.address, { method = method, target = target, headers = headers, body = text })
  if not answer then return nil, message end
  local decoded
  if (answer.headers["content-type"] or ""):find "json" then decoded = json.decode(answer.body) end
  return { status = answer.status, headers = answer.headers, body = decoded, text = answer.body }
end

return M

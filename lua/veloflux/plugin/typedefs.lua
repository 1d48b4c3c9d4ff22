--- Definitions that schemas of plugins share, under the names that Kong's have: what
-- `require "kong.db.schema.typedefs"` gives to a plugin. Each may be called with attributes that are
-- added or replaced: typedefs.host { required = true }.
local address = require "veloflux.model.address"

local M = {}

local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "LINK", "UNLINK" }

--- Makes a definition that can be called for one of its own.
local function define(attributes)
  return setmetatable(attributes, { __call = function(self, more)
    local own = {}
    for name, value in pairs(self) do own[name] = value end
    for name, value in pairs(more or {}) do own[name] = value end
    return define(own)
  end })
end

M.define = define

local function is_ip(text)
  local network = address.parse_network(text)
  if network and not text:find "/" then return true end
  return nil, "expected an IP address"
end

local function is_network(text)
  if address.parse_network(text) then return true end
  return nil, "expected an IP address or a network like 10.0.0.0/8"
end

local function is_cidr_v4(text)
  if text:find "^[%d.]+/%d+$" and address.parse_network(text) then return true end
  return nil, "expected a network like 10.0.0.0/8"
end

local function is_host(text)
  if text:find "^%[?[%x:.]+%]?$" and is_ip((text:gsub("[%[%]]", ""))) then return true end
  if #text <= 253 and text:find "^[%w_-][%w_.-]*$" and not text:find("..", 1, true) then return true end
  return nil, "expected a host name or an IP address"
end

local function is_url(text)
  local host = text:match "^https?://([^/?#%s]+)[^%s]*$"
  if host and is_host((host:gsub("^.*@", ""):gsub(":%d+$", ""))) then return true end
  return nil, "expected a URL like https://example.com/path"
end

local function is_path(text)
  if text:find "^/" and not text:find "//" and not text:find "[%c ]" then return true end
  return nil, "expected a path that begins with / and has no empty segment"
end

local function is_pem(kind)
  return function(text)
    if text:find("%-%-%-%-%-BEGIN [%u ]*" .. kind .. "%-%-%-%-%-.+%-%-%-%-%-END [%u ]*" .. kind .. "%-%-%-%-%-") then
      return true
    end
    return nil, ("expected a %s in PEM"):format(kind:lower())
  end
end

--- Whether a plugin may be given to a consumer, route or service is said by these, beside `config`.
local function no_scope(scope) return define { type = "foreign", refuses = scope } end

M.no_consumer = no_scope "consumer"
M.no_consumer_group = no_scope "consumer_group"
M.no_route = no_scope "route"
M.no_service = no_scope "service"
M.protocols = define { type = "set", elements = { type = "string" } }
M.protocols_http, M.protocols_http_https, M.protocols_stream = M.protocols, M.protocols, M.protocols

M.url = define { type = "string", custom_validator = is_url }
M.host = define { type = "string", custom_validator = is_host }
M.ip = define { type = "string", custom_validator = is_ip }
M.ip_or_cidr = define { type = "string", custom_validator = is_network }
M.cidr_v4 = define { type = "string", custom_validator = is_cidr_v4 }
M.port = define { type = "integer", between = { 0, 65535 } }
M.timeout = define { type = "integer", between = { 0, 2147483646 }, unit = "milliseconds" }
M.path = define { type = "string", custom_validator = is_path }
M.paths = define { type = "array", elements = M.path }
M.header_name = define { type = "string", match = "^[%w!#$%%&'*+.^_`|~-]+$",
  err = "expected the name of a header field" }
M.http_method = define { type = "string", one_of = METHODS }
M.methods = define { type = "set", elements = M.http_method }
M.hosts = define { type = "array", elements = M.host }
M.headers = define { type = "map", keys = M.header_name, values = { type = "array", elements = { type = "string" } } }
M.uuid = define { type = "string", uuid = true }
M.tag = define { type = "string", match = "^[^,/%c]+$", err = "expected a text without commas and slashes" }
M.tags = define { type = "set", elements = M.tag }
M.utf8_name = define { type = "string", match = "^[^%c]+$", err = "expected a name without control characters" }
M.name = M.utf8_name
M.sni = M.host
M.lua_code = define { type = "string", len_min = 1 }
M.pem_certificate = define { type = "string", custom_validator = is_pem "CERTIFICATE" }
M.certificate = M.pem_certificate
M.key = define { type = "string", secret = true, referenceable = true, custom_validator = is_pem "KEY" }
M.pem_private_key = M.key

return M

--- A pool: backends that serve the same, and how requests are spread over them.
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local plugin = require "veloflux.model.kinds.plugin"
local traffic = require "veloflux.model.kinds.traffic"

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local MAX_RANGES = 8 -- VF_HEALTH_RANGES of snapshot/layout.h

local function is_status_range(text)
  local low, high = text:match "^(%d%d%d)%-(%d%d%d)$"
  if not low then low = text:match "^(%d%d%d)$"; high = low end
  if low and tonumber(low) >= 100 and tonumber(high) <= 599 and low <= high then return true end
  return nil, "expected a status between 100 and 599 or a range like 200-299"
end

local function status()
  return s.string { custom_validator = is_status_range, numeric = true, expects = "a status or a range like 200-299" }
end

local function is_path(text)
  if text:find "^/" and not text:find "[%c #]" then return true end
  return nil, "expected a path that begins with /"
end

local function is_one_host(text)
  if common.is_host(text) and not text:find("*", 1, true) then return true end
  return nil, "expected a host, without a port or *"
end

--- The fields of a health check. On a backend they override the pool's, so there they have no defaults.
local function health_fields(has_defaults)
  local function default(value) return has_defaults and value or nil end
  return {
    { enabled = s.boolean { default = default(true), description = "false: no check is made." } },
    { type = s.string { default = default "http", one_of = { "http", "tcp" },
      description = "http: a GET and its status; tcp: a connection is enough." } },
    { path = s.string { default = default "/", custom_validator = is_path, len_max = 1024,
      description = "What an http check asks for." } },
    { host = s.string { custom_validator = is_one_host, expects = "a host", len_max = 253,
      description = "The Host field of an http check; without it the backend's address." } },
    { interval = s.duration { default = default "5s", min = "100ms", max = "1h",
      description = "Between two checks, give or take a tenth." } },
    { timeout = s.duration { default = default "2s", min = "10ms", max = "10m",
      description = "For the whole check." } },
    { expected_status = s.shape { default = default "200", scalar = status(),
      list = s.list { elements = status(), len_min = 1, len_max = MAX_RANGES },
      description = "A status, a range like \"200-299\", or a list of them." } },
    { rise = s.integer { default = default(2), between = { 1, 100 },
      description = "Successes in a row that make it up." } },
    { fall = s.integer { default = default(3), between = { 1, 100 },
      description = "Failures in a row that make it down." } },
  }
end

local health_off = s.boolean { off = true, expects = "false or a map", custom_validator = function(value)
  return value == false or nil, "expected false or a map"
end }

local function health_check(has_defaults, description)
  return s.shape { description = description, scalar = health_off, expects = "false or a map",
    map = s.record { fields = health_fields(has_defaults), description = description } }
end

local backend = s.record {
  description = "A server that answers requests.",
  fields = {
    { address = s.address { required = true, description = "HOST:PORT; names are resolved again as their TTL says." } },
    { weight = s.integer { default = 100, between = { 0, 1000000 }, description = "Its share; 0: no new requests." } },
    { region = s.string { default = "", len_max = 128, match = "^[^%c]*$",
      expects = "a name without control characters", description = "Where it stands: a label." } },
    { health_check = health_check(false, "Fields that differ from the pool's health check; false: no check.") },
  },
}

local HASH_NEEDS_NAME = { header = true, cookie = true, query = true }

local hash_on = s.record {
  description = "What consistent_hash hashes.",
  default = {},
  fields = {
    { type = s.string { default = "ip", one_of = { "ip", "header", "cookie", "query", "path" },
      description = "The part of a request that decides." } },
    { name = s.string { len_min = 1, len_max = 256, match = TOKEN, expects = "a name",
      description = "Of the header, cookie or query parameter." } },
  },
  custom_validator = function(value)
    if HASH_NEEDS_NAME[value.type] and not value.name then
      return nil, ("required: the name of the %s"):format(value.type), "name"
    end
    if value.name and not HASH_NEEDS_NAME[value.type] then
      return nil, ("has no meaning with type %s"):format(value.type), "name"
    end
    return true
  end,
}

local sticky_sessions = s.shape {
  default = false,
  description = "Keep a client on its backend by a signed cookie.",
  scalar = s.boolean { off = true, expects = "true, false or a map" },
  map = s.record { fields = {
    { cookie = s.string { default = "veloflux", match = TOKEN, len_max = 128, expects = "the name of a cookie",
      description = "Its name." } },
    { ttl = s.duration { default = "1h", min = "1s", max = "365d", off = true,
      description = "How long; off: until the browser closes." } },
  } },
}

local via = s.shape {
  default = {},
  description = "Whether a Via field is added; to answers it is not, some clients mistrust it.",
  scalar = s.boolean { expects = "true, false or a map" },
  map = s.record { fields = {
    { request = s.boolean { default = true, description = "To the request that goes to the backend." } },
    { response = s.boolean { default = false, description = "To the answer that goes to the client." } },
  } },
}

return s.record {
  located = true,
  description = "Backends that serve the same, and how requests are spread over them.",
  fields = common.join({
    { name = common.name "pools" },
    { tenant = common.tenant() },
    { shared = s.boolean { default = false,
      description = "Routes of every tenant may use it; for pools of the default tenant." } },
    { algorithm = s.string { default = "round_robin", one_of = { "round_robin", "weighted_round_robin", "least_conn",
      "least_connections", "random", "ip_hash", "consistent_hash", "peak_ewma" },
      description = "How a backend is chosen; all heed weights." } },
    { hash_on = hash_on },
    { sticky_sessions = sticky_sessions },
    { max_connections = s.integer { default = "off", off = true, between = { 1, 1000000 },
      description = "Connections per backend and worker." } },
    { health_check = health_check(true, "Active checks; without it backends are only judged by their traffic.") },
    { passive_health = s.boolean { default = true,
      description = "Leave out a backend, for a growing time, after three failures in a row: connections that it does "
        .. "not take, or ends before its answer is whole." } },
    { via = via },
    { x_forwarded = s.boolean { default = true, description = "Send X-Forwarded-For, -Proto and "
      .. "-Host; other fields X-Forwarded-... and X-Real-IP of clients that are no trusted proxy are left out." } },
    { forwarded = s.boolean { default = false, description = "Send Forwarded (RFC 7239)." } },
    { proxy_protocol = s.string { default = "off", one_of = { "off", "v1", "v2" },
      description = "Begin connections to backends with a PROXY header." } },
    { tls = require("veloflux.model.kinds.tls").upstream },
    { protocol = s.string { default = "h1", one_of = { "h1", "h2", "auto" },
      description = "What backends speak: HTTP/1.1, HTTP/2, or what they choose when the connection has TLS." } },
    { backends = s.list { default = {}, elements = backend, description = "Who serves.",
      unique_by = function(value) return value.address and value.address.text end } },
    { plugins = plugin.list { description = "Plugins of all routes to the pool." } },
  }, traffic.fields "route"),
}

--- A route: which requests it is for, and what becomes of them.
local ffi = require "ffi"
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local plugin = require "veloflux.model.kinds.plugin"
local tls = require "veloflux.model.kinds.tls"
local traffic = require "veloflux.model.kinds.traffic"
local pattern = require "veloflux.model.pattern"

ffi.cdef [[
int vf_method_read(const char *name, size_t len);
int vf_method_from_name(const char *name, size_t len);
]]
local C = ffi.C

--- Methods are case-sensitive (RFC 9110 section 9.1); one that is known otherwise written is taken for a mistake.
local function is_method(text)
  if C.vf_method_read(text, #text) >= 0 then return true end
  local upper = text:upper()
  if C.vf_method_from_name(upper, #upper) < 0 then return nil, ("expected an HTTP method, got %s"):format(text) end
  return nil, ("expected an HTTP method, got %s, did you mean %s?"):format(text, upper)
end

--- A path as routes are matched: normalised, without a query.
local function is_path(text)
  if not text:find "^/" then return nil, "expected a path that begins with /" end
  if text:find "[?#]" then return nil, "expected a path without ? and #: conditions on the query stand in match" end
  local normal, problem = pattern.normalise(text)
  if not normal then return nil, problem end
  if normal ~= text then return nil, ("is matched against normalised paths: write %s"):format(normal) end
  return true
end

local function condition(what)
  return s.shape {
    scalar = s.string { len_max = 4096, expects = "a value" },
    map = s.record {
      fields = {
        { regex = s.string { custom_validator = pattern.check, len_max = 4096,
          description = "A PCRE2 pattern that the value matches." } },
        { present = s.boolean { description = "true: there is one; false: there is none." } },
      },
      entity_checks = { { only_one_of = { "regex", "present" } } },
    },
    description = ("A value that the %s is, or {regex: ...}, or {present: true}."):format(what),
  }
end

local match = s.record {
  description = "Further conditions, all of which must hold.",
  fields = {
    { headers = s.map { default = {}, values = condition "field", description = "By the name of a header field.",
      keys = s.string { match = "^[%w!#$%%&'*+.^_`|~-]+$", expects = "the name of a header field" } } },
    { query = s.map { default = {}, keys = s.string { len_min = 1 }, values = condition "parameter",
      description = "By the name of a query parameter." } },
  },
}

local function is_location(text)
  if text == "" or text:find "[%c ]" then return nil, "expected a URL or path without spaces" end
  return true
end

local redirect = s.shape {
  description = "Answer with a redirect.",
  scalar = s.string { custom_validator = is_location, expects = "a URL" },
  map = s.record { fields = {
    { to = s.string { required = true, custom_validator = is_location, expects = "a URL",
      description = "The Location, with $1..$9, $host, $path and $query." } },
    { status = s.integer { default = 301, between = { 300, 308 }, description = "Its status.",
      custom_validator = function(value)
        local ok = value ~= 304 and value ~= 305 and value ~= 306
        return ok or nil, "expected a redirect status: 300, 301, 302, 303, 307 or 308"
      end } },
  } },
}

local respond = s.record {
  description = "Answer with a fixed text.",
  fields = {
    { status = s.integer { default = 200, between = { 200, 599 }, description = "Its status." } },
    { body = s.string { default = "", len_max = 1048576, description = "Its body." } },
    { type = s.string { default = "text/plain", match = "^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+[^%c]*$",
      expects = "a media type like text/plain", description = "Its Content-Type." } },
  },
  custom_validator = function(value)
    if (value.status == 204 or value.status == 304 or value.status == 205) and value.body ~= "" then
      return nil, ("an answer with status %d has no body"):format(value.status), "body"
    end
    return true
  end,
}

local PREFIX_ONLY = "goes with path_prefix only"

local function check_route(route)
  if route.strip_prefix and (route.path or route.path_regex) then return nil, PREFIX_ONLY, "strip_prefix" end
  if route.strip_prefix and rawget(route, "rewrite") then
    return nil, "cannot be given together with strip_prefix", "rewrite"
  end
  if not route.pool then
    for _, name in ipairs { "strip_prefix", "rewrite" } do
      if route[name] then return nil, "has no meaning without a pool", name end
    end
  end
  return true
end

local function is_rewrite(text)
  if text:find "^/" and not text:find "[%c ?#]" then return true end
  return nil, "expected a path that begins with /"
end

return s.record {
  located = true,
  description = "Which requests it is for, and what becomes of them.",
  fields = common.join({
    { name = common.name "routes" },
    { tenant = common.tenant() },
    { host = common.host { description = "a.example.com, *.example.com or *; without it every host of the tenant." } },
    { hosts = s.list { elements = common.host {}, len_min = 1, unique_by = string.lower,
      description = "Several hosts." } },
    { path = s.string { custom_validator = is_path, description = "This path exactly." } },
    { path_prefix = s.string { custom_validator = is_path,
      description = "This path and what is below it; / when no path is given." } },
    { path_regex = s.string { custom_validator = pattern.check, len_min = 1, len_max = 4096,
      description = "A PCRE2 pattern for the path." } },
    { methods = s.list { default = {}, unique = true,
      elements = s.string { match = "^[%w!#$%%&'*+.^_`|~-]+$", len_min = 1, len_max = 32, expects = "an HTTP method",
        custom_validator = is_method },
      description = "The methods it is for, extension methods too; none: all." } },
    { match = match },
    { priority = s.integer { default = 0, between = { -1000000, 1000000 },
      description = "The higher goes first, before all other rules within a host." } },
    { strip_prefix = s.boolean { default = false, description = "Forward the path without path_prefix." } },
    { client_certificate = tls.of_route },
    { rewrite = s.string { custom_validator = is_rewrite, len_max = 4096,
      description = "Forward this path: replaces the prefix or the path; with path_regex a template with $1..$9." } },
    { pool = s.foreign { reference = "pools", description = "Who answers." } },
    { redirect = redirect },
    { respond = respond },
    { plugins = plugin.list { description = "Plugins of the route." } },
  }, traffic.fields "route"),
  entity_checks = {
    { mutually_exclusive = { "host", "hosts" } },
    { mutually_exclusive = { "path", "path_prefix", "path_regex" } },
    { only_one_of = { "pool", "redirect", "respond" } },
  },
  custom_validator = check_route,
}

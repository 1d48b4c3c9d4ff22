--- The request as the client sent it, and as plugins before have changed its header fields.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local query = require "veloflux.runtime.query"

local run_of, wrong = task, phase.wrong
local text_of = view.text_of

---@class pdk.request
local M = {}

local ANY = phase.set("request")
local CONNECTED = phase.set("request", "certificate")
local BODY = phase.set("before_upstream")
local MAX_FIELDS, MAX_ARGUMENTS, MOST, MAX_PORT = 100, 100, 1000, 65535
local QUESTION_MARK = 63

local function check(name)
  if not ANY[run_of.run.phase] then wrong(ANY, "request." .. name, 4) end
end

local function check_name(value, what, level)
  if type(value) ~= "string" then
    error(("%s: expected a string, got %s"):format(what, type(value)), level + 1)
  end
end

local function check_max(max, default, what)
  if max == nil then return default end
  if type(max) ~= "number" or not (max >= 1 and max <= MOST) then
    error(("%s: expected a number between 1 and %d"):format(what, MOST), 3)
  end
  return max
end

local function without_port(host)
  if not host or host == "" then return host or "" end
  local bracket = host:byte(1) == 91 and host:find("]", 1, true) -- [::1]:8000
  local colon = not bracket and host:find(":", 1, true)
  local stop = bracket or colon and colon - 1 or #host
  return host:sub(1, stop):lower()
end

local function first_of(list) return list and list:match "^%s*([^,]-)%s*$" or list and list:match "^%s*([^,]-)%s*," end

--- Returns the value of a field that only a trusted proxy may set, nil when it is absent or not believed.
local function trusted_field(name)
  if view.request().is_trusted == 0 then return nil end
  return first_of(view.field(view.REQUEST, name))
end

--- Returns "http" or "https": what the client speaks with us.
---@return string
function M.get_scheme()
  check "get_scheme"
  return view.request().is_tls ~= 0 and "https" or "http"
end

--- Returns the host that was asked for, in lower case, without port.
---@return string
function M.get_host()
  check "get_host"
  return without_port(text_of(view.HOST))
end

--- Returns the port of the listener. May be called in the certificate phase, too.
---@return integer
function M.get_port()
  if not CONNECTED[run_of.run.phase] then wrong(CONNECTED, "request.get_port") end
  return tonumber(view.request().listener_port)
end

--- As get_scheme, believing X-Forwarded-Proto of trusted proxies.
---@return string
function M.get_forwarded_scheme()
  check "get_forwarded_scheme"
  local value = trusted_field "x-forwarded-proto"
  return value and value:lower() or M.get_scheme()
end

--- Returns X-Forwarded-Host of a trusted proxy without user information, or nil.
local function forwarded_authority()
  local value = trusted_field "x-forwarded-host"
  return value and value:match "@?([^@]*)$"
end

--- As get_host, believing X-Forwarded-Host of trusted proxies.
---@return string
function M.get_forwarded_host()
  check "get_forwarded_host"
  local value = forwarded_authority()
  return value and without_port(value) or M.get_host()
end

--- Returns a port that is written in digits, or nil.
local function port_of(text)
  local port = text and text:find "^%d+$" and tonumber(text)
  return port and port >= 1 and port <= MAX_PORT and port or nil
end

--- As get_port, believing X-Forwarded-Port (or the port in X-Forwarded-Host) of trusted proxies.
---@return integer
function M.get_forwarded_port()
  check "get_forwarded_port"
  local port = port_of(trusted_field "x-forwarded-port")
  if port then return port end
  local authority = forwarded_authority()
  return authority and port_of(authority:match ":(%d+)$") or M.get_port()
end

--- As get_path, believing X-Forwarded-Path of trusted proxies, as it stands there.
---@return string
function M.get_forwarded_path()
  check "get_forwarded_path"
  return trusted_field "x-forwarded-path" or M.get_path()
end

--- Returns the prefix of X-Forwarded-Prefix of a trusted proxy, or the one that the route strips, or nil.
---@return string|nil
function M.get_forwarded_prefix()
  check "get_forwarded_prefix"
  local value = trusted_field "x-forwarded-prefix"
  if value then return value end
  local route = require("veloflux.pdk.router").get_route()
  return route and route.strip_path and not route.path_regex and route.paths[1] or nil
end

--- Returns 1.0, 1.1 or 2.
---@return number
function M.get_http_version()
  check "get_http_version"
  return view.request().http_version / 10
end

--- Returns the method as it was sent; extension methods may have lower case letters.
---@return string
function M.get_method()
  if not ANY[run_of.run.phase] then wrong(ANY, "request.get_method") end
  return text_of(view.METHOD)
end

local RESERVED = "[%z\1-\31\127!*'();:@&=+$,/?%%#%[%]]"

local function readable(digits)
  local byte = string.char(tonumber(digits, 16))
  return byte:find(RESERVED) and "%" .. digits:upper() or byte
end

--- Returns the normalised path: escapes decoded but for those of reserved and of control characters, dot segments
-- removed, one slash for several in a row (routes tell `//` from `/`).
---@return string
function M.get_path()
  if not ANY[run_of.run.phase] then wrong(ANY, "request.get_path") end
  local path = text_of(view.PATH) or "/"
  if path:find("%", 1, true) then path = path:gsub("%%(%x%x)", readable) end
  if path:find("//", 1, true) then path = path:gsub("//+", "/") end
  return path
end

--- Returns the path as it was sent, without query.
---@return string
function M.get_raw_path()
  check "get_raw_path"
  return text_of(view.RAW_PATH) or "/"
end

--- Returns the path as it was sent, with its query.
---@return string
function M.get_path_with_query()
  check "get_path_with_query"
  local raw = text_of(view.QUERY) or ""
  local path = text_of(view.RAW_PATH) or "/"
  if raw ~= "" then return path .. "?" .. raw end
  local target = view.request().target
  return target.len > 0 and target.data[target.len - 1] == QUESTION_MARK and path .. "?" or path
end

--- Returns the query without the question mark; "" when there is none.
---@return string
function M.get_raw_query()
  check "get_raw_query"
  return text_of(view.QUERY) or ""
end

--- Returns the first argument called `name`, decoded: a string; true when it has no value; nil when it is
-- absent.
---@param name string
---@return string|true|nil
function M.get_query_arg(name)
  check "get_query_arg"
  check_name(name, "request.get_query_arg", 2)
  return query.first(text_of(view.QUERY), name)
end

--- Returns all arguments, decoded: strings, true for those without a value, lists for repeated ones.
---@param max_args integer|nil at most so many (100; up to 1000)
---@return table, string|nil err "truncated" when there are more
function M.get_query(max_args)
  check "get_query"
  return query.decode(text_of(view.QUERY), check_max(max_args, MAX_ARGUMENTS, "request.get_query"))
end

--- Returns the first header field called `name`: any case, `_` is taken for `-`. nil when it is absent.
---@param name string
---@return string|nil
function M.get_header(name)
  if not ANY[run_of.run.phase] then wrong(ANY, "request.get_header") end
  if type(name) ~= "string" then check_name(name, "request.get_header", 2) end
  return view.field(view.REQUEST, name)
end

--- Returns the values of all fields called `name` (as get_header looks for it), in their order.
---@param name string
---@return string[] values empty when there is none
function M.get_header_values(name)
  check "get_header_values"
  check_name(name, "request.get_header_values", 2)
  return view.field_values(view.REQUEST, name)
end

--- Returns the nth header field called `name`, counted from 1, or nil: whether there is a second one may be asked
-- without a table of all.
---@param name string
---@param nth integer
---@return string|nil
function M.get_header_at(name, nth)
  if not ANY[run_of.run.phase] then wrong(ANY, "request.get_header_at") end
  if type(name) ~= "string" then check_name(name, "request.get_header_at", 2) end
  if type(nth) ~= "number" or nth < 1 then error("request.get_header_at: expected a number from 1 on", 2) end
  return view.field(view.REQUEST, name, nth)
end

local header_lookup = { __metatable = false, __index = function(headers, name)
  return type(name) == "string" and rawget(headers, (name:lower():gsub("_", "-"))) or nil
end }

--- Returns all header fields by lower-case name (any case may be asked for); lists for repeated ones.
---@param max_headers integer|nil at most so many (100; up to 1000)
---@return table, string|nil err "truncated" when there are more
function M.get_headers(max_headers)
  check "get_headers"
  local fields, err = view.fields(view.REQUEST, check_max(max_headers, MAX_FIELDS, "request.get_headers"))
  return setmetatable(fields, header_lookup), err
end

--- Returns the whole content; waits until it has come. It is forwarded all the same. What was read is there
-- in later phases too.
---@async
---@return string|nil body nil when it is larger than `plugin_limits.body` allows
---@return string|nil err
function M.get_raw_body()
  if not BODY[run_of.run.phase] then
    local values = view.values()
    if values.raw_body then return values.raw_body end
    wrong(BODY, "request.get_raw_body")
  end
  local body = view.request_body()
  if not body then return nil, "the request body is larger than plugins may have" end
  view.values().raw_body = body
  return body
end

--- Returns the content decoded as its Content-Type (or `mimetype`) says: application/json, form fields
-- (application/x-www-form-urlencoded) or the parts of multipart/form-data.
---@async
---@param mimetype string|nil
---@param max_args integer|nil of form fields, see get_query
---@return table|nil body, string|nil err, string|nil mimetype
function M.get_body(mimetype, max_args)
  if not BODY[run_of.run.phase] and not view.values().raw_body then wrong(BODY, "request.get_body") end
  local content_type = mimetype or view.field(view.REQUEST, "content-type")
  local max = check_max(max_args, MAX_ARGUMENTS, "request.get_body")
  if not content_type then return nil, "missing content type" end
  return require("veloflux.runtime.content").decode(M.get_raw_body, content_type, max)
end

--- Returns when the request began, in milliseconds since the epoch.
---@return integer
function M.get_start_time()
  check "get_start_time"
  return tonumber(view.request().start_wall_ms)
end

--- Returns what the route's pattern has captured: {unnamed = {...}, named = {...}}; with groups, unnamed[0] is all
-- that has matched.
---@return table
function M.get_uri_captures()
  check "get_uri_captures"
  local unnamed, named = require("veloflux.pdk.json").array {}, {}
  local route = require("veloflux.pdk.router").get_route()
  local names = route and query.group_names(route.path_regex or "") or {}
  for i = 1, 9 do
    local value = view.capture(i)
    unnamed[i] = value
    if value and names[i] then named[names[i]] = value end
  end
  if next(unnamed) then unnamed[0] = view.capture(0) end
  return { unnamed = unnamed, named = named }
end

--- Returns the request's id, which the access log and the backend know, too.
---@return string
function M.get_id()
  check "get_id"
  return text_of(view.REQUEST_ID)
end

return M

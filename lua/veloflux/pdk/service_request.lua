--- The request as the backend gets it.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local fields = require "veloflux.runtime.fields"
local query = require "veloflux.runtime.query"
local C = require("ffi").C

---@class pdk.service.request
local M = {}

local BEFORE = phase.set("before_upstream")

local function check(name)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "service.request." .. name, 4) end
end

local function check_text(value, name)
  if type(value) ~= "string" then
    error(("service.request.%s: expected a string, got %s"):format(name, type(value)), 3)
  end
end

local function done(rc, name, value)
  if rc ~= 0 then error(("service.request.%s: %q %s"):format(name, value, view.problem(rc)), 3) end
end

local function to_text(value, name)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  error(("service.request.%s: expected a string, number or boolean, got %s"):format(name, kind), 3)
end

local function set_scheme(is_tls, name)
  local rc = C.vf_view_set_scheme(task.run.ex, is_tls)
  if rc ~= 0 then error(("service.request.%s: the scheme %s"):format(name, view.problem(rc)), 3) end
end

--- Sets the scheme that this request's backend is spoken to with: "https" with the pool's `tls`, or as if it said
-- `tls: true` (verified, by the system's authorities) when it has none; "http" without TLS.
-- `service.set_tls_verify` and its like change what the TLS is.
---@param scheme "http"|"https"
function M.set_scheme(scheme)
  check "set_scheme"
  if scheme ~= "http" and scheme ~= "https" then error("service.request.set_scheme: expected http or https", 2) end
  set_scheme(scheme == "https" and 1 or 0, "set_scheme")
end

--- Speaks to this request's backend without TLS, whatever its pool says: set_scheme("http").
---@return true
function M.disable_tls()
  check "disable_tls"
  set_scheme(0, "disable_tls")
  return true
end

--- Speaks TLS to this request's backend, whatever its pool says: set_scheme("https").
---@return true
function M.enable_tls()
  check "enable_tls"
  set_scheme(1, "enable_tls")
  return true
end

local function escape_path(path)
  return (path:gsub("[^%w%-._~!$&'()*+,;=:@/%%]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Sets the path, without query. What cannot stand in a path is escaped; `%` stays as it is.
---@param path string begins with /
function M.set_path(path)
  check "set_path"
  check_text(path, "set_path")
  if path:byte(1) ~= 47 then error("service.request.set_path: expected a path that begins with /", 2) end
  local escaped = escape_path(path)
  done(C.vf_view_set_path(task.run.ex, escaped, #escaped), "set_path", path)
end

--- Sets the query, encoded already, without the question mark; "" removes it.
---@param text string
function M.set_raw_query(text)
  check "set_raw_query"
  check_text(text, "set_raw_query")
  done(C.vf_view_set_query(task.run.ex, text, #text), "set_raw_query", text)
  view.values().new_query = text
end

--- Returns the query as it stands for the backend: the client's, or what plugins have made of it; encoded,
-- without the question mark, "" when there is none.
---@return string
function M.get_raw_query()
  check "get_raw_query"
  return view.values().new_query or view.text_of(view.QUERY) or ""
end

--- Sets the query from a table: strings, true for arguments without value, lists. Names are in byte order.
---@param args table<string, string|boolean|string[]>
function M.set_query(args)
  check "set_query"
  if type(args) ~= "table" then error("service.request.set_query: expected a table", 2) end
  local text, problem = query.encode(args)
  if not text then error("service.request.set_query: " .. problem, 2) end
  M.set_raw_query(text)
end

--- Removes all arguments called `name` from the query; the others stay as they are written.
---@param name string
function M.clear_query_arg(name)
  check "clear_query_arg"
  check_text(name, "clear_query_arg")
  local text, kept = view.values().new_query or view.text_of(view.QUERY), {}
  for pair in (text or ""):gmatch "[^&]+" do
    if query.unescape(pair:match "^[^=]*") ~= name then kept[#kept + 1] = pair end
  end
  if text then M.set_raw_query(table.concat(kept, "&")) end
end

--- Sets the method. HEAD cannot become another method, nor another one HEAD.
---@param method string
function M.set_method(method)
  check "set_method"
  check_text(method, "set_method")
  if C.vf_view_set_method(task.run.ex, method, #method) ~= 0 then
    error(("service.request.set_method: %q cannot be the method of this request"):format(method), 2)
  end
end

local function set_authority(value)
  local content_type = view.field(view.REQUEST, "content-type")
  if not content_type or not require("veloflux.runtime.grpc_answer").is_content_type(content_type) then
    return nil, "cannot set :authority pseudo-header on non-grpc requests"
  end
  view.edit(view.REQUEST, view.SET, "host", to_text(value, "set_header"), 3)
end

--- Sets a field, in place of all of that name. Framing and connection fields are the proxy's. `:authority`, of
-- requests of gRPC alone, is the Host.
---@param name string
---@param value string|number|boolean|string[]
---@return nil, string|nil err `:authority` of a request that is none of gRPC
function M.set_header(name, value)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "service.request.set_header") end
  if type(name) ~= "string" then check_text(name, "set_header") end
  if name:byte(1) == 58 and name:lower() == ":authority" then return set_authority(value) end
  if type(value) == "table" then
    M.clear_header(name)
    return M.add_header(name, value)
  end
  view.edit(view.REQUEST, view.SET, name, type(value) == "string" and value or to_text(value, "set_header"), 2)
end

--- Adds a field beside those of the same name.
---@param name string
---@param value string|number|boolean|string[]
function M.add_header(name, value)
  check "add_header"
  check_text(name, "add_header")
  if type(value) ~= "table" then
    view.edit(view.REQUEST, view.ADD, name, to_text(value, "add_header"), 2)
    return
  end
  for _, single in ipairs(value) do view.edit(view.REQUEST, view.ADD, name, to_text(single, "add_header"), 2) end
end

--- Removes all fields of a name.
---@param name string
function M.clear_header(name)
  check "clear_header"
  check_text(name, "clear_header")
  view.edit(view.REQUEST, view.CLEAR, name, "", 2)
end

--- Sets several fields, as set_header does each; none when a value is of the wrong type.
---@param headers table<string, string|number|boolean|string[]>
function M.set_headers(headers)
  check "set_headers"
  if type(headers) ~= "table" then error("service.request.set_headers: expected a table", 2) end
  local problem = fields.problem(headers)
  if problem then error("service.request.set_headers: " .. problem, 2) end
  for name, value in pairs(headers) do M.set_header(name, value) end
end

local function put_body(body, name)
  if view.request_body() == nil then
    error(("service.request.%s: the request body is larger than plugins may have"):format(name), 3)
  end
  local rc = C.vf_view_set_request_body(task.run.ex, body, #body)
  if rc ~= 0 then error(("service.request.%s: the body %s"):format(name, view.problem(rc)), 3) end
  view.values().raw_body = body
end

--- Sets the content. What the client sends is read first, and dropped.
---@async
---@param body string
function M.set_raw_body(body)
  check "set_raw_body"
  check_text(body, "set_raw_body")
  put_body(body, "set_raw_body")
end

--- Sets the content from a table, encoded as `mimetype` (or the request's Content-Type) says: application/json,
-- application/x-www-form-urlencoded or multipart/form-data. Sets Content-Type. Raises when the table cannot be written
-- as that.
---@async
---@param args table
---@param mimetype string|nil
---@return true|nil ok, string|nil err there is no such media type, or none of this kind
function M.set_body(args, mimetype)
  check "set_body"
  if type(args) ~= "table" then error("service.request.set_body: expected a table", 2) end
  if mimetype ~= nil then check_text(mimetype, "set_body") end
  local content_type = mimetype or view.field(view.REQUEST, "content-type")
  if not content_type then
    return nil, "content type was neither explicitly given as an argument or received as a header"
  end
  local content = require "veloflux.runtime.content"
  if not content.can_encode(content_type) then
    return nil, ("unsupported content type '%s'"):format(content_type)
  end
  local body, written_type = content.encode(args, content_type)
  if not body then error("service.request.set_body: " .. written_type, 2) end
  put_body(body, "set_body")
  M.set_header("Content-Type", written_type)
  return true
end

--- Asks for the backend's answer as a whole before header_filter runs: service.response.get_raw_body and
-- response.get_raw_body give its content there, and response.set_raw_body sets it. An answer that is
-- larger than `plugin_limits.body` is not collected.
function M.enable_buffering()
  check "enable_buffering"
  C.vf_view_want_answer(task.run.ex)
end

return M

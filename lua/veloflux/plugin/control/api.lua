--- Endpoints that a plugin adds to the admin API: api.lua returns a list of
--   { method = "POST", path = "/api/widgets/{name}/spin", permission = "admin", summary = "Spins a widget.",
--     request = { turns = { type = "integer", required = true, min = 1 } },
--     handler = function(request) return 200, { turned = request.body.turns } end }
-- or, for what all entities of a kind can be asked, at another path than its own:
--   { kind = "widgets", path = "/api/workshop/widgets" }
-- See docs/plugins/control.md for all fields.
local model = require "veloflux.model"
local size = require "veloflux.model.size"
local fields = require "veloflux.plugin.control.fields"

local M = {}

local METHODS = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true }
local MAX_BODY_BYTES = 64 * 1024 * 1024
local TIMEOUT_MS, MAX_TIMEOUT_MS = 60000, 3600000

local KNOWN = { method = "string", path = "string", permission = "string", open = "function", summary = "string",
  tag = "string", query = "table", any_query = "boolean", request = { "table", "string" },
  request_type = { "string", "table" }, request_optional = "boolean", max_body = { "number", "string" },
  response = "table", response_type = { "string", "table" }, status = "number", answers = "table", openapi = "table",
  dry_run = "boolean", probation = "boolean", greets = "boolean", etag = "function",
  of_tenant = "boolean", accept = "string", timeout = { "number", "string" }, handler = "function" }

local KNOWN_OF_KIND = { kind = "string", path = "string" }

--- Says what is wrong with a path, or nil.
local function judge_path(path)
  if path:sub(1, 1) ~= "/" or path:find "//" or #path > 1 and path:sub(-1) == "/" or #path > 256 then
    return "expected a path such as /api/widgets/{name}"
  end
  local seen = {}
  for segment in path:gmatch "[^/]+" do
    local name = segment:match "^{([%a_][%w_]*)}$"
    if not name and not segment:find "^[%w%._~%-]+$" then
      return ("expected letters, digits and . _ ~ -, or {name}, between slashes, got %s"):format(segment)
    end
    if name and seen[name] then return ("{%s} is there twice"):format(name) end
    if name then seen[name] = true end
  end
end

--- Returns a path with its names left out: two with the same shape are one.
function M.shape(path) return (path:gsub("{[%w_]+}", "{}")) end

local function types_of(value, default)
  if type(value) == "table" then return value end
  return { value or default }
end

local function is_kind(name, own)
  for _, list in ipairs { own, model.KINDS } do
    for _, kind in ipairs(list) do
      if (kind.kind or kind) == name then return true end
    end
  end
end

--- Reads a path at which a kind is served. Returns {kind, path}, or nil after noting what is wrong.
local function read_collection(reader, definition, place, own)
  local function note(name, message) return reader.note("api", ("%s.%s: %s"):format(place, name, message), name) end
  if not fields.check(reader, "api", definition, place, KNOWN_OF_KIND) then return nil end
  if not is_kind(definition.kind, own) then
    return note("kind", "expected a kind of this plugin, or one of " .. table.concat(model.KINDS, ", "))
  end
  if not definition.path then return note("path", "required") end
  if judge_path(definition.path) or definition.path:find "{" then
    return note("path", "expected a path without names, such as /api/workshop/widgets")
  end
  return { kind = definition.kind, path = definition.path }
end

--- The endpoints of a kind that is served at a path: list of {method, path}.
function M.forms(path)
  local single, list = path .. "/{id}", {}
  for _, form in ipairs { { "GET", path }, { "POST", path }, { "GET", single }, { "PUT", single }, { "PATCH", single },
    { "DELETE", single } } do
    list[#list + 1] = { method = form[1], path = form[2] }
  end
  return list
end

--- Reads one definition.
-- @param own list of the plugin's own kinds (kinds.lua)
-- @return an endpoint; {kind, path} of a kind that is served at a path; or nil after noting what is wrong
function M.read(reader, definition, place, own)
  if definition.kind ~= nil then return read_collection(reader, definition, place, own) end
  local function note(name, message) return reader.note("api", ("%s.%s: %s"):format(place, name, message), name) end
  if not fields.check(reader, "api", definition, place, KNOWN) then return nil end
  for _, name in ipairs { "method", "path", "permission", "summary", "handler" } do
    if definition[name] == nil then return note(name, "required") end
  end
  if not METHODS[definition.method] then return note("method", "expected GET, POST, PUT, PATCH or DELETE") end
  local bad = judge_path(definition.path)
  if bad then return note("path", bad) end
  if not definition.permission:find "^%l[%l_]*$" and not definition.permission:find "^%l[%l_]*:%l[%l_]*$" then
    return note("permission", 'expected none, user, admin or one of its own such as "widgets:read"')
  end
  local timeout_ms = TIMEOUT_MS
  if definition.timeout then
    local expected
    timeout_ms, expected = fields.milliseconds(definition.timeout)
    if not timeout_ms or timeout_ms > MAX_TIMEOUT_MS then return note("timeout", expected or "expected at most 1h") end
  end
  if definition.accept and definition.accept ~= "any" then return note("accept", "expected any") end
  local max_bytes
  if definition.max_body then
    max_bytes = type(definition.max_body) == "number" and definition.max_body or size.parse(definition.max_body)
    if not max_bytes or max_bytes < 1 or max_bytes > MAX_BODY_BYTES then
      return note("max_body", "expected at most 64m")
    end
    if not definition.request_type then return note("max_body", "goes with request_type") end
  end
  if definition.method == "GET" and definition.request then return note("request", "GET has no body") end
  local takes_object = definition.request == "object"
  if type(definition.request) == "string" and not takes_object then
    return note("request", "expected a schema, or object: a JSON object that the handler judges")
  end
  local made = { method = definition.method, path = definition.path, permission = definition.permission,
    open = definition.open, summary = definition.summary, tag = definition.tag or reader.name,
    handler = definition.handler, etag = definition.etag, takes_dry_run = definition.dry_run == true,
    takes_probation = definition.dry_run == true and definition.probation ~= false or nil,
    greets = definition.greets == true or nil,
    any_query = definition.any_query == true, openapi = definition.openapi, answers = definition.answers,
    max_bytes = max_bytes, is_of_tenant = definition.of_tenant == true, any_accept = definition.accept == "any",
    status = definition.status, timeout_ms = timeout_ms,
    request_types = definition.request_type and types_of(definition.request_type) or nil,
    takes_object = takes_object, request_is_optional = definition.request_optional == true,
    response_types = types_of(definition.response_type, "application/json") }
  for _, name in ipairs { "query", "request", "response" } do
    if type(definition[name]) == "table" then
      made[name] = reader.schema("api", definition[name], place .. "." .. name)
      if not made[name] then return nil end
    end
  end
  return made
end

return M

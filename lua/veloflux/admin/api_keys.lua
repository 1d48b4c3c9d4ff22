--- /api/apikeys: keys of the admin API (control/api_keys.lua), and how a request shows one: as `Authorization: Bearer`
-- or `X-API-Key`.
local ffi = require "ffi"
local api_keys = require "veloflux.control.api_keys"
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local document = require "veloflux.model.document"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local roles = require "veloflux.admin.roles"
local s = require "veloflux.model.schema"
local status = require "veloflux.admin.status"
local tags = require "veloflux.admin.rest.tags"

ffi.cdef [[ uint64_t vf_clock_wall_ms(void); ]]

local M = {}

local used = setmetatable({}, { __mode = "k" }) -- record -> when it was last used here

local TYPE = s.compile(s.record { fields = {
  { name = s.string { required = true, match = "^[%w][%w._-]*$", len_max = 128,
    expects = "a name of letters, digits, dots, dashes and underscores" } },
  { role = s.string { default = "user", one_of = roles.NAMES } },
  { tenant_id = s.string { default = "default", match = "^[%w][%w._-]*$", len_max = 128,
    expects = "the name of a tenant" } },
  { description = s.string { default = "", len_max = 1000 } },
  { expires_in = s.duration { min = "1s", max = "3650d" } },
} })

local FIELDS = {}
for _, pair in ipairs(TYPE.fields) do FIELDS[#FIELDS + 1] = pair[1] end

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function shown(record)
  return { id = record.id, name = record.name, role = record.role, tenant_id = record.tenant,
    description = record.description, created_by = record.created_by, version = record.version,
    created_at = status.time(record.created_ms), expired = not api_keys.is_valid(record, now_ms()),
    expires_at = record.expires_ms and status.time(record.expires_ms) or json.null,
    last_used_at = used[record] and status.time(used[record]) or json.null }
end

-- Authentication ----------------------------------------------------------------------------------------------

--- Returns the identity of who shows a key; nil: it is none that holds.
local function identify(text)
  local record = api_keys.check(text, now_ms())
  if not record then return nil end
  used[record] = now_ms()
  return { name = "key:" .. record.name, method = "api_key", role = record.role, can = roles.can(record.role),
    tenant = record.tenant ~= "default" and record.tenant or nil,
    is_valid = function() return api_keys.is_valid(record, now_ms()) end }
end

--- Adds what understands keys to a list of authenticators (auth.lua).
function M.authenticate(auth)
  auth:add { scheme = "bearer", takes = api_keys.is_key, identify = identify }
  auth:add { scheme = "apikey", takes = function() return true end, identify = identify }
end

-- Endpoints ---------------------------------------------------------------------------------------------------

local PATHS = { name = true, role = true, tenant_id = true, expired = true, created_by = true }

local function list(_, request)
  local all = {}
  for i, record in ipairs(api_keys.list()) do all[i] = shown(record) end
  return query.list(request, all, PATHS, "name")
end

local function find(request)
  local record = api_keys.find(request.params.name)
  if record then return record end
  return nil, resources.not_found("API key", request.params.name)
end

local function get(_, request)
  local record, bad = find(request)
  if not record then return bad end
  local tag = tags.of(record)
  if tags.has(request.headers["if-none-match"] or "", tag, true) then
    return { status = 304, headers = { "ETag", tag }, body = "" }
  end
  return { json = shown(record), headers = { "ETag", tag } }
end

--- Reads what a key is to be. Returns its fields, or nil and a problem.
local function read(context, request)
  local body, bad = bodies.object(request, FIELDS)
  if not body then return nil, bad end
  local doc, fault = document.parse(json.encode(body), "body")
  if not doc then return nil, resources.invalid("", fault.message) end
  local record, problems = s.read(TYPE, doc, function() end)
  if not record then
    local errors = {}
    for i, found in ipairs(problems) do errors[i] = { pointer = found.pointer, detail = found.message } end
    return nil, problem.new("invalid", ("%s: %s"):format(errors[1].pointer:sub(2), errors[1].detail),
      { errors = errors })
  end
  local tenant = record.tenant_id
  if tenant ~= "default" and not context.transactions().find("tenants", nil, tenant) then
    return nil, resources.invalid("/tenant_id", ("unknown tenant %q"):format(tenant))
  end
  return { name = record.name, role = record.role, tenant = tenant, description = record.description,
    expires_ms = record.expires_in and now_ms() + record.expires_in }
end

local function would_create(fields)
  if api_keys.find(fields.name) then
    return problem.new("exists", ("There is an API key %s already."):format(fields.name))
  end
  return outcomes.would("apikeys", "added", fields.name, { after = { name = fields.name, role = fields.role,
    tenant_id = fields.tenant, description = fields.description } })
end

local function create(context, request)
  local fields, bad = read(context, request)
  if not fields then return bad end
  local is_dry
  is_dry, bad = parameters.flag(request, "dry_run")
  if bad then return bad end
  if is_dry then return would_create(fields) end
  local result = await.call(function(callback)
    api_keys.create(fields, rest.context_of(request, false), callback)
  end)
  if not result.ok then return outcomes.refused(result) end
  local answer = shown(result.record)
  answer.key = result.key
  local headers = outcomes.headers(result)
  for _, text in ipairs { "ETag", tags.of(result.record), "Location", "/api/apikeys/" .. fields.name } do
    headers[#headers + 1] = text
  end
  return { status = 201, json = answer, headers = headers }
end

local function revoke(_, request)
  local record, bad = find(request)
  if not record then return bad end
  bad = select(2, tags.precondition(request, record))
  if bad then return bad end
  local is_dry
  is_dry, bad = parameters.flag(request, "dry_run")
  if bad then return bad end
  if is_dry then return outcomes.would("apikeys", "removed", record.name, { before = shown(record) }) end
  local result = await.call(function(callback)
    api_keys.revoke(record.name, rest.context_of(request, false), callback)
  end)
  if not result.ok then return outcomes.refused(result) end
  return { status = 204, body = "", headers = outcomes.headers(result) }
end

local TEXT, JSON, TIME = { type = "string" }, bodies.JSON, { type = { "string", "null" } }
local ROLE = { type = "string", enum = roles.NAMES }
local SHOWN = { type = "object", properties = { id = TEXT, name = TEXT, role = ROLE, tenant_id = TEXT,
  description = TEXT, created_by = TEXT, created_at = TEXT, version = { type = "integer" },
  expired = { type = "boolean" }, expires_at = TIME, last_used_at = TIME, key = TEXT } }
local BODY = { [JSON] = { type = "object", additionalProperties = false, required = { "name" }, properties = {
  name = TEXT, role = ROLE, tenant_id = TEXT, description = TEXT, expires_in = TEXT } } }

local ROWS = {
  { "GET", "/api/apikeys", "apikeys:read", list, { summary = "The keys of this API: whose they are, never they "
    .. "themselves.", answers = { ["200"] = { "The list.", { [JSON] = { type = "array", items = SHOWN } } } },
    parameters = query.parameters(PATHS) } },
  { "POST", "/api/apikeys", "apikeys:write", create, { summary = "Makes a key. It is shown this once.", body = BODY,
    may_be_tried = true,
    answers = { ["201"] = { "The key.", { [JSON] = SHOWN } }, ["409"] = { "The name is taken." } } } },
  { "GET", "/api/apikeys/{name}", "apikeys:read", get, { summary = "One of them.",
    has_etag = true, answers = { ["200"] = { "It.", { [JSON] = SHOWN } }, ["304"] = { "It is as If-None-Match says." },
      ["404"] = { "There is none." } } } },
  { "DELETE", "/api/apikeys/{name}", "apikeys:write", revoke, { summary = "Revokes a key, at once.",
    may_be_tried = true, has_etag = true,
    answers = { ["204"] = { "It opens nothing any more." }, ["404"] = { "There is none." } } } },
}

local function handler_of(context, handler)
  local served = rest.post(context, handler)
  if handler == list then return served end
  return parameters.taking(handler ~= get and { "dry_run" } or nil, served)
end

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    row[5].tag = "apikeys"
    router:register { method = row[1], path = row[2], permission = row[3], doc = row[5],
      handler = handler_of(context, row[4]) }
  end
end

return M

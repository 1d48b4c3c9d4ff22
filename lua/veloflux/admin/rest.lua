--- Serves the resources that resources.lua declares: lists, single objects, and changes as transactions. What all
-- writes have in common (dry runs, preconditions, read-only fields, secrets that come back masked) is here once.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local encoding = require "veloflux.pdk.encoding"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local queue = require "veloflux.control.queue"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"
local status = require "veloflux.admin.status"
local tenant_guard = require "veloflux.admin.tenant_guard"
local values = require "veloflux.control.values"
local view = require "veloflux.model.view"

local M = {}

local MAX_TRIES = 5 -- of a change to an element when others change its owner meanwhile

-- What is shown ---------------------------------------------------------------------------------------------

--- Returns an object as it is shown.
function M.show(resource, entry)
  local shown = view.show(entry.compiled, entry.record)
  shown.tenant_id, shown.tenant = entry.tenant, nil
  shown.id = shown.id or entry.name
  shown.version, shown.origin, shown.source = entry.version, entry.origin, entry.source
  shown.created_at = entry.created_ms and status.time(entry.created_ms) or json.null
  shown.updated_at = entry.updated_ms and status.time(entry.updated_ms) or json.null
  if resource.show then resource.show(entry, shown) end
  return shown
end

local function tag_of(entry) return ('"%d"'):format(entry.version or 0) end

--- Says whether a list of entity tags has one (RFC 9110 section 8.8.3); `weak`: weak ones count.
local function has_tag(field, tag, weak)
  for item in field:gmatch "[^,]+" do
    item = item:match "^%s*(.-)%s*$"
    if item == "*" or item == tag or weak and item == "W/" .. tag then return true end
  end
  return false
end

-- Parameters ------------------------------------------------------------------------------------------------

local COMMON_PARAMETERS = { tenant_id = true }

local function known_parameters(...)
  local known = {}
  for _, set in ipairs { COMMON_PARAMETERS, ... } do
    for name in pairs(set) do known[name] = true end
  end
  return known
end

--- Returns the parameters of path and query that say which object is meant; or nil and a problem. The other
-- parameters of the query come second.
local function read_parameters(request, ...)
  local params, names = query.parse(request.query)
  if not params then return nil, names end
  local bad = query.unknown(names, known_parameters(...))
  if bad then return nil, bad end
  local where = {}
  for name, value in pairs(request.params) do
    where[name] = encoding.url_decode(value)
    if not where[name] or not query.is_text(where[name]) then
      return nil, problem.new("not_found", "There is nothing at this path.")
    end
  end
  where.tenant_id = params.tenant_id and params.tenant_id[#params.tenant_id]
  local own = request.identity and request.identity.tenant
  if own and where.tenant_id and where.tenant_id ~= own then
    return nil, resources.not_found("tenant", where.tenant_id)
  end
  where.tenant_id, where.only = own or where.tenant_id, own
  return where, params
end

local function not_acceptable()
  return problem.new("not_acceptable", "This is answered as application/json.")
end

local function takes_json(request) return bodies.accepts(request, "application/json") end

-- Reading ---------------------------------------------------------------------------------------------------

--- The paths by which lists of a resource are filtered and sorted: its scalar fields.
local function add_paths(paths, prefix, compiled, depth)
  compiled = compiled and compiled.general or compiled
  for _, pair in ipairs(compiled and compiled.fields or {}) do
    local name, field = prefix .. pair[1], pair[2]
    local attr = field.attr
    if not attr.secret and attr.type ~= "unavailable" and attr.type ~= "opaque" and attr.type ~= "tree" then
      if not field.fields and not field.value and name ~= "tenant" then paths[name] = true end
      local inner = field.fields and field or field.forms and field.forms.map
      if inner and depth > 0 then add_paths(paths, name .. ".", inner, depth - 1) end
    end
  end
end

--- Returns the set of paths by which lists of a resource may be filtered and sorted.
function M.paths(resource)
  if resource.paths then return resource.paths end
  local paths = {}
  add_paths(paths, "", schemas.type_of(resource), 2)
  for _, field in ipairs(resource.fields) do paths[field[1]] = true end
  resource.paths = paths
  return paths
end

-- An object of a list that is shown when something is asked of it that its entry does not say by itself: a page of
-- a long list should not cost the whole.
local Lazy = {}

local function shown_of(item)
  local shown = rawget(item, "_shown")
  if not shown then
    shown = M.show(rawget(item, "_resource"), rawget(item, "_entry"))
    item._shown = shown
  end
  return shown
end

function Lazy.__index(item, field)
  local entry, quick = rawget(item, "_entry"), rawget(item, "_resource").quick
  if field == "tenant_id" and quick then return entry.tenant end
  if quick and quick[field] then return quick[field](entry) end
  return shown_of(item)[field]
end

local PAGING = { limit = true, cursor = true, page = true, sort = true }

--- What a tenant may see of a list.
local function only_of(entries, tenant)
  local own = {}
  for _, entry in ipairs(entries) do
    if entry.tenant == tenant then own[#own + 1] = entry end
  end
  return own
end

local function list(resource, context, request)
  if not takes_json(request) then return not_acceptable() end
  local where, params = read_parameters(request, PAGING, M.paths(resource))
  if not where then return params end
  local bad = resource.check_filters and resource.check_filters(context.transactions(), where, params)
  if bad then return bad end
  local entries
  entries, bad = resource.list(context.transactions(), where)
  if not entries then return bad end
  if where.only then entries = only_of(entries, where.only) end
  local shown = {}
  for i, entry in ipairs(entries) do shown[i] = setmetatable({ _entry = entry, _resource = resource }, Lazy) end
  return query.answer(request, params, shown, M.paths(resource), resource.order, shown_of)
end

local function find_entry(resource, context, where)
  local entry, bad = resource.find(context.transactions(), where)
  if entry and where.only and entry.tenant ~= where.only then entry = nil end
  if entry then return entry end
  return nil, bad or resources.not_found(resource.noun, where.id)
end

--- Finds the object that a request names.
-- @param known set of the parameters that its query may have besides; none when nil
-- @return its entry and the query (query.parse), or nil and a problem
function M.find(resource, context, request, known)
  local where, params = read_parameters(request, known or {})
  if not where then return nil, params end
  local entry, bad = find_entry(resource, context, where)
  if not entry then return nil, bad end
  return entry, params
end

local function get(resource, context, request)
  if not takes_json(request) then return not_acceptable() end
  local where, bad = read_parameters(request)
  if not where then return bad end
  local entry
  entry, bad = find_entry(resource, context, where)
  if not entry then return bad end
  local tag = tag_of(entry)
  if has_tag(request.headers["if-none-match"] or "", tag, true) then
    return { status = 304, headers = { "ETag", tag }, body = "" }
  end
  return { json = M.show(resource, entry), headers = { "ETag", tag } }
end

-- Writing ---------------------------------------------------------------------------------------------------

--- What objects are known by has to be text; elsewhere the model takes what a conf file may say.
local function check_names(value)
  for _, name in ipairs { "name", "as", "tenant", "tenant_id", "address", "pool", "route", "consumer", "scope" } do
    local own = value[name]
    if own ~= nil and own ~= json.null and type(own) ~= "string" then
      return resources.invalid("/" .. name, "expected a text")
    end
  end
end

--- Fields that are shown but not written are accepted and ignored; `tenant_id` is the tenant.
local function take_fields(resource, value, entry, where)
  local compiled = schemas.type_of(resource)
  for _, field in ipairs(resource.fields) do
    local name = field[1]
    if not field.takes and not (compiled.by_name and compiled.by_name[name]) then value[name] = nil end
  end
  for _, name in ipairs { "tenant", "tenant_id" } do
    if value[name] == json.null then value[name] = nil end
    if value[name] == "" then return resources.invalid("/" .. name, "expected the name of a tenant") end
  end
  local tenant = value.tenant_id
  value.tenant_id = nil
  if entry then
    tenant = tenant or value.tenant
    if tenant ~= nil and tenant ~= entry.tenant and resource.name ~= "tenants" then
      return resources.invalid("/tenant_id", "cannot be changed")
    end
    value.tenant = nil
    return nil
  end
  if tenant and value.tenant and tenant ~= value.tenant then
    return resources.invalid("/tenant", "is another than tenant_id")
  end
  if resource.name ~= "tenants" then value.tenant = tenant or value.tenant or where.tenant_id end
end

--- Makes of what came in what the model takes.
-- @param entry of what it changes (nil: it makes one); with is_pending: of what is not there yet
-- @return it, or nil and a problem
local function prepare(resource, request, raw, entry, where)
  local value = values.literal(raw)
  for name, own in pairs(entry and {} or value) do
    if own == json.null then value[name] = nil end -- the default
  end
  local bad = check_names(value) or take_fields(resource, value, entry, where)
  if not bad and resource.prepare then bad = resource.prepare(value, entry) end
  if bad then return nil, bad end
  local compiled = entry and entry.compiled or schemas.type_of(resource)
  view.take(compiled, value)
  if bodies.prefers(request, "handling=lenient") then
    local kept = {}
    for _, field in ipairs(resource.fields) do
      if field.takes then kept[field[1]] = value[field[1]] end
    end
    local tenant = value.tenant
    view.strip(compiled, value)
    value.tenant = tenant
    for name, own in pairs(kept) do value[name] = own end
  end
  if entry and not entry.is_pending then view.unmask(value, entities.open(entry)) end
  return value
end
M.prepare = prepare

--- Returns the context of a transaction: who changes something, and why.
function M.context_of(request, is_dry)
  local reason = request.headers["x-change-reason"]
  return { author = request.identity.name, source = "api", request_id = request.request_id, dry_run = is_dry,
    reason = reason and reason:sub(1, 1000) or nil, probation = request.probation }
end

--- Runs a transaction. Yields.
local function apply(context, ops, options)
  return await.call(function(callback) context.transactions().apply(ops, options, callback) end)
end
M.apply = apply

local function prefix_of(element)
  return element and ("/%s/%d"):format(element.field, element.index - 1)
end

--- Returns the headers of the answer to a write, and its status.
local function headers_of(result, request)
  local headers = outcomes.headers(result)
  if bodies.prefers(request, "handling=lenient") then
    headers[#headers + 1] = "Preference-Applied"
    headers[#headers + 1] = "handling=lenient"
  end
  return headers
end

--- Finds what a transaction has made or changed, for the answer.
local function written(context, entry, element)
  local t = context.transactions()
  if element then
    local owner = entities.find(t, element.owner.kind, element.owner.op_tenant, element.owner.name)
    return owner and entities.elements(owner, element.field)[element.index]
  end
  return entities.find(t, entry.kind, entry.tenant, entry.name)
end

--- Copies the secrets of what was sent into what is shown: once, to who made them.
local function reveal(shown, value)
  for name, own in pairs(shown) do
    if own == view.MASK and type(value[name]) == "string" then shown[name] = value[name] end
  end
end

--- Answers a write.
-- @param found what to look the object up by
-- @param sent the value, when its secrets are shown once
local function answer(resource, context, request, result, found, code, sent)
  if result.is_dry then return outcomes.dry(result, headers_of(result, request)) end
  local headers = headers_of(result, request)
  local entry = written(context, found, found.element)
  if not entry then return { status = 204, headers = headers, body = "" } end -- deleted by another, since
  local shown = M.show(resource, entry)
  if sent then reveal(shown, sent) end
  headers[#headers + 1], headers[#headers + 2] = "ETag", tag_of(entry)
  if code == 201 then
    local single = request.path:gsub("/$", "") .. "/" .. encoding.url_encode(shown.credential_id or shown.id)
    if resource.location then
      single = resource.location(entry, shown)
    elseif resource.is_per_tenant and entry.tenant ~= "default" then
      single = single .. "?tenant_id=" .. encoding.url_encode(entry.tenant)
    end
    headers[#headers + 1], headers[#headers + 2] = "Location", single
  end
  return { status = outcomes.laggards(result) > 0 and 202 or code, json = shown, headers = headers }
end

--- Refuses what a tenant wants to make or change that is not its own. Returns nil, or a problem.
local function refuse_for_others(resource, value, where)
  if not where.only then return nil end
  if resource.name == "tenants" or value and value.scope == "global" then
    return problem.new("forbidden", "This is the platform's, not a tenant's.")
  end
  if not value then return nil end
  local tenant = value.tenant
  if tenant ~= nil and tenant ~= where.only then return resources.not_found("tenant", tenant) end
end

local WRITE = { dry_run = true }

local function create(resource, context, request)
  if not takes_json(request) then return not_acceptable() end
  local where, params = read_parameters(request, WRITE)
  if not where then return params end
  local is_dry, bad = query.flag(params, "dry_run")
  if bad then return bad end
  local raw
  raw, bad = bodies.read(request, bodies.JSON)
  bad = bad or where.only and tenant_guard.refuse(resource, raw)
  if bad then return bad end
  for _ = 1, MAX_TRIES do
    local value, ops, element
    value, bad = prepare(resource, request, raw, nil, where)
    bad = bad or refuse_for_others(resource, value, where)
    if bad then return bad end
    ops, bad, element = resource.create(context.transactions(), value, where)
    if not ops then return bad end
    local result = apply(context, ops, M.context_of(request, is_dry))
    if result.ok then
      result.is_dry = is_dry
      local op = ops[1]
      return answer(resource, context, request, result,
        { kind = op.kind, tenant = op.tenant, name = op.name, element = element }, 201, resource.reveals and value)
    end
    if result.code ~= "stale" or not element then return outcomes.refused(result, prefix_of(element)) end
  end
  return problem.new("conflict", "Others change the same object all the time; try again.")
end

--- Judges If-Match and If-None-Match of a write. Returns the version it holds for (or nil), or nil and a problem.
local function precondition(request, entry)
  local field = request.headers["if-match"]
  if request.headers["if-none-match"] and has_tag(request.headers["if-none-match"], tag_of(entry), true) then
    return nil, problem.new("stale", "There is one like that: If-None-Match does not hold.")
  end
  if not field then return nil end
  if has_tag(field, tag_of(entry)) then
    return not field:find "%*" and entry.version or nil
  end
  return nil, problem.new("stale", ("The current version is %s."):format(tag_of(entry)),
    { headers = { "ETag", tag_of(entry) }, members = { version = entry.version } })
end

local MODES = { put = { PUT = "put", PATCH = "merge" }, replace = { PUT = "replace" } }

local function operation(request, params)
  local mode = params.mode and params.mode[#params.mode]
  if mode and mode ~= "replace" and mode ~= "merge" then
    return nil, query.wrong("mode", "expected replace or merge")
  end
  return MODES[mode == "replace" and "replace" or "put"][request.method]
end

--- Changes or deletes an object as it is now. Returns the answer; or nil: others were first.
local function attempt(resource, context, request, op, raw, where, is_dry)
  local entry, bad = find_entry(resource, context, where)
  bad = bad or raw and where.only and tenant_guard.refuse_change(resource, entry)
  if bad then return bad end
  local if_match
  if_match, bad = precondition(request, entry)
  if bad then return bad end
  local value
  if raw then
    value, bad = prepare(resource, request, raw, entry, where)
    if not value then return bad end
  end
  local result = apply(context, resource.change(op, entry, value, if_match), M.context_of(request, is_dry))
  local element = entry.owner and entry
  if not result.ok then
    if result.code == "stale" and element and not request.headers["if-match"] then return nil end
    return outcomes.refused(result, prefix_of(element))
  end
  result.is_dry = is_dry
  if op == "delete" then
    if is_dry then return outcomes.dry(result, headers_of(result, request)) end
    return { status = outcomes.laggards(result) > 0 and 202 or 204, headers = headers_of(result, request), body = "" }
  end
  return answer(resource, context, request, result, { kind = entry.kind,
    tenant = entry.op_tenant, name = entry.name, element = element }, 200)
end

local function change(resource, context, request)
  if not takes_json(request) then return not_acceptable() end
  local is_delete = request.method == "DELETE"
  local where, params = read_parameters(request, WRITE, request.method == "PUT" and { mode = true } or {})
  if not where then return params end
  local is_dry, bad = query.flag(params, "dry_run")
  bad = bad or refuse_for_others(resource, nil, where)
  if bad then return bad end
  local op = is_delete and "delete"
  if not op then
    op, bad = operation(request, params)
    if not op then return bad end
  end
  local raw
  if not is_delete then
    raw, bad = bodies.read(request, request.method == "PATCH" and bodies.MERGE_PATCH or bodies.JSON)
    bad = bad or where.only and tenant_guard.refuse(resource, raw)
    if bad then return bad end
  end
  for _ = 1, MAX_TRIES do
    local result = attempt(resource, context, request, op, raw, where, is_dry)
    if result then return result end
  end
  return problem.new("conflict", "Others change the same object all the time; try again.")
end

--- Waits for the first configuration, if that is on its way. Returns false when there is none. Yields.
function M.is_ready()
  if queue.world() then return true end
  await.call(function(callback)
    queue.enqueue(function(done)
      callback()
      done()
    end)
  end)
  return queue.world() ~= nil
end

-- Registration ----------------------------------------------------------------------------------------------

local HANDLERS = { PUT = change, PATCH = change, DELETE = change }

--- Returns a handler that waits for the first configuration, and answers those who take JSON.
-- @param handler function(context, request) -> result
function M.post(context, handler)
  return function(request)
    if not takes_json(request) then return not_acceptable() end
    if not M.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    return handler(context, request)
  end
end

local function add(router, resource, context, method, path, handler, what)
  local is_read = method == "GET"
  local function serve(request)
    if not M.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    return handler(resource, context, request)
  end
  router:register { method = method, path = path, handler = serve,
    permission = resource.permission .. (is_read and ":read" or ":write"), takes_probation = not is_read,
    is_of_tenant = true,
    doc = { resource = resource, what = what } }
end

local function add_all(router, resource, forms, context)
  for _, form in ipairs(forms) do
    if form.collection then
      add(router, resource, context, "GET", form.collection, list, "list")
      add(router, resource, context, "POST", form.collection, create, "create")
    end
    if form.single then
      add(router, resource, context, "GET", form.single, get, "get")
      for _, method in ipairs { "PUT", "PATCH", "DELETE" } do
        if resource.methods[method] then
          add(router, resource, context, method, form.single, HANDLERS[method], method:lower())
        end
      end
    end
  end
end

--- Returns the endpoints of a resource at a path as a list.
function M.endpoints_at(path, resource, context)
  local endpoints = {}
  add_all({ register = function(_, endpoint) endpoints[#endpoints + 1] = endpoint end }, resource,
    { { collection = path, single = path .. "/{id}" } }, context)
  return endpoints
end

--- Registers the endpoints of all resources.
-- @param context table: transactions() -> control/transactions.lua
function M.register(router, context)
  for _, resource in ipairs(resources.ALL) do add_all(router, resource, resource.forms, context) end
end

return M

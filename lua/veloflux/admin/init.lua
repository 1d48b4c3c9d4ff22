--- The admin address: what src/control/admin.c calls. Each request runs as a coroutine, so handlers may
-- wait; what comes back is answered through `native.respond`.
--
--   handle -> router -> authentication -> permission -> handler -> respond
local ffi = require "ffi"
local administrators = require "veloflux.admin.administrator"
local alarms = require "veloflux.control.alarms"
local auths = require "veloflux.admin.auth"
local api_keys = require "veloflux.admin.api_keys"
local await = require "veloflux.admin.await"
local backup_services = require "veloflux.control.plugins.backups"
local bodies = require "veloflux.admin.body"
local bulk_services = require "veloflux.control.plugins.bulk"
local catalog = require "veloflux.admin.catalog"
local certificates = require "veloflux.admin.certificates"
local channels = require "veloflux.admin.channels"
local cluster = require "veloflux.admin.cluster"
local configuration = require "veloflux.admin.configuration"
local cors = require "veloflux.admin.cors"
local configuration_services = require "veloflux.control.plugins.configuration"
local documents = require "veloflux.control.plugins.documents"
local endpoints = require "veloflux.admin.endpoints"
local hub = require("veloflux.channels").hub
local flow = require "veloflux.control.flow"
local idempotency = require "veloflux.admin.idempotency"
local json = require "veloflux.pdk.json"
local key_endpoints = require "veloflux.admin.keys"
local keys = require "veloflux.keys"
local live = require "veloflux.admin.live"
local log = require "veloflux.admin.log"
local monitoring = require "veloflux.admin.monitoring"
local offload = require "veloflux.control.offload"
local openapi = require "veloflux.admin.openapi"
local overrides = require "veloflux.admin.overrides"
local probation = require "veloflux.admin.probation"
local control_plugins = require "veloflux.control.plugins"
local plugin_endpoints = require "veloflux.control.plugins.endpoints"
local problem = require "veloflux.admin.problem"
local resources = require "veloflux.admin.resources"
local runtime_entities = require "veloflux.runtime.entities"
local queue = require "veloflux.control.queue"
local rate_limits = require "veloflux.admin.rate_limit"
local rates = require "veloflux.admin.rates"
local reload_services = require "veloflux.control.plugins.reload"
local refusals = require "veloflux.admin.refusals"
local rest = require "veloflux.admin.rest"
local routers = require "veloflux.admin.router"
local schema_services = require "veloflux.control.plugins.schemas"
local security = require "veloflux.admin.security"
local slices = require "veloflux.slices"
local spools = require "veloflux.spool"
local state_services = require "veloflux.control.plugins.state"
local storage = require "veloflux.control.storage"
local template_services = require "veloflux.control.plugins.templates"
local totals = require "veloflux.totals"
local transactions = require "veloflux.control.transactions"
local watches = require "veloflux.control.probation"

ffi.cdef [[
uint64_t vf_clock_ns(void);
const char *vf_version(void);
]]

local M = {}

local native, state -- from C: respond, verify; and the state area
local services      -- what control offers: current(), reload(callback)
local admin         -- the record `admin` of the published conf, or nil
local sealing       -- {seal, unseal}: with the keys of the node
local data_dir      -- of the node, once there is a conf
local waiting = {}  -- token -> coroutine that waits for a verification
local last_token = 0

local function now() return tonumber(ffi.C.vf_clock_ns()) / 1e9 end

local resume = await.resume

--- Compares a password on a thread. Yields.
local function verify(encoded, password)
  last_token = last_token + 1
  if not native.verify(last_token, encoded, password) then return nil end
  waiting[last_token] = coroutine.running()
  return coroutine.yield()
end

--- Reloads. Yields until it has ended.
local function reload() return await.call(services.reload) end

--- Says what a reload would change. Yields.
local function dry_reload() return await.call(services.dry_reload) end

local limit = rate_limits.new()
--- The table of endpoints: plugins register theirs here.
M.router = routers.new()
local administrator = administrators.new(verify)
--- The list of authenticators: plugins add theirs here.
M.auth = auths.new(administrator, now)
local context = { version = ffi.string(ffi.C.vf_version()), rates = rates.new(), now = now, reload = reload,
  dry_reload = dry_reload,
  security = function() return security.document(state, M.auth, now()) end,
  metrics_open = function() return admin ~= nil and admin.metrics_open end,
  current = function() return services.current() end, transactions = function() return transactions end,
  store = function() return sealing and storage.current() end,
  folder = function() return data_dir end, is_shared = storage.is_shared,
  seal = function(text) return sealing.seal(text) end, unseal = function(text) return sealing.unseal(text) end }
local answers = idempotency.new(context)
endpoints.register(M.router, context)
catalog.register(M.router, context)
overrides.register(M.router, context) -- before what has a pool where these have an id
rest.register(M.router, context)
configuration.register(M.router, context)
key_endpoints.register(M.router, context)
api_keys.register(M.router, context)
api_keys.authenticate(M.auth)
channels.register(M.router)
for _, endpoint in ipairs(M.router:all()) do -- those of plugins, which come later, say themselves what they answer
  if not endpoint.open and not endpoint.is_channel then endpoint.produces = openapi.produces(endpoint) end
end

--- The resources of the kinds that plugins store, by kind.
local stored = setmetatable({}, { __mode = "k" })

local function resource_of(kind)
  stored[kind] = stored[kind] or resources.of_kind(kind)
  return stored[kind]
end

state_services.register(context)
configuration_services.register(context)
bulk_services.register(context)
reload_services.register(context)
schema_services.register(M.router, context.version)
template_services.register(context)
backup_services.register(context)
documents.register(function() return data_dir end)
control_plugins.open { router = M.router, channels = require "veloflux.channels",
  entity_endpoints = function(kind, path)
    return rest.endpoints_at(path, type(kind) == "string" and resources[kind] or resource_of(kind), context)
  end,
  set_kinds = function(kinds)
    local list = {}
    for i, kind in ipairs(kinds) do list[i] = resource_of(kind) end
    table.sort(list, function(a, b) return a.name < b.name end)
    resources.set_stored(list)
  end }

local SAFE = { GET = true, HEAD = true, OPTIONS = true }

--- A browser sends credentials that it remembers with requests that other sites make it send: what
-- changes something has to come from our own pages, or from no page.
local function is_cross_origin(request)
  local headers = request.headers
  if cors.origin_of(request) then return false end
  local site = headers["sec-fetch-site"]
  if site and site ~= "same-origin" and site ~= "none" then return true end
  local origin = headers.origin
  return origin ~= nil and (origin:match "^https?://(.+)$" or ""):lower() ~= request.host:lower()
end

local function is_open(endpoint, request)
  if endpoint.greets then return M.auth:is_stranger(request) end
  if type(endpoint.open) == "function" then return endpoint.open() end
  return endpoint.open == true
end

--- Takes over the settings of what is published. After a predecessor they may come later than the snapshot.
local function configure()
  local current = services.current()
  if not current then return end
  local node = current.model.node
  admin, data_dir = node.admin, node.data_dir
  M.auth.is_enabled = admin.auth.enabled
  administrator:configure(admin.auth, node.data_dir)
  channels.configure(admin.websocket)
  cors.configure(admin.cors)
  limit:configure(type(admin.rate_limit) == "table" and admin.rate_limit or nil)
  local seal, unseal = keys.sealer(node)
  if not seal then return log.write("error", "admin.no_key", { "err", unseal }) end
  sealing = { seal = seal, unseal = unseal }
end

--- Returns who asks, or nil and a problem. May yield.
local function identify(request, endpoint)
  if endpoint and endpoint.is_channel then
    if M.auth:has "bearer" then channels.take_token(request) end
    local stranger = channels.stranger(request, endpoint.permission)
    if stranger then return stranger end
  end
  return M.auth:identify(request)
end

local starting = {} -- callbacks of requests that came before control knew what is published

local function release()
  configure()
  local list = starting
  starting = {}
  for _, callback in ipairs(list) do callback() end
end

--- Waits until control, which replaces another, knows what is published; or knows that it does not. Yields.
local function await_start()
  await.call(function(callback)
    starting[#starting + 1] = callback
    if #starting > 1 then return end
    queue.enqueue(function(done) -- behind the start
      release()
      done()
    end)
  end)
end

local PROBES = { ["/health"] = true, ["/ready"] = true } -- are never too many, and wait for nothing

--- Returns a problem when the client has asked too much, or nil.
local function over_limit(request)
  if request.is_local or PROBES[request.path] then return nil end
  local seconds = limit:refuse(request.client, now())
  return seconds and problem.new("too_many_requests", ("Too many requests; try again in %d seconds."):format(seconds),
    { headers = { "Retry-After", tostring(seconds) } }) or nil
end

--- Returns the result for a request: what the endpoint says, or a problem on the way to it. May yield.
local function serve(request)
  if not admin then configure() end
  if not admin and not PROBES[request.path] then await_start() end
  local answered = cors.preflight(request) or over_limit(request)
  if answered then return answered end
  local endpoint, params = M.router:find(request.method, request.path)
  if endpoint and is_open(endpoint, request) then
    request.params = params
    return endpoint.handler(request)
  end
  if not admin and not request.is_local then
    return problem.new("unavailable", "There is no configuration yet.")
  end
  local identity, refused = identify(request, endpoint) -- before a stranger learns which paths there are
  if not identity then return refused end
  request.author = identity.name
  if not endpoint then return params end
  if (not SAFE[request.method] or endpoint.is_channel) and is_cross_origin(request) then
    return problem.new("cross_origin", "This request came from a page of another site.")
  end
  if not identity.can(endpoint.permission) then
    return problem.new("forbidden", "This needs the permission " .. endpoint.permission .. ".")
  end
  if identity.tenant and not endpoint.is_of_tenant then
    return problem.new("forbidden", "This is the platform's, not a tenant's.")
  end
  request.params, request.identity = params, identity
  if endpoint.produces and not bodies.accepts(request, unpack(endpoint.produces)) then
    return problem.new("not_acceptable", ("This is answered as %s."):format(table.concat(endpoint.produces, " or ")))
  end
  local wrong = admin and probation.take(request, endpoint, admin.probation)
  if wrong then return wrong end
  if not SAFE[request.method] then
    log.write("info", "admin.write", { "method", request.method, "path", request.path, "by", identity.name,
      "client", request.client, "request_id", request.request_id })
  end
  local handler = endpoint.handler
  if not SAFE[request.method] then
    handler, refused = cluster.waiting(request, handler)
    if not handler then return refused end
  end
  return answers:serve(request, handler)
end

--- The same with content that is in a file, which ends with the request.
local function serve_spooled(request)
  local spool, message = spools.take(request.spool)
  request.spool = spool
  if not spool then error("the content " .. message, 0) end
  local result = serve(request)
  spools.close(spool)
  return result
end

local JSON_HEADERS = { "Content-Type", "application/json", "Cache-Control", "no-store",
  "X-Content-Type-Options", "nosniff" }

local function joined(first, second)
  local all = {}
  for i = 1, #first do all[i] = first[i] end
  for i = 1, #(second or {}) do all[#all + 1] = second[i] end
  return all
end

--- Makes a WebSocket of the connection.
local function upgrade(id, request, asked)
  local done, message = native.upgrade(id, asked.client, asked.headers, asked.max_message)
  if done then return asked.on_open() end
  if done == nil then native.respond(id, problem.encode(asked.on_failed(message), request)) end
end

local function respond(id, request, result)
  if result.upgrade then return upgrade(id, request, result.upgrade) end
  local status, headers, body = result.status, result.headers or {}, result.body or ""
  if result.code then
    status, headers, body = problem.encode(result, request)
  elseif result.json ~= nil or result.json_text then
    status, headers = status or 200, joined(JSON_HEADERS, headers)
    body = (result.json_text or json.lenient(result.json)) .. "\n"
  elseif result.content then
    body = spools.give(result.content)
  end
  native.respond(id, status, cors.add(request, headers), body)
end

local function run(id, request)
  local ok, result = xpcall(request.spool and serve_spooled or serve, debug.traceback, request)
  if ok then
    refusals.note(request, result)
    local encoded, message = pcall(respond, id, request, result)
    if encoded then return end
    result = message
  end
  log.write("error", "admin.lua_error", { "path", request.path, "request_id", request.request_id, "err", result })
  respond(id, request, problem.new("internal_error", "The request could not be answered; the log says why."))
end

local DEFAULT_BYTES = 1024 * 1024 -- of content, unless its endpoint says otherwise

--- How the content of a request is taken. Called by C.
-- @param is_named true: the request says who sends it; others are not given more than the usual
-- @return the most bytes; and the folder for a file that they go to, or nil: into memory
function M.content_rule(method, path, is_named)
  local endpoint = M.router:find(method, path)
  if not endpoint or not endpoint.max_bytes or M.auth.is_enabled and not is_named then return DEFAULT_BYTES end
  return endpoint.max_bytes, endpoint.spools and data_dir or nil
end

--- A request has arrived. Called by C.
-- @param id number, for respond
-- @param request table: method, path, query, host, headers, body, client, is_local, request_id
function M.handle(id, request)
  request.id = id
  slices.begin()
  resume(slices.allow(coroutine.create(run)), id, request)
end

--- The client of a request is gone: its answer will be dropped. Called by C.
function M.gone(id) plugin_endpoints.gone(id) end

--- A comparison of `verify` has ended. Called by C.
function M.verified(token, is_right)
  local thread = waiting[token]
  waiting[token] = nil
  if thread then resume(thread, is_right) end
end

--- Takes a sample for the rates. Called by C every two seconds.
function M.tick()
  context.rates:sample(now(), monitoring.sample())
  watches.sample()
end

--- A configuration is published. Called by C.
-- @param snapshot pointer to struct vf_snapshot, valid until the next call
-- @param usage pointer to struct vf_usage, as long as the process lives, or nil
function M.published(snapshot, usage)
  totals.open(state, snapshot, usage)
  runtime_entities.publish(snapshot)
  control_plugins.published(snapshot)
  if #context.rates:list() == 0 then M.tick() end -- the first rates need something to be measured against
  live.published()
  configure()
  hub:tick() -- who follows the configuration hears of it; whose credentials no longer hold is let go
end

--- Of the clients of channels. Called by C (control/channels.h).
function M.channel_message(id, text, is_binary) hub:received(id, text, is_binary) end
function M.channel_writable(id) return hub:writable(id) end
function M.channel_pong(id) hub:pong(id) end
function M.channel_closed(id) hub:closed(id) end
function M.channel_tick() hub:tick() end

--- The node drains. Called by C.
function M.drain() hub:drain() end

--- Called by C once.
-- @param functions respond(id, status, headers, body), verify(token, encoded, password), upgrade(id, client,
-- headers, max_message), and those of control/channels.h
-- @param state_pointer struct vf_state, as long as the process lives
-- @param offered table or nil (veloflux.control): current() -> {model, version} and reload(callback)
function M.start(functions, state_pointer, offered)
  native, state = functions, state_pointer
  services = offered or require "veloflux.control"
  offload.open(resume)
  flow.on_adopted(release)
  slices.open { turn = function(fn) alarms.after(0, fn) end,
    on_fault = function(message) log.write("error", "admin.lua_error", { "err", message }) end }
  totals.open(state, nil)
  channels.attach(context, functions)
  certificates.attach(context)
  certificates.watch()
  control_plugins.adopt_shipped()
end

return M

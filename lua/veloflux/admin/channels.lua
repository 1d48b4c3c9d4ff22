--- Channels (veloflux.channels) on the admin address: their paths are endpoints, whose answer is an upgrade to
-- WebSocket; and what the hub needs of control.
local bodies = require "veloflux.admin.body"
local channels = require "veloflux.channels"
local counts = require "veloflux.admin.counts"
local figures = require "veloflux.admin.figures"
local handshake = require "veloflux.admin.handshake"
local log = require "veloflux.admin.log"
local overview = require "veloflux.admin.overview"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.runtime.query"
local status = require "veloflux.admin.status"
local switches = require "veloflux.channels.switches"
local totals = require "veloflux.totals"

local M = {}

local hub = channels.hub
local SINCE = { "since", { type = "integer", minimum = 0 }, "The sequence of the last frame that was seen." }
local TOKEN = { "token", { type = "string" }, "A bearer token, for clients that cannot set Authorization." }
local PROBLEM = { ["application/problem+json"] = "Problem" }

M.MAX_MESSAGE = 16 * 1024 -- bytes that a client may say at once

local function doc_of(channel)
  return { tag = "channels", summary = channel.definition.summary, parameters = { SINCE, TOKEN }, answers = {
    ["101"] = { "From here on WebSocket: frames are JSON texts." },
    ["400"] = { "The handshake is not a good one.", PROBLEM },
    ["426"] = { "The request does not ask for WebSocket, version 13.", PROBLEM },
    ["503"] = { "There are as many clients as may be.", PROBLEM } } }
end

--- Returns the handler of the endpoint of a channel.
local function opener(channel)
  return function(request)
    local asked, refused = handshake.judge(request)
    if not asked then return refused end
    local why = hub:refusal()
    if why then
      hub.n_refused = hub.n_refused + 1
      return problem.new("unavailable", why, { headers = { "Retry-After", "10" } })
    end
    local id = hub:next_id()
    local fields = { "Upgrade", "websocket", "Sec-WebSocket-Accept", asked.accept }
    if asked.protocol then fields[5], fields[6] = "Sec-WebSocket-Protocol", asked.protocol end
    return { upgrade = { client = id, max_message = M.MAX_MESSAGE, headers = fields,
      on_open = function() hub:open(id, request.identity, channel, asked.since) end,
      on_failed = function(message)
        hub.n_refused = hub.n_refused + 1
        log.write("warn", "websocket.refused", { "client", request.client, "err", message })
        return problem.new("unavailable", "A WebSocket cannot be opened now.", { headers = { "Retry-After", "10" } })
      end } }
  end
end

--- Returns the number of clients.
function M.count() return hub.n_clients end

local is_open_to_all = false

local function has_credentials(request)
  return request.headers.authorization ~= nil or request.headers["x-api-key"] ~= nil
end

local function may_follow(permission) return permission == "user" end

--- Returns the identity of a client that brings no credentials, where such may follow channels; or nil.
function M.stranger(request, permission)
  if not is_open_to_all or has_credentials(request) or not may_follow(permission) then return nil end
  return { name = "anonymous", method = "none", can = may_follow, is_valid = function() return is_open_to_all end }
end

--- Browsers cannot set Authorization for a WebSocket: a bearer token may be a parameter, a cookie or a subprotocol.
function M.take_token(request)
  if has_credentials(request) then return end
  local cookies = "; " .. (request.headers.cookie or "")
  local token = query.first(request.query, "token") or cookies:match ";%s*auth_token=([^;]+)"
    or cookies:match ";%s*vf_auth_token=([^;]+)" or handshake.token_of(request)
  if type(token) ~= "string" or not token:find "^[%w._~+/-]+=*$" then return end
  request.headers.authorization = "Bearer " .. token
end

--- Takes over the settings of a configuration.
-- @param settings the record admin.websocket
function M.configure(settings)
  is_open_to_all = settings.anonymous
  local limit = hub.host and hub.host.native.client_limit or settings.max_clients
  hub.settings = { max_clients = math.min(settings.max_clients, math.floor(limit)), ping_s = settings.ping / 1000,
    queue_bytes = settings.queue }
end

local STRING, JSON = { type = "string" }, "application/json"

--- Reads a body of texts. Returns it, or nil and a problem.
local function read(request, names)
  local body, refused = bodies.object(request, names)
  if not body then return nil, refused end
  local errors = {}
  for _, name in ipairs(names) do
    if type(body[name]) ~= "string" then errors[#errors + 1] = { pointer = "/" .. name, detail = "expected a text" } end
  end
  if #errors == 0 then return body end
  return nil, problem.new("invalid", errors[1].pointer .. ": " .. errors[1].detail, { errors = errors })
end

--- Registers a switch as POST: what the channel of the same path takes as a message.
local function register_switch(router, path, summary, names, act)
  local properties = {}
  for _, name in ipairs(names) do properties[name] = STRING end
  router:register { method = "POST", path = path, permission = "admin",
    handler = parameters.taking({ "dry_run" }, function(request)
      local body, refused = read(request, names)
      if not body then return refused end
      local is_dry, bad = parameters.flag(request, "dry_run")
      if bad then return bad end
      local result, wrong = act(body, is_dry)
      if result then return { json = result } end
      return problem.new("invalid", wrong, { errors = { { pointer = "/" .. wrong:match "^%a+", detail = wrong } } })
    end),
    doc = { tag = "channels", summary = summary, may_be_tried = "alike", body = { [JSON] = { type = "object",
        properties = properties, required = names, additionalProperties = false } },
      answers = { ["200"] = { "It is done.", { [JSON] = { type = "object" } } },
        ["400"] = { "There is no such channel or action.", PROBLEM } } } }
end

--- Makes endpoints of the channels: those that there are, and all that are to come.
-- @param router of router.lua
function M.register(router)
  hub:list_in {
    add = function(channel)
      router:register { method = "GET", path = channel.path, permission = channel.definition.permission,
        is_channel = true, is_of_tenant = channel.definition.of_tenant, handler = opener(channel),
        doc = doc_of(channel) }
    end,
    remove = function(channel) router:unregister("GET", channel.path) end,
  }
  register_switch(router, "/api/ws/control", "Pauses or resumes the pushes of a channel, or of all.",
    { "action", "type" },
    function(body, is_dry) return switches.switch(hub, body.action, body.type, is_dry) end)
  register_switch(router, "/api/ws/force-update", "Pushes the data of a channel, or of all, at once.",
    { "type" }, function(body, is_dry) return switches.force(hub, body.type, is_dry) end)
end

--- Gives the hub what it works with.
-- @param context of admin/init.lua: version, now()
-- @param native {send_soon, ping, close, cut, wake} of C
function M.attach(context, native)
  hub:attach { native = native, now = context.now, log = log.write,
    wall_ms = function() return totals.number(totals.node().wall_ms) end,
    timestamp = function() return status.time(totals.node().wall_ms) end,
    context = { version = function() return totals.number(counts.get().version) end,
      mark = function(name) return (name == "health" and figures.health_mark or counts.health_mark)() end,
      status = function() return overview.document(context.version, hub.n_clients) end,
      backends = figures.backends, health = figures.health,
      metrics = function() return figures.metrics(context.rates, context.now(), hub.n_clients) end,
      switch = function(action, name) return switches.switch(hub, action, name) end,
      force = function(name) return switches.force(hub, name) end } }
end

return M

--- Control under test: the admin API, jobs and channels of plugins as control has them, in the Lua state of
-- src/kit/desk.c. veloflux/kit/control.lua is the other end: it calls the functions here with JSON and takes what has
-- become of that.
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local seams = require "veloflux.kit.desk.link"
local spools = require "veloflux.spool"

local M = {}

local LEASE_MS = 30000

local flow, admin, leader, jobs -- modules of control, loaded once what surrounds them is there
local json = require "veloflux.pdk.json"
local data -- what the store has
local news = {} -- what has happened since `take`
local followers = {} -- clients of channels by number: they take frames
local identities = {} -- by number of their request

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function tell(what, fields)
  fields.what = what
  news[#news + 1] = fields
end

--- Returns what has happened since the last call.
function M.take()
  local list = json.array(news)
  news = {}
  return json.lenient(list)
end

-- The admin API ---------------------------------------------------------------------------------------

local native = {}

--- Content that is in a file (veloflux/spool.lua) is as long as what a spec has in memory may be.
local function text_of(pointer)
  local spool = assert(spools.take(pointer))
  local text = spools.text(spool)
  spools.close(spool)
  return text
end

function native.respond(id, status, headers, body)
  identities[tostring(id)] = nil
  if type(body) == "cdata" then body = text_of(body) end
  tell("answer", { id = id, status = status, headers = json.array(headers), body = body })
end

--- Passwords of administrators are not what is tested.
function native.verify() return nil end

function native.upgrade(id, client, headers)
  followers[client] = true
  alarms.after(0, function() tell("answer", { id = id, status = 101, headers = json.array(headers), body = "",
    client = client }) end)
  return true
end

local function pump(client)
  local text = followers[client] and admin.channel_writable(client)
  if text then tell("frame", { client = client, text = text }) end
end

function native.send_soon(client) alarms.after(0, function() pump(client) end) end

function native.ping(client) alarms.after(0, function() admin.channel_pong(client) end) end

local function end_client(client, code, reason)
  if not followers[client] then return end
  followers[client] = nil
  tell("closed", { client = client, code = code, reason = reason })
  alarms.after(0, function() admin.channel_closed(client) end)
end

function native.close(client, code, reason) end_client(client, code, reason) end

function native.cut(client) end_client(client) end

function native.wake(seconds) alarms.after(seconds * 1000, function() admin.channel_tick() end) end

--- Makes what the list of authenticators gives of somebody whom the spec has described.
local function identity_of(given)
  local roles, own = require "veloflux.admin.roles", nil
  if given.permissions then
    own = {}
    for _, permission in ipairs(given.permissions) do own[permission] = true end
  end
  local by_role = roles.can(given.role or "admin")
  return { name = given.name or "admin", method = "kit", tenant = given.tenant,
    can = function(permission) return own and own[permission] == true or not own and by_role(permission) end }
end

--- Asks the admin API.
-- @param text {id, method, path, query, headers, body, client, identity}
function M.ask(text)
  local asked = assert(json.decode(text))
  if asked.identity then
    identities[tostring(asked.id)] = identity_of(asked.identity)
    asked.headers.authorization = "Kit " .. asked.id
  end
  admin.handle(asked.id, { method = asked.method, path = asked.path, query = asked.query, host = "admin.test",
    headers = asked.headers, body = asked.body, client = asked.client, is_local = false, http_minor = 1,
    request_id = ("kit-%d"):format(asked.id) })
  return ""
end

-- Channels, jobs, the lease ---------------------------------------------------------------------------

--- A client of a channel says something: {client, text}.
function M.say(text)
  local said = assert(json.decode(text))
  if followers[said.client] then admin.channel_message(said.client, said.text, false) end
  return ""
end

--- A client of a channel goes away.
function M.leave(client)
  client = tonumber(client)
  followers[client] = nil
  admin.channel_closed(client)
  return ""
end

--- Runs a job now: {plugin, name}. How that went is told later.
function M.run_job(text)
  local wanted = assert(json.decode(text))
  local ok, why = jobs.run_now(wanted.plugin, wanted.name, function(how)
    tell("job", { plugin = wanted.plugin, name = wanted.name, how = how })
  end)
  return ok and "" or why
end

--- Returns what is known of the jobs.
function M.jobs() return json.lenient(json.array(jobs.list())) end

--- Another node becomes the leader, or gives that up: "no" or "yes" says whether this one leads. It has not heard of
-- the former yet when this returns, as a node that stood still.
function M.lead(text)
  local before = data.leases[leader.NAME] or { token = 0 }
  local is_ours = text == "yes"
  data.leases[leader.NAME] = { holder = not is_ours and "another node" or nil, until_ms = math.huge,
    token = before.token + (is_ours and 0 or 1) }
  return ""
end

-- The beginning ---------------------------------------------------------------------------------------

--- Puts records into the store as older versions of plugins have left them.
-- @param given kind -> list of {version, record}
local function lay(given)
  local entities = require "veloflux.control.entities"
  local migrations = require "veloflux.control.migrations"
  local kinds, now = {}, now_ms()
  for kind, list in pairs(given) do
    for _, each in ipairs(list) do
      local record = each.record
      local text = migrations.mark({ version = each.version or 1 }, assert(json.canonical(record)))
      kinds[kind] = kinds[kind] or {}
      kinds[kind][entities.key_of(kind, record.tenant, record.name)] = { json = text, version = 1, created_ms = now,
        updated_ms = now }
    end
  end
  data.kinds, data.base = kinds, kinds
end

local function load_control()
  flow, leader = require "veloflux.control.flow", require "veloflux.cluster.leader"
  admin, jobs = require "veloflux.admin", require "veloflux.control.plugins.jobs"
end

local function open_control(source)
  local storage, queue = require "veloflux.control.storage", require "veloflux.control.queue"
  local stores = require "veloflux.store"
  require("veloflux.control.candidates").open { conf = source.name, text = source.text }
  storage.use(function()
    return stores.open { driver = "memory", data = data, now_ms = now_ms,
      later = function(fn) alarms.after(0, fn) end }
  end)
  flow.open { link = seams.link, store = storage.current,
    state = ffi.C.vf_kit_state(ffi.C.vf_kit_current()) }
  queue.open { link = seams.link, now_ms = now_ms, store = storage.current,
    source = function() return source end,
    retry = function(_, callback) callback(queue.base() and queue.base().set) end,
    restore = function(_, callback) callback() end }
  require("veloflux.control.probation").open { link = seams.link, now_ms = now_ms, store = storage.current,
    history = require "veloflux.control.history" }
  admin.start(native, ffi.C.vf_kit_state(ffi.C.vf_kit_current()), { current = flow.current,
    reload = function(callback) callback { ok = false, lines = { "there is no file to be read again" } } end,
    dry_reload = function(callback) callback { ok = false, lines = { "there is no file to be read again" } } end })
  require("veloflux.control.plugins.documents").register(function() return os.getenv "TMPDIR" or "/tmp" end)
  admin.auth:add { scheme = "kit", identify = function(number) return identities[number] end }
end

local function complaint(problems)
  local conf, lines = require "veloflux.conf", json.array()
  for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
  tell("started", { problems = lines })
end

--- Publishes the conf together with what the store has.
local function publish(source)
  local candidates = require "veloflux.control.candidates"
  local conf, worlds = require "veloflux.conf", require "veloflux.control.world"
  local entities, queue = require "veloflux.control.entities", require "veloflux.control.queue"
  local draft = conf.read { source = source, env = {} }
  local storage = require "veloflux.control.storage"
  storage.open(draft.node, function(_, loaded)
    local set, problems = entities.load(loaded.entities, worlds.tools(draft, worlds.sealing(draft.node) or {}))
    if not set then return complaint(problems) end
    queue.adopt(nil, nil)
    queue.set_stored(loaded.version)
    local made
    made, problems = candidates.combine(draft, set, loaded.version + 1)
    if not made then return complaint(problems) end
    local ok
    ok, problems = candidates.publish(made, "start", nil, function(result)
      if not result.ok then return complaint(result.problems) end
      leader.start { store = storage.current, holder = "kit", lease_ms = LEASE_MS, now_ms = alarms.now_ms }
      tell("started", {})
    end)
    if not ok then complaint(problems) end
  end)
end

--- Begins: {conf = its text, name, stored = kind -> list of {version, record}}. How that went is told later.
function M.start(text)
  local given = assert(json.decode(text))
  seams.open {
    on_prepared = function(version) flow.prepared(version) end,
    on_published = function(version, snapshot)
      flow.published(version)
      admin.published(snapshot, nil)
    end,
    on_live = function() flow.live(0) end,
  }
  load_control()
  data = require("veloflux.store.memory").new()
  lay(given.stored or {})
  local source = { text = given.conf, name = given.name, dir = "/" }
  open_control(source)
  publish(source)
  return ""
end

return M

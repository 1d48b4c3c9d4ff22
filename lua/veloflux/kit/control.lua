--- Control of a gateway under test, as kit.start { control = true } gives it: what a plugin's entities.lua, api.lua,
-- jobs.lua and channels.lua bring, called as clients of the admin API call it. veloflux/kit/desk is the other end.
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local message = require "veloflux.kit.message"
local native = require "veloflux.kit.native"

local C = native.C

local M = {}

local Control = {}
Control.__index = Control

local CLIENT = "198.51.100.1"

--- Calls a function of the other end. It enters another Lua state: not from compiled code.
local function call(kit, name, text)
  local result = C.vf_kit_desk_call(kit, name, text or "")
  if result == nil then error(ffi.string(C.vf_kit_desk_fault(kit)), 0) end
  return ffi.string(result)
end
jit.off(call)

-- News ------------------------------------------------------------------------------------------------

local on = {}

function on.started(self, news) self.started = news end

function on.answer(self, news) self.answers[news.id] = news end

function on.job(self, news) self.ended[news.plugin .. "\0" .. news.name] = news.how end

function on.frame(self, news)
  local follower = self.followers[news.client]
  local frame = assert(json.decode(news.text))
  if follower then table.insert(follower.frames, frame) else table.insert(self.early, { news.client, frame }) end
end

function on.closed(self, news)
  local follower = self.followers[news.client]
  if follower then follower.closed = { code = news.code, reason = news.reason } end
end

local function look(self)
  for _, news in ipairs(assert(json.decode(call(self.gateway.kit, "take")))) do on[news.what](self, news) end
end

local function drive(self, ready, what)
  self.gateway.world:drive(function()
    look(self)
    return ready()
  end, what)
end

-- The admin API ---------------------------------------------------------------------------------------

--- Returns the headers of a request with small names.
local function headers_of(request, more)
  local headers = {}
  for name, value in pairs(request.headers or {}) do headers[name:lower()] = tostring(value) end
  for name, value in pairs(more or {}) do headers[name] = headers[name] or value end
  return headers
end

local function begin(self, request, headers, body)
  local path, query = (request.path or "/"):match "^([^?]*)%??(.*)$"
  self.last = self.last + 1
  local identity = request.identity
  if identity == nil then identity = { name = "admin", role = "admin" } end
  call(self.gateway.kit, "ask", json.encode { id = self.last, method = request.method or "GET", path = path,
    query = query, headers = headers, body = body or "", client = request.ip or CLIENT, identity = identity or nil })
  return self.last
end

local function answer_of(news)
  local fields = {}
  for i = 1, #news.headers, 2 do fields[#fields + 1] = { news.headers[i], news.headers[i + 1] } end
  local answer = { status = news.status, fields = fields, headers = message.headers_of(fields), text = news.body }
  local is_json = (answer.headers["content-type"] or ""):find "^application/[%w.+-]*json"
  answer.body = is_json and json.decode(news.body) or news.body
  return answer
end

--- Asks the admin API and waits for the answer.
-- @param request table: method ("GET"), path with query, headers, ip of the client; body: a table is sent as JSON;
-- identity: {name, role = "admin" or "user", permissions = list instead, tenant}, nil: an administrator, false: nobody
-- @return {status, headers, fields, body: decoded when it is JSON, text}
function Control:call(request)
  local is_text = type(request.body) ~= "table"
  local body = is_text and request.body or json.encode(request.body)
  local id = begin(self, request, headers_of(request, body and not is_text
    and { ["content-type"] = "application/json" } or nil), body)
  drive(self, function() return self.answers[id] end, ("the answer to %s %s"):format(request.method or "GET",
    request.path or "/"))
  local news = self.answers[id]
  self.answers[id] = nil
  return answer_of(news)
end

-- Jobs ------------------------------------------------------------------------------------------------

--- Runs a job of the plugin under test now, and waits for its end.
-- @param name of the job
-- @param plugin the name of another plugin, or nil
-- @return "done", "failed" (gateway:logs says why), "late", "tripped", or "skipped": another node is the leader
function Control:run_job(name, plugin)
  plugin = plugin or self.plugin
  local key = plugin .. "\0" .. name
  self.ended[key] = nil
  local why = call(self.gateway.kit, "run_job", json.encode { plugin = plugin, name = name })
  if why ~= "" then error(("run_job: %s"):format(why), 2) end
  drive(self, function() return self.ended[key] end, "the end of the job " .. name)
  return self.ended[key]
end

--- Returns what is known of the jobs: list of {plugin, name, schedule, scope, runs, errors, skipped, last_result, ...}.
function Control:jobs() return assert(json.decode(call(self.gateway.kit, "jobs"))) end

--- Says whether this node leads: false: another has taken the lease, of which this one does not know yet.
function Control:lead(is_leader) call(self.gateway.kit, "lead", is_leader and "yes" or "no") end

-- Channels --------------------------------------------------------------------------------------------

local Follower = {}
Follower.__index = Follower

local UPGRADE = { upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "13",
  ["sec-websocket-key"] = "AAAAAAAAAAAAAAAAAAAAAA==" }

--- Follows a channel.
-- @param request {path with query, identity, headers}, as for `call`
-- @return a follower; or nil and the answer that says why not
function Control:follow(request)
  local id = begin(self, { path = request.path, identity = request.identity }, headers_of(request, UPGRADE))
  drive(self, function() return self.answers[id] end, "the channel " .. request.path)
  local news = self.answers[id]
  self.answers[id] = nil
  if news.status ~= 101 then return nil, answer_of(news) end
  local follower = setmetatable({ control = self, client = news.client, path = request.path, frames = {}, taken = 0 },
    Follower)
  self.followers[news.client] = follower
  for _, each in ipairs(self.early) do
    if each[1] == news.client then table.insert(follower.frames, each[2]) end
  end
  self.early = {}
  return follower
end

--- Waits for the next frame and returns it: {type, channel, sequence, timestamp, data}. nil: the channel has ended,
-- `closed` has {code, reason}.
function Follower:next()
  drive(self.control, function() return #self.frames > self.taken or self.closed end, "a frame of " .. self.path)
  if #self.frames == self.taken then return nil end
  self.taken = self.taken + 1
  return self.frames[self.taken]
end

--- Returns the frames that are there and were not taken yet; no time passes.
function Follower:pending()
  self.control.gateway.world:settle()
  look(self.control)
  local list = {}
  for i = self.taken + 1, #self.frames do list[#list + 1] = self.frames[i] end
  self.taken = #self.frames
  return list
end

--- Says something: a table is sent as JSON.
function Follower:send(said)
  call(self.control.gateway.kit, "say", json.encode { client = self.client,
    text = type(said) == "table" and json.encode(said) or said })
  self.control.gateway.world:settle()
end

--- Goes away.
function Follower:close()
  call(self.control.gateway.kit, "leave", tostring(self.client))
  self.control.followers[self.client] = nil
end

-- The beginning ---------------------------------------------------------------------------------------

--- Opens control in a gateway that runs.
-- @param gateway of kit/gateway.lua
-- @param conf text of its conf
-- @param name of that, in problems
-- @param stored kind -> list of {version, record}: what older versions of plugins have left in the store
-- @param plugin the name of the plugin under test
-- @return the control; or nil and what is wrong
function M.open(gateway, conf, name, stored, plugin)
  local rc = C.vf_kit_open_desk(gateway.kit)
  if rc ~= 0 then return nil, ffi.string(C.uv_strerror(rc)) end
  local self = setmetatable({ gateway = gateway, answers = {}, ended = {}, followers = {}, early = {}, last = 0,
    plugin = plugin }, Control)
  call(gateway.kit, "start", json.encode { conf = conf, name = name, stored = stored })
  drive(self, function() return self.started end, "the start of control")
  if self.started.problems then return nil, table.concat(self.started.problems, "\n") end
  return self
end

return M

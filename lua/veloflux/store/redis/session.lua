--- A Redis server that is there, or on the way back:
--
--   seeking -> ready -> seeking (at once) ...      a connection was lost
--      \-----> away  -> seeking (by and by) ...    it could not be made: 0.1 s, 0.2 s, ... 2 s, give or take
--
-- Requests go out in order and are answered in order. While the server is away they fail at once. What was sent and not
-- answered when the connection broke is sent again, in order, once it stands: scripts are made so that this does no
-- harm; when that takes too long, it fails, and nobody knows whether it was done. Redirections of a cluster are
-- followed: all keys have one slot, so that one server has them all.
--
-- Errors are { code = "unavailable" or "io", message }.
local greeting = require "veloflux.store.redis.greeting"
local reply = require "veloflux.redis.reply"
local wires = require "veloflux.store.redis.wire"

local FIRST_WAIT_MS, LONGEST_WAIT_MS = 100, 2000
local MAX_REPLY_BYTES = 256 * 1024 * 1024
local MOST_REDIRECTIONS = 5
local LAST_REPLY = 10 -- times the time limit: how long a reply may take to come, drop by drop
local SWEEP_MS = 100

local Session = {}
Session.__index = Session

local M = {}

-- Errors of a server that is not able now: it, or another one, may be soon.
local PASSING = { LOADING = true, CLUSTERDOWN = true, MASTERDOWN = true, TRYAGAIN = true, READONLY = true,
  UNBLOCKED = true, BUSY = true }
local IO = { OOM = "Redis has no memory left for this (maxmemory)", MISCONF = "Redis cannot write to its disk" }

local seek -- forward

--- Makes a session and begins to connect.
-- @param settings wire, where (of address.lua), timeout_ms, meta_key, wall_ms (function), log (function(level, event,
-- message)), on_ready (function(): it stands, again)
function M.open(settings)
  local self = setmetatable({ wire = settings.wire, where = settings.where, timeout_ms = settings.timeout_ms,
    meta_key = settings.meta_key, wall_ms = settings.wall_ms, log = settings.log, on_ready = settings.on_ready,
    state = "away", turn = 1, wait_ms = 0, queue = {}, sent = {}, first = 1, last = 0, redirections = 0,
    n_open = 0, n_requests = 0 }, Session)
  seek(self)
  return self
end

--- Returns the link in use and its target, or nil.
function Session:link_in_use() return self.link, self.server and self.server.target end

-- Failing -------------------------------------------------------------------------------------------

local function unavailable(message) return { code = "unavailable", message = message } end

--- The error of a reply, for who made the request.
local function error_of(self, value)
  local io = IO[value.code]
  local message = ("redis %s: %s"):format(self.server and self.server.target.label or self.where.label, value.err)
  if not io then return unavailable(message) end
  return { code = "io", message = ("%s: %s"):format(message, io) }
end

--- What was sent may be done all the same: then the store has a version that is news to this node.
local function too_late(self, request)
  local message = self.message or ("redis %s: it does not answer in time"):format(self.where.label)
  return unavailable(request.n_tries > 0 and message .. "; whether it was done is not known" or message)
end

local function settle(self, request, err, replies)
  if request.is_settled then return end
  request.is_settled = true
  self.n_open = self.n_open - 1
  request.callback(err, replies)
  if self.on_idle and self.n_open == 0 then self.on_idle() end
end

--- Calls settle for all; one callback that raises does not keep the others from theirs.
-- @param err an error, or a function(self, request) that returns one
local function settle_all(self, requests, err)
  local fault
  for _, request in ipairs(requests) do
    local own = type(err) == "function" and err(self, request) or err
    local ok, problem = xpcall(settle, debug.traceback, self, request, own)
    if not ok then fault = fault or problem end
  end
  if fault then error(fault, 0) end
end

local function note(self, message)
  local is_connected = message == nil
  if self.since_ms and self.is_connected == is_connected then
    self.message = message
    return
  end
  self.since_ms, self.is_connected, self.message = self.wall_ms(), is_connected, message
  if is_connected then
    self.log("info", "store.connected", "redis " .. self.server.target.label)
    local warning = self.server.warning
    if warning and warning ~= self.warned then self.log("warn", "store.durability", warning) end
    self.warned = warning
  else
    self.log("warn", "store.lost", message)
  end
end

-- Sending -------------------------------------------------------------------------------------------

local function encode(self, request)
  local script = request.script
  if not script then return request.commands end
  local sha = not request.is_whole and self.server.shas[script]
  request.commands[1][1], request.commands[1][2] = sha and "EVALSHA" or "EVAL", sha or script.text
  return request.commands
end

local function first_error(replies)
  for _, value in ipairs(replies) do
    if reply.is_error(value) then return value end
  end
end

--- The connection is of no use any more: what was sent waits again, before what came later.
local function lose(self, message)
  local link = self.link
  self.link = nil
  for i = self.first, self.last do
    local request = self.sent[i]
    if request and not request.is_settled then self.queue[#self.queue + 1] = request end
  end
  self.sent, self.first, self.last = {}, 1, 0
  table.sort(self.queue, function(a, b) return a.number < b.number end)
  if link then link:close() end
  note(self, message)
end

--- Goes another way, or the same after a while.
local function seek_later(self, wait_ms)
  self.state = wait_ms > 0 and "away" or "seeking"
  self.wire:cancel(self.retry)
  self.retry = self.wire:after(wait_ms, function() seek(self) end)
end

local function next_wait_ms(self)
  self.wait_ms = math.min(math.max(self.wait_ms * 2, FIRST_WAIT_MS), LONGEST_WAIT_MS)
  return self.wait_ms * (0.75 + math.random() / 2)
end

--- Follows a redirection, unless it leads round in circles.
local function follow(self, target)
  self.redirections = self.redirections + 1
  if not target or self.redirections > MOST_REDIRECTIONS then
    self.redirect, self.redirections = nil, 0
    return seek_later(self, next_wait_ms(self))
  end
  self.redirect = target
  seek_later(self, 0)
end

--- The server cannot, now or here: another one can, or this one by and by.
local function retreat(self, request, value)
  local target = self.server.target
  self.queue[#self.queue + 1] = request
  lose(self, ("redis %s: %s"):format(target.label, value.err))
  if value.code == "MOVED" then return follow(self, greeting.redirection(target, value.err)) end
  self.redirect = nil
  seek_later(self, next_wait_ms(self))
end

--- One slot is under way to another node of the cluster, and has what this request wants: asks there, this once.
local function ask_there(self, request, value)
  local target = greeting.redirection(self.server.target, value.err)
  if not target then return settle(self, request, error_of(self, value)) end
  local link
  local function ask(failure)
    if failure then return settle(self, request, unavailable(failure.message)) end
    local commands = greeting.credentials(self.where)
    local n_greetings = #commands
    request.is_whole = true
    for _, command in ipairs(encode(self, request)) do
      commands[#commands + 1] = { "ASKING" }
      commands[#commands + 1] = command
    end
    link:send(commands, function(err, replies)
      link:close()
      if err then return settle(self, request, unavailable(err.message)) end
      local own = {}
      for i = n_greetings + 2, #replies, 2 do own[#own + 1] = replies[i] end
      local refusal = first_error(own)
      if refusal and PASSING[refusal.code] and not request.is_settled then return retreat(self, request, refusal) end
      settle(self, request, refusal and error_of(self, refusal) or nil, own)
    end)
  end
  link = self.wire:link(target, { patience_ms = self.timeout_ms, max_reply_bytes = MAX_REPLY_BYTES }, ask)
end

local transmit -- forward

--- What a server says that cannot, now or here. Returns true when the request goes on.
local function goes_on(self, request, value)
  if value.code == "NOSCRIPT" and request.script and not request.is_whole then
    request.is_whole = true
    transmit(self, request)
    return true
  elseif value.code == "ASK" then
    ask_there(self, request, value)
    return true
  elseif value.code ~= "MOVED" and not PASSING[value.code] then
    return false
  elseif value.code == "READONLY" and self.where.kind == "server" then
    return false -- there is no other one
  end
  retreat(self, request, value)
  return true
end

local function on_replies(self, link, request, err, replies)
  if link ~= self.link then return end -- `lose` has taken it along
  if err then return end -- the link is lost: so will it be
  self.sent[self.first] = nil
  self.first = self.first + 1
  local value = first_error(replies)
  if value and goes_on(self, request, value) then return end
  self.wait_ms, self.redirections = 0, 0
  settle(self, request, value and error_of(self, value) or nil, replies)
end

function transmit(self, request)
  local link = self.link
  request.n_tries = request.n_tries + 1
  self.last = self.last + 1
  self.sent[self.last] = request
  link:send(encode(self, request), function(err, replies) on_replies(self, link, request, err, replies) end)
end

-- Connecting ----------------------------------------------------------------------------------------

local function on_lost(self, link, err)
  if link ~= self.link then return end
  lose(self, err.message)
  if self.is_closed then return end
  self.redirect = nil
  seek_later(self, self.wait_ms > 0 and next_wait_ms(self) or 0)
end

--- What was never sent fails with the reason; what was sent waits for its time.
local function fail_unsent(self, message)
  local kept, failed = {}, {}
  for _, request in ipairs(self.queue) do
    if request.n_tries > 0 then kept[#kept + 1] = request else failed[#failed + 1] = request end
  end
  self.queue = kept
  settle_all(self, failed, unavailable(message))
end

--- Takes those that have waited for too long out of the queue.
local function take_late(self)
  local now_ms, late, kept = wires.now_ms(), {}, {}
  for _, request in ipairs(self.queue) do
    if request.until_ms <= now_ms then late[#late + 1] = request else kept[#kept + 1] = request end
  end
  self.queue = kept
  return late
end

local function on_established(self, link, server)
  self.link, self.server, self.state = link, server, "ready"
  link:limit(MAX_REPLY_BYTES)
  link.on_lost = function(err) on_lost(self, link, err) end
  note(self, nil)
  local late = take_late(self)
  local queue = self.queue
  self.queue = {}
  self.wait_ms = math.max(self.wait_ms, 1) -- not at once again, unless something is answered
  for _, request in ipairs(queue) do
    if self.link == link then transmit(self, request) else self.queue[#self.queue + 1] = request end
  end
  if self.link == link then self.on_ready() end
  settle_all(self, late, too_late)
end

local function on_failed(self, err, redirect)
  if redirect then return follow(self, redirect) end
  self.redirect = nil
  local targets = self.where.targets
  if self.where.kind ~= "sentinel" then self.turn = self.turn % #targets + 1 end
  note(self, err.message)
  seek_later(self, next_wait_ms(self))
  fail_unsent(self, err.message)
end

function seek(self)
  if self.is_closed then return end
  self.state = "seeking"
  local co = coroutine.create(function()
    local ok, link, found, redirect = xpcall(greeting.establish, debug.traceback, self)
    if self.is_closed then return end
    if not ok then
      on_failed(self, { message = "redis: " .. tostring(link) })
    elseif link then
      on_established(self, link, found)
    else
      on_failed(self, found, redirect)
    end
  end)
  local ok, problem = coroutine.resume(co)
  if not ok then error(problem, 0) end
end

-- Requests ------------------------------------------------------------------------------------------

--- Fails what has waited for too long, and gives up a connection that does not get on.
local function sweep(self)
  self.sweeping = nil
  local now_ms, late = wires.now_ms(), take_late(self)
  local oldest = self.sent[self.first]
  if self.link and oldest and oldest.begun_ms + LAST_REPLY * self.timeout_ms <= now_ms then
    on_lost(self, self.link, { message = ("redis %s: it does not answer in time"):format(self.server.target.label) })
  end
  if self.n_open > 0 then self.sweeping = self.wire:after(SWEEP_MS, function() sweep(self) end) end
  settle_all(self, late, too_late)
end

local function submit(self, request)
  assert(not self.is_closed, "the store is closed")
  local now_ms = wires.now_ms()
  request.n_tries, request.begun_ms, request.until_ms = 0, now_ms, now_ms + self.timeout_ms
  self.n_open, self.n_requests = self.n_open + 1, self.n_requests + 1
  request.number = self.n_requests
  if not self.sweeping then self.sweeping = self.wire:after(SWEEP_MS, function() sweep(self) end) end
  if self.state == "ready" then return transmit(self, request) end
  if self.state == "away" and self.message then
    local message = self.message
    self.wire:after(0, function() settle(self, request, unavailable(message)) end)
  else
    self.queue[#self.queue + 1] = request
  end
end

--- Sends commands.
-- @param commands list of lists of texts and numbers
-- @param callback function(err, list of replies): err for the first that is an error of the server
function Session:call(commands, callback) submit(self, { commands = commands, callback = callback }) end

--- Runs a script (scripts.lua).
-- @param callback function(err, reply)
function Session:run(script, keys, args, callback)
  local command = { "", "", #keys }
  for _, key in ipairs(keys) do command[#command + 1] = key end
  for _, arg in ipairs(args) do command[#command + 1] = arg end
  submit(self, { commands = { command }, script = script, callback = function(err, replies)
    callback(err, replies and replies[1])
  end })
end

--- Returns whether it answers, since when, and what is wrong.
function Session:status()
  return { connected = self.is_connected or false, since_ms = self.since_ms, error = self.message,
    warning = self.server and self.server.warning or nil }
end

--- Closes it when all requests are answered, and those that were made in answer to them: callback().
function Session:close(callback)
  local function finish()
    if self.is_closed then return end
    self.is_closed = true
    if self.link then self.link:close() end
    if self.opening then self.opening:close() end
    self.link, self.opening = nil, nil
    callback()
  end
  self.on_idle = function() self.wire:after(0, finish) end
  if self.n_open == 0 then self.on_idle() end
end

return M

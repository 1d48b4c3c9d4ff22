--- The channels of this process and the clients that follow them.
--
-- C (src/control/websocket.c) has the connections: it says what came and when a client takes another frame, and sends
-- what it is given. Who gets what, and what becomes of a slow or silent client, is decided here.
--
--   admin request -> admin/handshake.lua -> open -> first frame      then, as long as there are clients, `tick` looks
--   C: received, writable, pong, closed                              a few times a second what is due or has changed
--
-- Clients that end are closed with 1001 (the channel or the node goes away), 1008 (credentials that no longer hold, or
-- too many messages) or 1013 (too slow: come back later); one that does not answer pings is cut off.
local channels = require "veloflux.channels.channel"
local clients = require "veloflux.channels.client"
local definitions = require "veloflux.channels.definition"
local json = require "veloflux.pdk.json"
local messages = require "veloflux.channels.messages"

local M = {}
local Hub = {}
Hub.__index = Hub

M.TICK_S = 0.25
M.MAX_FRAME = 4 * 1024 * 1024 -- bytes
M.LATE_S = 1 -- beyond a tick: it was the process that was busy, or stopped
M.CLOSE_S = 3 -- what a client gets to answer a close frame
M.LOGGED = {} -- raised by functions of definitions whose fault was logged already
M.GOING_AWAY, M.POLICY, M.TRY_LATER = 1001, 1008, 1013

--- The settings of an admin address that says nothing about channels.
M.DEFAULTS = { max_clients = 1000, ping_s = 30, queue_bytes = 256 * 1024 }

--- Makes a hub without connections: `attach` brings them.
function M.new()
  return setmetatable({ by_path = {}, by_name = {}, clients = {}, n_clients = 0, last_id = 0, settings = M.DEFAULTS,
    n_opened = 0, n_refused = 0, n_closed_slow = 0, n_timeouts = 0, n_messages = 0 }, Hub)
end

--- Brings what the hub works with.
-- @param host table: native {send_soon(id), close(id, code, reason), cut(id), ping(id), wake(seconds)}; now() ->
-- seconds, monotonic; wall_ms(); timestamp() -> RFC 3339; log(level, event, pairs); context: what every context of a
-- definition has
function Hub:attach(host)
  self.host = host
  for _, channel in pairs(self.by_path) do self:start_sequence(channel) end
end

--- Says where channels are listed.
-- @param listing table: add(channel), which raises when an endpoint has the path; remove(channel)
function Hub:list_in(listing)
  self.listing = listing
  for _, channel in ipairs(self:list()) do listing.add(channel) end
end

--- A sequence begins with the time, so that it is beyond those of earlier processes.
function Hub:start_sequence(channel) channel.sequence = math.max(channel.sequence, self.host.wall_ms()) end

-- Channels ------------------------------------------------------------------------------------------

function Hub:register(given)
  local definition = definitions.check(given)
  if self.by_path[definition.path] then error("channel " .. definition.path .. ": the path is taken", 0) end
  local channel = channels.new(definition, 0)
  if self.host then self:start_sequence(channel) end
  if self.listing then self.listing.add(channel) end
  self.by_path[definition.path], self.by_name[definition.name] = channel, channel
end

function Hub:unregister(path)
  local channel = self.by_path[path]
  if not channel then return false end
  self.by_path[path], self.by_name[channel.name] = nil, nil
  if self.listing then self.listing.remove(channel) end
  for client in pairs(channel.subscribers) do
    self:unsubscribe(client, channel)
    if client.channel == channel then self:close(client, M.GOING_AWAY, "the channel is gone") end
  end
  return true
end

--- Returns a channel by its name or path, or nil.
function Hub:find(name) return self.by_name[name] or self.by_path[name] end

--- Returns the channels, in the order of their paths.
function Hub:list()
  local list = {}
  for _, channel in pairs(self.by_path) do list[#list + 1] = channel end
  table.sort(list, function(a, b) return a.path < b.path end)
  return list
end

--- Calls a function of a definition. Returns true and its results, or false; a fault is logged.
function Hub:call(channel, called, ...)
  local results = { xpcall(called, debug.traceback, ...) }
  if results[1] then return unpack(results, 1, 4) end
  channel.n_errors = channel.n_errors + 1
  if results[2] ~= M.LOGGED then
    self.host.log("error", "channel.fault", { "path", channel.path, "err", results[2] })
  end
  return false
end

--- Makes the context of a call.
-- @param client or nil: the data is for all
function Hub:context(client, channel, reason)
  local context = { reason = reason, now = self.host.now() }
  if client then
    context.identity = { name = client.identity.name, tenant = client.identity.tenant }
    context.filter = client.subscriptions[channel] and client.subscriptions[channel].filter
  end
  return setmetatable(context, { __index = self.host.context, __metatable = true })
end

-- Sending -------------------------------------------------------------------------------------------

local function extra_of(options) return options and options.is_forced and ',"forced":true' or nil end

function Hub:push(client, frame)
  if client.is_closing then return end
  if frame.channel then frame.channel.n_frames = frame.channel.n_frames + 1 end
  client:push(frame, self.host.now(), self.settings.queue_bytes)
  self.host.native.send_soon(client.id)
end

--- Sends a client something that is no frame of a channel.
function Hub:reply(client, kind, data, name)
  self:push(client, { text = channels.text(kind, name, nil, self.host.timestamp(), json.lenient(data)) })
end

--- Data as JSON, or nil: there is none, or it cannot be JSON, which is logged.
function Hub:encode(channel, data)
  if data == nil then return nil end
  local ok, text = self:call(channel, json.lenient, data)
  if ok and text and #text <= M.MAX_FRAME then return text end
  if not ok then return nil end
  channel.n_errors = channel.n_errors + 1
  local why = text and ("the data has %d bytes, more than %d"):format(#text, M.MAX_FRAME) or "the data cannot be JSON"
  self.host.log("error", "channel.fault", { "path", channel.path, "err", why })
end

--- What a client with a filter gets: a frame of its own. A tenant's client gets nothing that was not filtered.
function Hub:send_filtered(client, channel, data, kind, options)
  local filter = client.subscriptions[channel].filter
  local ok, own = true, not client.identity.tenant and data or nil
  if channel.definition.filter then
    ok, own = self:call(channel, channel.definition.filter, data, filter, kind or channel.definition.type)
  end
  local text = ok and self:encode(channel, own)
  if text then self:push(client, channel:make(kind, self.host.timestamp(), text, extra_of(options))) end
end

--- Sends data to all subscribers, and keeps it. Returns to how many.
function Hub:send_all(channel, data, kind, options)
  local text = self:encode(channel, data)
  if not text then return 0 end
  local frame, count = channel:make_next(kind, self.host.timestamp(), text, extra_of(options)), 0
  channel:keep(frame)
  for client, subscription in pairs(channel.subscribers) do
    if not client.is_paused then
      count = count + 1
      if subscription.filter then
        self:send_filtered(client, channel, data, kind, options)
      else
        self:push(client, frame)
      end
    end
  end
  return count
end

--- Sends one client the whole data of a channel.
function Hub:send_whole(client, channel, reason, options)
  local definition = channel.definition
  if not definition.frame or client.is_paused then return end
  local ok, data, kind = self:call(channel, definition.frame, self:context(client, channel, reason))
  if not ok or data == nil then return end
  if client.subscriptions[channel].filter and not definition.per_client then
    return self:send_filtered(client, channel, data, kind, options)
  end
  local text = self:encode(channel, data)
  if text then self:push(client, channel:make(kind, self.host.timestamp(), text, extra_of(options))) end
end

--- Makes and sends the data of a channel. Returns to how many.
function Hub:refresh(channel, reason, options)
  local definition = channel.definition
  if not definition.frame then return 0 end
  if not definition.per_client then
    local ok, data, kind, more = self:call(channel, definition.frame, self:context(nil, channel, reason))
    local count = ok and data ~= nil and self:send_all(channel, data, kind, options) or 0
    for _, extra in ipairs(ok and more or {}) do self:send_all(channel, extra.data, extra.type, options) end
    return count
  end
  local count = 0
  channel.sequence = channel.sequence + 1
  for client in pairs(channel.subscribers) do
    count = count + 1
    self:send_whole(client, channel, reason, options)
  end
  return count
end

function Hub:publish(path, data, kind)
  local channel = self:find(path)
  if not channel or not self.host or channel.is_paused then return 0 end
  return self:send_all(channel, data, kind)
end

-- Clients -------------------------------------------------------------------------------------------

--- Returns why no client can be taken now, or nil.
function Hub:refusal()
  if self.is_draining then return "The node is going away." end
  if self.n_clients >= self.settings.max_clients then
    return ("There are %d clients, which is as many as may be."):format(self.n_clients)
  end
end

--- Returns the id for the next client.
function Hub:next_id()
  self.last_id = self.last_id + 1
  return self.last_id
end

--- A client follows a channel from here on.
-- @param filter or nil
-- @param missed list of frames that it gets first, or nil: the whole data
function Hub:subscribe(client, channel, filter, missed)
  if not client.subscriptions[channel] then
    channel.n_subscribers = channel.n_subscribers + 1
    if channel.n_subscribers == 1 then self:begin(channel) end
  end
  if client.identity.tenant then -- whatever it says, it sees its tenant's
    filter = filter or {}
    filter.tenant_id = client.identity.tenant
  end
  local subscription = { filter = filter }
  client.subscriptions[channel], channel.subscribers[client] = subscription, subscription
  if not missed then return self:send_whole(client, channel, "open") end
  for _, frame in ipairs(missed) do self:push(client, frame) end
end

function Hub:unsubscribe(client, channel)
  if not client.subscriptions[channel] then return end
  client.subscriptions[channel], channel.subscribers[client] = nil, nil
  channel.n_subscribers = channel.n_subscribers - 1
end

--- A client is connected: it gets what it missed, or the whole data.
-- @param id of next_id
-- @param since the last sequence it has seen, or nil
function Hub:open(id, identity, channel, since)
  local client = clients.new(id, identity, self.host.now())
  client.channel = channel
  self.clients[id] = client
  self.n_clients, self.n_opened = self.n_clients + 1, self.n_opened + 1
  local missed = since and not channel.definition.per_client and not identity.tenant and channel:since(since)
  self:subscribe(client, channel, nil, missed)
  if self.n_clients == 1 then self.host.native.wake(M.TICK_S) end
  return client
end

--- Asks C to close a client; what waits for it is dropped.
function Hub:close(client, code, reason)
  if client.is_closing then return end
  client.is_closing, client.closed_by = self.host.now(), code
  client.queue, client.head, client.tail, client.bytes, client.gaps = {}, 1, 0, 0, {}
  self.host.native.close(client.id, code, reason)
end

--- Ends the connection without a word.
function Hub:cut(client)
  self.host.native.cut(client.id)
  self:closed(client.id)
end

--- A message has come. Called by C.
function Hub:received(id, text, is_binary)
  local client = self.clients[id]
  if not client or client.is_closing then return end
  local now = self.host.now()
  client.heard_at = now
  self.n_messages = self.n_messages + 1
  if not client:may_speak(now) then return self:close(client, M.POLICY, "too many messages") end
  local code, detail = "invalid", "Messages are texts."
  if not is_binary then code, detail = messages.handle(self, client, text) end
  if code then self:reply(client, "error", { code = code, detail = detail }) end
end

--- A client takes a frame. Called by C. Returns its text, or nil.
function Hub:writable(id)
  local client = self.clients[id]
  if not client or client.is_closing then return nil end
  local text = client:pop(function(gap)
    return channels.text("gap", gap.channel, nil, self.host.timestamp(),
      json.encode { dropped = gap.dropped, from = gap.from, to = gap.to })
  end)
  if text and (client:waiting() > 0 or next(client.gaps)) then self.host.native.send_soon(id) end
  return text
end

--- A client has answered a ping. Called by C.
function Hub:pong(id)
  local client = self.clients[id]
  if client then client.heard_at = self.host.now() end
end

--- A client is gone. Called by C.
function Hub:closed(id)
  local client = self.clients[id]
  if not client then return end
  self.clients[id] = nil
  self.n_clients = self.n_clients - 1
  for channel in pairs(client.subscriptions) do self:unsubscribe(client, channel) end
end

-- Time ----------------------------------------------------------------------------------------------

--- The first subscriber: from here on it is looked what has changed.
function Hub:begin(channel)
  local definition = channel.definition
  channel.due_at = definition.every_s and self.host.now() + definition.every_s
  channel.watched = definition.watch and select(2, self:call(channel, definition.watch, self:context(nil, channel,
    "change")))
end

local function has_changed(hub, channel)
  local watch = channel.definition.watch
  if not watch then return false end
  local ok, value = hub:call(channel, watch, hub:context(nil, channel, "change"))
  if not ok or value == channel.watched then return false end
  channel.watched = value
  return true
end

function Hub:look_at(channel, now)
  if channel.is_paused then return end
  local reason = has_changed(self, channel) and "change" or nil
  if not reason and channel.due_at and now >= channel.due_at then reason = "every" end
  if not reason then return end
  local every_s = channel.definition.every_s
  if every_s and reason == "every" then
    local due_at = channel.due_at + every_s
    channel.due_at = due_at > now and due_at or now + every_s -- what was missed is not made up for
  end
  self:refresh(channel, reason)
end

function Hub:look_after(client, now)
  local ping_s = self.settings.ping_s
  if client.is_closing then
    if now - client.is_closing >= M.CLOSE_S then self:cut(client) end
  elseif client.identity.is_valid and not client.identity.is_valid(now) then
    self:close(client, M.POLICY, "the credentials no longer hold")
  elseif client:is_stalled(now) then
    self.n_closed_slow = self.n_closed_slow + 1
    self:close(client, M.TRY_LATER, "too slow")
  elseif client.pinged_at and client.pinged_at > client.heard_at then
    if now - client.pinged_at < ping_s then return end
    self.n_timeouts = self.n_timeouts + 1
    self:cut(client)
  elseif now - client.heard_at >= ping_s then
    client.pinged_at = now
    self.host.native.ping(client.id)
  end
end

--- Time in which this process did not look is not held against a client, whose answer may wait to be read.
function Hub:forgive(list, now)
  local late = self.looked_at and now - self.looked_at - M.TICK_S or 0
  self.looked_at = self.n_clients > 0 and now or nil
  if late < M.LATE_S then return end
  for _, client in ipairs(list) do
    client.heard_at, client.pinged_at = client.heard_at + late, client.pinged_at and client.pinged_at + late
    client.is_closing, client.stalled_since = client.is_closing and client.is_closing + late, nil
  end
end

--- Looks what is due. Called by C, in the time that `wake` was told, and by the admin address when a configuration is
-- published.
function Hub:tick()
  if not self.host then return end
  local now = self.host.now()
  local all = {}
  for _, client in pairs(self.clients) do all[#all + 1] = client end -- calls may take clients off
  self:forgive(all, now)
  for _, client in ipairs(all) do self:look_after(client, now) end
  for _, channel in ipairs(self:list()) do
    if channel.n_subscribers > 0 then self:look_at(channel, now) end
  end
  if self.n_clients > 0 then self.host.native.wake(M.TICK_S) end
end

--- The node goes away: no more clients, and those that there are end.
function Hub:drain()
  self.is_draining = true
  for _, client in pairs(self.clients) do self:close(client, M.GOING_AWAY, "the node is going away") end
end

return M

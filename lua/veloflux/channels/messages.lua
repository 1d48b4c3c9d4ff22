--- What clients say: JSON objects with a `type`. On every channel:
--
--     {"type": "ping"}                               answered with pong
--     {"type": "subscribe", "channel": NAME, ...}    follow another channel on this connection, too; further members
--                                                    are the channel's filter. Without `channel`: the one connected to
--     {"type": "unsubscribe", "channel": NAME}
--     {"type": "pause"}, {"type": "resume"}          nothing is sent meanwhile; resuming sends the whole data
--
-- and what the definition of the channel has under `messages`, or everything else where it has `receive`. What cannot
-- be understood is answered with a frame of type `error` and changes nothing; saying too much too fast ends the
-- connection (see client.lua).
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"
local schema = require "veloflux.model.schema"
local schemas = require "veloflux.plugin.schema"

local M = {}

local MAX_DEPTH = 16

local function nothing() return nil end

local function literal(value)
  if type(value) == "string" then return expand.escape(value) end
  if type(value) ~= "table" then return value end
  local copy = json.is_array(value) and json.array {} or {}
  for name, inner in pairs(value) do copy[name] = literal(inner) end
  return copy
end

--- Reads the members of a message, but for `type` and `channel`, as the fields of a schema.
-- @param made what plugin/schema made of the fields, or nil: there may be none
-- @return a plain table, or nil and what is wrong
function M.fields(made, message)
  local rest = {}
  for name, value in pairs(message) do
    if name ~= "type" and name ~= "channel" then rest[name] = value end
  end
  if not made then
    if next(rest) == nil then return {} end
    return nil, ("unknown member %s"):format(next(rest))
  end
  local doc, bad = document.parse(json.encode(literal(rest)), "message")
  if not doc then return nil, bad.message end
  local value, problems = schema.read(made.compiled, doc, nothing)
  if not value then
    local first = problems[1]
    return nil, first.path ~= "" and first.path .. ": " .. first.message or first.message
  end
  return schemas.plain(made.compiled, value)
end

local handlers = {}

function handlers.ping(hub, client)
  hub:reply(client, "pong", { status = "alive" })
end

local function channel_of(hub, client, message)
  if message.channel == nil then return client.channel end
  return type(message.channel) == "string" and hub:find(message.channel)
end

function handlers.subscribe(hub, client, message)
  local channel = channel_of(hub, client, message)
  if not channel then return "not_found", "There is no such channel." end
  local definition = channel.definition
  if not client.identity.can(definition.permission) then
    return "forbidden", "This needs the permission " .. definition.permission .. "."
  end
  if client.identity.tenant and not definition.of_tenant then
    return "forbidden", "This is the platform's, not a tenant's."
  end
  local filter, wrong = M.fields(definition.filter_fields, message)
  if not filter then return "invalid", wrong end
  hub:reply(client, "subscribed", { status = "subscribed" }, channel.name)
  hub:subscribe(client, channel, next(filter) ~= nil and filter or nil)
end

function handlers.unsubscribe(hub, client, message)
  local channel = channel_of(hub, client, message)
  if not channel or not client.subscriptions[channel] then return "not_found", "That channel is not followed." end
  hub:unsubscribe(client, channel)
  hub:reply(client, "unsubscribed", { status = "unsubscribed" }, channel.name)
end

function handlers.pause(hub, client)
  client.is_paused = true
  hub:reply(client, "paused", { status = "paused" })
end

function handlers.resume(hub, client)
  client.is_paused = false
  hub:reply(client, "resumed", { status = "resumed" })
  for channel in pairs(client.subscriptions) do hub:send_whole(client, channel, "open") end
end

--- A channel that takes messages as they are.
local function receive(hub, client, channel, message)
  local ok, data, kind = hub:call(channel, channel.definition.receive, hub:context(client, channel, "message"), message)
  if not ok then return "internal_error", "The message could not be handled; the log says why." end
  if data ~= nil then hub:reply(client, kind or channel.definition.type, data, channel.name) end
end

local function handle_own(hub, client, channel, message)
  local own = channel.definition.messages[message.type]
  if own.permission and not client.identity.can(own.permission) then
    return "forbidden", "This needs the permission " .. own.permission .. "."
  end
  local fields, wrong = M.fields(own.fields, message)
  if not fields then return "invalid", wrong end
  local ok, data = hub:call(channel, own.handle, hub:context(client, channel, "message"), fields)
  if not ok then return "internal_error", "The message could not be handled; the log says why." end
  if data ~= nil then hub:reply(client, message.type, data, channel.name) end
end

--- Handles a message.
-- @param text what came, valid UTF-8
-- @return nil; or a code and a sentence for an `error` frame
function M.handle(hub, client, text)
  local message, wrong = json.decode(text, { max_depth = MAX_DEPTH })
  if message == nil then return "invalid", "The message is " .. wrong .. "." end
  if type(message) == "table" and not json.is_array(message) and client.channel.definition.receive
    and not handlers[message.type] then
    return receive(hub, client, client.channel, message)
  end
  if type(message) ~= "table" or json.is_array(message) or type(message.type) ~= "string" then
    return "invalid", "The message has to be an object with a type."
  end
  local handler = handlers[message.type]
  if handler then return handler(hub, client, message) end
  local channel = channel_of(hub, client, message)
  if not channel or not client.subscriptions[channel] or not channel.definition.messages[message.type] then
    return "invalid", "This type of message is not known."
  end
  return handle_own(hub, client, channel, message)
end

return M

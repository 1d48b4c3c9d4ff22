--- Channels (veloflux.channels) on the admin address: their paths are endpoints, whose answer is an upgrade to
-- WebSocket; and what the hub needs of control.
local channels = require "veloflux.channels"
local handshake = require "veloflux.channels.handshake"
local log = require "veloflux.admin.log"
local overview = require "veloflux.admin.overview"
local problem = require "veloflux.admin.problem"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local hub = channels.hub
local SINCE = { "since", { type = "integer", minimum = 0 }, "The sequence of the last frame that was seen." }
local PROBLEM = { ["application/problem+json"] = "Problem" }

M.MAX_MESSAGE = 16 * 1024 -- bytes that a client may say at once

local function doc_of(channel)
  return { tag = "channels", summary = channel.definition.summary, parameters = { SINCE }, answers = {
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
    return { upgrade = { client = id, max_message = M.MAX_MESSAGE,
      headers = { "Upgrade", "websocket", "Sec-WebSocket-Accept", asked.accept },
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

--- Takes over the settings of a configuration.
-- @param settings the record admin.websocket
function M.configure(settings)
  hub.settings = { max_clients = settings.max_clients, ping_s = settings.ping / 1000, queue_bytes = settings.queue }
end

--- Makes endpoints of the channels: those that there are, and all that are to come.
-- @param router of router.lua
function M.register(router)
  hub:list_in {
    add = function(channel)
      router:register { method = "GET", path = channel.path, permission = channel.definition.permission,
        is_same_origin = true, handler = opener(channel), doc = doc_of(channel) }
    end,
    remove = function(channel) router:unregister("GET", channel.path) end,
  }
end

--- Gives the hub what it works with.
-- @param context of admin/init.lua: version, now()
-- @param native {send_soon, ping, close, cut, wake} of C
function M.attach(context, native)
  hub:attach { native = native, now = context.now, log = log.write,
    wall_ms = function() return totals.number(totals.node().wall_ms) end,
    timestamp = function() return status.time(totals.node().wall_ms) end,
    context = { version = function() return totals.number(totals.node().version) end,
      health_mark = overview.health_mark,
      status = function() return overview.document(context.version, hub.n_clients) end } }
end

return M

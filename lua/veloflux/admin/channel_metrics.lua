--- What /metrics says of channels and their clients.
local hub = require("veloflux.channels").hub
local labels_of = require("veloflux.admin.prometheus").labels

local M = {}

--- Adds it.
function M.add(exposition)
  local function one(name, kind, help, value) exposition:family(name, kind, help):add("", value) end
  local function family(name, kind, help) return exposition:family("veloflux_websocket_" .. name, kind, help) end
  local clients = family("clients", "gauge", "Clients that follow a channel.")
  local frames = family("frames_total", "counter", "Frames of a channel that were queued for clients.")
  local dropped = family("dropped_frames_total", "counter", "Frames that were dropped because a client was slow.")
  local faults = family("faults_total", "counter", "Times that the code of a channel raised an error.")
  for _, channel in ipairs(hub:list()) do
    local labels = labels_of { "channel", channel.name }
    clients:add(labels, channel.n_subscribers)
    frames:add(labels, channel.n_frames)
    dropped:add(labels, channel.n_dropped)
    faults:add(labels, channel.n_errors)
  end
  one("veloflux_websocket_connections", "gauge", "WebSocket clients of the admin address.", hub.n_clients)
  one("veloflux_websocket_opened_total", "counter", "WebSocket clients that were let in.", hub.n_opened)
  one("veloflux_websocket_refused_total", "counter", "WebSocket clients that were refused for lack of room.",
    hub.n_refused)
  one("veloflux_websocket_messages_total", "counter", "Messages of WebSocket clients.", hub.n_messages)
  one("veloflux_websocket_slow_total", "counter", "WebSocket clients that were closed because they were too slow.",
    hub.n_closed_slow)
  one("veloflux_websocket_timeouts_total", "counter", "WebSocket clients that did not answer a ping.", hub.n_timeouts)
end

return M

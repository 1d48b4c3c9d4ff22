--- What /metrics says of channels and their clients.
local hub = require("veloflux.channels").hub
local prometheus = require "veloflux.admin.prometheus"

local M = {}

-- Each list: rows of prometheus.lua, over a channel of the hub and over the hub.
local CHANNEL = {
  { "n_subscribers", "clients", "gauge", "Clients that follow a channel." },
  { "n_frames", "frames_total", "counter", "Frames of a channel that were queued for clients." },
  { "n_dropped", "dropped_frames_total", "counter", "Frames that were dropped because a client was slow." },
  { "n_errors", "faults_total", "counter", "Times that the code of a channel raised an error." },
}

local HUB = {
  { "n_clients", "connections", "gauge", "WebSocket clients of the admin address." },
  { "n_opened", "opened_total", "counter", "WebSocket clients that were let in." },
  { "n_refused", "refused_total", "counter", "WebSocket clients that were refused for lack of room." },
  { "n_messages", "messages_total", "counter", "Messages of WebSocket clients." },
  { "n_closed_slow", "slow_total", "counter", "WebSocket clients that were closed because they were too slow." },
  { "n_timeouts", "timeouts_total", "counter", "WebSocket clients that did not answer a ping." },
}

--- Adds the families to an exposition of admin/prometheus.lua.
function M.add(exposition)
  local families = exposition:rows("veloflux_websocket_", CHANNEL)
  for _, channel in ipairs(hub:list()) do
    families:add(prometheus.labels { "channel", channel.name }, channel)
  end
  exposition:rows("veloflux_websocket_", HUB):add("", hub)
end

return M

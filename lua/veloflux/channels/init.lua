--- Channels: live data over WebSocket (RFC 6455) on the admin address. A client connects to the path of a channel,
-- gets its data at once, and again as often as the channel says or whenever something has changed.
--
-- What a plugin offers stands in its channels.lua, which returns a list of definitions:
--
--     return { {
--       path = "/api/ws/widgets",     -- below /api/
--       permission = "user",          -- what a client has to have, as endpoints say it
--       type = "widgets",             -- of its frames
--       summary = "The widgets, live.",
--       every = "5s",                 -- data is sent so often; nil: only when it changes, or is published
--       watch = function(context) return a number or text end, -- cheap; looked at several times a second while there
--                                     -- are clients: whenever it is another one, data is sent at once
--       frame = function(context) return data, type, more end, -- a table for JSON; nil: nothing is sent.
--                                     -- A second result stands in for `type` in this frame; a third, a list of
--                                     -- {type, data}, are frames that follow it (not for a client's first)
--       filter = function(data, filter, type) return data end, -- for clients that subscribed with a filter: what
--                                     -- they get of the data, nil: nothing. `filter` are the further members of
--                                     -- their message, as `filter_fields` has read them
--       filter_fields = { pool = { type = "string" } },        -- a schema, as in a plugin's schema.lua
--       of_tenant = true,             -- clients of a tenant may follow it; their filter always has `tenant_id`, and
--                                     -- `filter` (or `frame`, with per_client) has to keep to it
--       per_client = true,            -- every client gets data of its own: `frame` is called for each of them
--       messages = { rename = { permission = "admin", fields = { name = { type = "string", required = true } },
--         handle = function(context, message) return data end } }, -- what a client may say besides; what is returned
--                                     -- is sent back to it as {type = "rename", data = data}
--       receive = function(context, message) return data, type end, -- instead of `messages`: gets all that clients
--                                     -- of this path say, but for what every channel understands
--       history = 64,                 -- frames that are kept for clients that come back
--     } }
--
-- `context` has
--     reason        "open", "every", "change", "forced" or "message"
--     now           seconds, monotonic
--     identity      {name, tenant} of the client; and `filter`, where it has one: in calls for a single client
--     version()     of the configuration
--     mark(name)    a text that is another one when something has changed: "backends" (the health of one) or "health"
--     status(), backends(), metrics(), health()   live data, as the channels of these names send it
--     switch(action, name), force(name)           pushes of channels: see channels/switches.lua
--
-- Frames are JSON texts: {type, channel, sequence, timestamp, data}. `channel` is the path without /api/ws/ in front;
-- `sequence` grows by one with every frame of a channel and never goes back, not even over restarts; a client that
-- comes back with ?since=SEQUENCE gets what it missed, or the whole data when that is not kept any more.
--
-- Functions of a definition may not wait. What they raise is logged and counted, and costs that frame.
local hubs = require "veloflux.channels.hub"

local M = {}

--- The one of this process. The admin address attaches it to its clients.
M.hub = hubs.new()

--- Adds a channel. Raises when the definition is not a good one, or its path is taken.
-- @param definition see above
function M.register(definition) M.hub:register(definition) end

--- Takes a channel away: its clients are told so (close code 1001). Returns false when there is none.
function M.unregister(path) return M.hub:unregister(path) end

--- Sends data to all clients of a channel, now. Returns to how many. Without a client it is kept all the same, for
-- those that come back.
-- @param path of the channel
-- @param data a table for JSON
-- @param kind of the frame; nil: the channel's type
function M.publish(path, data, kind) return M.hub:publish(path, data, kind) end

return M

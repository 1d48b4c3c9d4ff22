--- The store as control uses it: opened and loaded as one step, opened again when it was out of reach.
local stores = require "veloflux.store"

local M = {}

local open = stores.open -- specs put another in its place
local store

--- Replaces how stores are opened: for specs.
function M.use(opener)
  open, store = opener or stores.open, nil
end

--- Returns the store, or nil.
function M.current() return store end

local function give_up(callback, message)
  local broken = store
  store = nil
  if broken then broken:close(function() end) end
  callback(message)
end

--- Opens the store of a node and reads what is there.
-- @param callback function(message, loaded): what is wrong, or nil and {version, entities}
function M.open(node, callback)
  local opened, message
  if not store then
    opened, message = open(stores.settings(node))
    if not opened then return callback(message) end
    store = opened
  end
  store:load(function(err, loaded)
    if err then return give_up(callback, err.message or err.code) end
    callback(nil, loaded)
  end)
end

--- Commits empty versions up to `last`: those that were published while the store was out of reach.
-- @param callback function(message)
function M.catch_up(from, last, now_ms, callback)
  local left, failure = math.max(last - from, 0), nil
  if left == 0 then return callback() end
  for version = from + 1, last do
    store:commit({ version = version, time_ms = now_ms, author = "", source = "file", reason = "", request_id = "",
      summary = "published without the store", puts = {}, deletes = {} }, function(err)
      failure = failure or err
      left = left - 1
      if left == 0 then callback(failure and (failure.message or failure.code)) end
    end)
  end
end

return M

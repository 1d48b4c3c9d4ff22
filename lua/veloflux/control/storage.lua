--- The store as control uses it: opened and loaded as one step, opened again when it was out of reach. A store that
-- several nodes share finds its way back by itself, so it stays open.
local link = require "veloflux.control.link"
local stores = require "veloflux.store"

local M = {}

local open = stores.open -- specs put another in its place
local store
local listener -- function(): other nodes have committed, or a shared store is there again

--- Says who is told that the store may have what this node did not commit.
function M.watch(fn) listener = fn end

--- Replaces how stores are opened: for specs.
function M.use(opener)
  open, store = opener or stores.open, nil
end

--- Returns the store, or nil.
function M.current() return store end

--- True when other nodes may commit to the store.
function M.is_shared() return store ~= nil and store:status().driver ~= "sqlite" end

--- Returns the state of the store as store:status says it, or nil when there is none.
function M.status() return store and store:status() end

local function give_up(callback, message)
  local broken = store
  if M.is_shared() then return callback(message) end
  store = nil
  if broken then broken:close(function() end) end
  callback(message)
end

--- Opens the store of a node and reads what is there.
-- @param callback function(message, loaded): what is wrong, or nil and {version, entities}
function M.open(node, callback)
  local opened, message
  if not store then
    local settings = stores.settings(node)
    settings.log = link.log
    opened, message = open(settings)
    if not opened then return callback(message) end
    store = opened
    opened:watch(function() if store == opened and listener then listener() end end)
  end
  store:load(function(err, loaded)
    if err then return give_up(callback, err.message or err.code) end
    callback(nil, loaded)
  end)
end

--- Commits versions up to `last`: those that were published while the store was out of reach, or that it has lost.
-- @param callback function(message)
-- @param puts, deletes of the first of them, as store:commit takes them, or nil: they are all empty
function M.catch_up(from, last, now_ms, callback, puts, deletes)
  local left, failure = math.max(last - from, 0), nil
  if left == 0 then return callback() end
  for version = from + 1, last do
    store:commit({ version = version, time_ms = now_ms, author = "", source = "file", reason = "", request_id = "",
      summary = puts and "what the store had lost" or "published without the store", puts = puts or {},
      deletes = deletes or {}, follows = version > from + 1 }, function(err)
      failure = failure or err
      left = left - 1
      if left == 0 then callback(failure and (failure.message or failure.code)) end
    end)
    puts, deletes = nil, nil
  end
end

return M

--- The store as control uses it: opened and loaded as one step, opened again when it was out of reach. A store that
-- several nodes share finds its way back by itself, so it stays open.
local link = require "veloflux.control.link"
local stores = require "veloflux.store"

local M = {}

local OF_ONE_NODE = { sqlite = true, memory = true } -- drivers of stores that nobody shares

local open = stores.open -- specs put another in its place
local store
local in_use -- settings of the store
local listener -- function(): other nodes have committed, or a shared store is there again
local hearer -- {since = function, on_news = function}: of `hear`

--- Says who is told that the store may have what this node did not commit.
function M.watch(fn) listener = fn end

--- Says who hears the news of other nodes.
-- @param since function() -> number of the last that was heard, or nil
-- @param on_news function(text, number) as store:hear calls it
function M.hear(since, on_news) hearer = { since = since, on_news = on_news } end

--- Replaces how stores are opened: for specs.
function M.use(opener)
  open, store, in_use = opener or stores.open, nil, nil
end

--- Returns the store, or nil.
function M.current() return store end

--- True when other nodes may commit to the store.
function M.is_shared() return store ~= nil and not OF_ONE_NODE[store:status().driver] end

--- Returns the state of the store as store:status says it, or nil when there is none.
function M.status() return store and store:status() end

local function give_up(callback, message)
  local broken = store
  if M.is_shared() then return callback(message) end
  store = nil
  if broken then broken:close(function() end) end
  callback(message)
end

--- Opens the store of a node. Returns true, or nil and a message.
local function open_as(settings)
  settings.log = link.log
  local opened, message = open(settings)
  if not opened then return nil, message end
  store, in_use = opened, settings
  if hearer then
    opened:hear(hearer.since(), function(...) if store == opened then hearer.on_news(...) end end)
  end
  opened:watch(function() if store == opened and listener then listener() end end)
  return true
end

local NO_SETTINGS = { log = true } -- of settings: what `open_as` adds

local function is_part(name) return not NO_SETTINGS[name] and tostring(name):sub(1, 1) ~= "_" end

--- True when a store is reached in the same way: all of it, records such as `tls` and `sentinel` as well, but not where
-- in the file they stand.
local function is_same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for name, value in pairs(a) do
    if is_part(name) and not is_same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if is_part(name) and a[name] == nil then return false end
  end
  return true
end

--- Takes the settings that the conf file has now: another password, `tls` or time limit, or, while the store does not
-- answer, another store.
-- @return "same", or "opened": it has to be read again; or nil and why not
function M.adjust(node)
  if not store or not in_use then return "same" end
  local settings = stores.settings(node)
  local is_there = stores.place(settings) == stores.place(in_use)
  if is_there and is_same(settings, in_use) then return "same" end
  if not is_there and store:status().connected then return nil, "cannot change while running, restart instead" end
  local old = store
  local ok, message = open_as(settings)
  if not ok then return nil, message end
  old:close(function() end)
  return "opened"
end

--- Opens the store of a node and reads what is there.
-- @param callback function(message, loaded): what is wrong, or nil and {version, entities}
function M.open(node, callback)
  if not store then
    local ok, message = open_as(stores.settings(node))
    if not ok then return callback(message) end
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
    local is_full = puts and #puts + #deletes > 0
    store:commit({ version = version, time_ms = now_ms, author = "", source = "file", reason = "", request_id = "",
      summary = is_full and "what the store had lost" or "published without the store", puts = puts or {},
      deletes = deletes or {}, follows = version > from + 1 }, function(err)
      failure = failure or err
      left = left - 1
      if left == 0 then callback(failure and (failure.message or failure.code)) end
    end)
    puts, deletes = nil, nil
  end
end

return M

--- The nodes that share a store. Each says every so often what it is and which version it serves; who has been silent
-- for the life of a lease counts as gone.
--
-- What others have said is kept here, so that whoever asks does not wait for the store: it is as old as a heartbeat.
-- A node that hears of a version that it does not know looks for it, should the store's notice have been lost.
local alarms = require "veloflux.control.alarms"
local json = require "veloflux.pdk.json"
local link = require "veloflux.control.link"

local M = {}

local SOON_MS = 10 -- news are told this long after the last were
local POLL_MS = 10 -- how often others are asked for while somebody waits for them

local options -- what `start` was given; nil: not started
local others = {} -- id -> {record, seen_ms, is_alive}
local timer, soon, announced_ms
local is_announcing, has_news = false, false
local is_reading = false
local is_silent = false -- the store did not take the last heartbeat
local has_double = false
local is_polling = false
local waiting = {} -- {version, until_ms, callback}

local beat, watch

local function on_announced(err)
  is_announcing = false
  if err and not is_silent then
    link.log("warn", "cluster.silent", "the store does not take this node's heartbeat: " .. (err.message or err.code))
  elseif not err and is_silent then
    link.log("info", "cluster.heard", "the store takes this node's heartbeat again")
  end
  is_silent = err ~= nil
  if has_news then M.touch() end
end

--- Says what this node is.
local function announce()
  local store = options.store()
  has_news = false
  if not store or not options.is_shared() then return end
  is_announcing, announced_ms = true, alarms.now_ms()
  store:announce(options.id, json.encode(options.describe()), options.lease_ms, function(err)
    if options then on_announced(err) end
  end)
end

--- Another process that says it is this node: its data directory was copied.
local function note_double(record, own)
  local is_double = record.started_ms ~= nil and record.started_ms ~= own.started_ms and record.is_alive
  if is_double and not has_double then
    link.log("error", "cluster.double", ("another node calls itself %s, too: give it another cluster.node_id, or its "
      .. "own data_dir"):format(options.id))
  end
  has_double = is_double
end

local function take(nodes)
  local newest, found = 0, {}
  for id, node in pairs(nodes) do
    local ok, record = pcall(json.decode, node.json)
    if ok and type(record) == "table" then
      record.id, record.seen_ms, record.is_alive = id, node.seen_ms, node.is_alive
      found[id] = record
      local version = tonumber(record.version)
      if node.is_alive and version and version > newest then newest = version end
    end
  end
  if found[options.id] then note_double(found[options.id], options.describe()) end
  others = found
  options.on_version(newest)
end

--- Says who of those that live does not serve a version yet.
-- @return names in order, and whether all of these said that they cannot
local function laggards(version)
  local names, are_stuck = {}, true
  for _, node in ipairs(M.list()) do
    if node.is_alive and (tonumber(node.version) or 0) < version then
      names[#names + 1] = node.id
      are_stuck = are_stuck and node.state == "behind" and (tonumber(node.behind) or 0) >= version
    end
  end
  return names, are_stuck
end

local function tell_waiting()
  local now, asked = alarms.now_ms(), waiting
  waiting = {} -- whoever is told may wait again
  for _, wait in ipairs(asked) do
    local names, are_stuck = laggards(wait.version)
    if #names == 0 or are_stuck or now >= wait.until_ms then
      wait.callback(names)
    else
      waiting[#waiting + 1] = wait
    end
  end
end

--- Reads what the others have said.
local function refresh()
  local store = options and options.store()
  if not store or is_reading or not options.is_shared() then return end
  is_reading = true
  store:nodes(function(err, nodes)
    is_reading = false
    if not options then return end
    if err then return end
    take(nodes)
    tell_waiting()
  end)
end

local function poll()
  is_polling = false
  if not options or #waiting == 0 then return end
  tell_waiting()
  watch()
end

--- Asks for the others while somebody waits for them.
function watch()
  if is_polling or #waiting == 0 then return end
  is_polling = true
  refresh()
  alarms.after(POLL_MS, poll)
end

function beat()
  timer = alarms.after(options.heartbeat_ms, beat)
  if not is_announcing then announce() end
  refresh()
end

--- Begins.
-- @param settings {store = function() -> the store or nil, is_shared = function, id, heartbeat_ms, lease_ms,
-- wall_ms = function: the time since 1970, describe = function: returns what this node says of itself ({version, state,
-- started_ms, ...}),
-- on_version = function(version): the newest that any node serves}
function M.start(settings)
  M.stop()
  options = settings
  beat()
end

--- Says no more.
-- @param state the last word, or nil
-- @param callback function(), or nil
function M.stop(state, callback)
  local was = options
  for _, wait in ipairs(waiting) do wait.until_ms = 0 end
  if was then tell_waiting() end
  alarms.cancel(timer)
  alarms.cancel(soon)
  options, others, timer, soon, announced_ms = nil, {}, nil, nil, nil
  is_announcing, has_news, is_reading, is_silent, has_double = false, false, false, false, false
  local store = was and state and was.is_shared() and was.store()
  if not store then return callback and callback() end
  local record = was.describe()
  record.state = state
  store:announce(was.id, json.encode(record), 1, function() if callback then callback() end end) -- 1 ms: gone at once
end

--- This node has something new to say.
function M.touch()
  if not options then return end
  has_news = true
  if is_announcing or soon then return end
  local delay = announced_ms and announced_ms + SOON_MS - alarms.now_ms() or 0
  if delay <= 0 then return announce() end
  soon = alarms.after(delay, function()
    soon = nil
    if options and has_news and not is_announcing then announce() end
  end)
end

--- Returns what is known of all nodes in the order of their ids: what each said of itself, with id, seen_ms and
-- is_alive. Of this node it is true now.
function M.list()
  if not options then return {} end
  local list = { options.describe() }
  list[1].id, list[1].seen_ms, list[1].is_alive, list[1].is_self = options.id, options.wall_ms(), true, true
  for id, record in pairs(others) do
    if id ~= options.id then list[#list + 1] = record end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

--- Returns the id of this node, or nil before the start.
function M.id() return options and options.id end

--- True while the store does not take this node's heartbeat.
function M.is_silent() return is_silent end

--- Waits until all nodes that live serve a version, or will not.
-- @param wait_ms how long at most
-- @param callback function(names of those that do not)
function M.wait(version, wait_ms, callback)
  if not options then return callback {} end
  waiting[#waiting + 1] = { version = version, until_ms = alarms.now_ms() + wait_ms, callback = callback }
  watch()
end

return M

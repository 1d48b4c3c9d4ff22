--- The door for specs: transactions on a link and a store that are tables, so that each step is taken when the
-- spec says so.
local fixture = require "unit.conf.fixture"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local flow = require "veloflux.control.flow"
local queue = require "veloflux.control.queue"
local transactions = require "veloflux.control.transactions"
local storage = require "veloflux.control.storage"
local worlds = require "veloflux.control.world"

local M = {}

local Store = {}
Store.__index = Store

--- Returns an empty store in memory.
function M.store()
  return setmetatable({ version_now = 0, records = {}, kinds = {}, held = {} }, Store)
end

local function err_of(self, change)
  if self.failure then return self.failure end
  if change.fence and change.fence.token ~= self.token then return { code = "fenced", message = "another token" } end
  if self.version_now > 0 and change.version ~= self.version_now + 1 then
    return { code = "conflict", message = "not the next version" }
  end
end

local function take(self, change)
  local record = { version = change.version, time_ms = change.time_ms, author = change.author, source = change.source,
    reason = change.reason, request_id = change.request_id, summary = change.summary, changes = {} }
  local function set(kind, key, row)
    self.kinds[kind] = self.kinds[kind] or {}
    local before = self.kinds[kind][key]
    self.kinds[kind][key] = row
    table.insert(record.changes, { kind = kind, key = key, before = before and before.json, after = row and row.json })
  end
  for _, put in ipairs(change.puts) do
    set(put.kind, put.key, { json = put.json, version = change.version, created_ms = put.created_ms,
      updated_ms = change.time_ms })
  end
  for _, delete in ipairs(change.deletes) do set(delete.kind, delete.key, nil) end
  self.version_now = change.version
  record.state = {}
  for kind, rows in pairs(self.kinds) do
    record.state[kind] = {}
    for key, row in pairs(rows) do record.state[kind][key] = row end
  end
  self.records[change.version] = record
end

function Store:commit(change, callback)
  table.insert(self.held, function()
    local err = err_of(self, change)
    if not err then take(self, change) end
    callback(err)
  end)
  if not self.holds then self:answer() end
end

--- Answers what was asked while `holds` was set.
function Store:answer()
  local held = self.held
  self.held = {}
  for _, answer in ipairs(held) do answer() end
end

function Store:versions(options, callback)
  local list = {}
  for version = (options.before or self.version_now + 1) - 1, 1, -1 do
    if self.records[version] and #list < (options.limit or 100) then list[#list + 1] = self.records[version] end
  end
  callback(nil, list)
end

function Store:extent(callback)
  local first = 0
  for version = self.version_now, 1, -1 do
    if self.records[version] then first = version end
  end
  callback(nil, { first = first, last = first > 0 and self.version_now or 0 })
end

function Store:version(number, callback) callback(nil, self.records[number]) end

function Store.close(_, callback) callback() end

function Store.watch(self, on_change) self.on_change = on_change end

function Store.hear() end

function Store.tell(_, _, callback) callback() end

function Store:lease(name, holder, _, callback)
  if name == "turn" and self.turn_of then
    return callback(nil, { holder = self.turn_of, token = 1, is_mine = false })
  end
  if name == "turn" then self.is_turn_held = true end
  self.token = self.token or 1
  callback(self.failure, { holder = holder, token = self.token, is_mine = true })
end

function Store:release(name, _, _, callback)
  if name == "turn" then self.is_turn_held = false end
  callback()
end

function Store:announce(node, json, _, callback)
  self.nodes_now = self.nodes_now or {}
  self.nodes_now[node] = { json = json, seen_ms = 1000, is_alive = true }
  callback(self.failure)
end

function Store:nodes(callback) callback(self.failure, self.nodes_now or {}) end

function Store:status() return { driver = self.driver or "sqlite", connected = self.failure == nil } end

function Store:changes(after, limit, callback)
  if self.failure then return callback(self.failure) end
  if after > self.version_now or after < (self.pruned or 0) then return callback { code = "gone", message = "gone" } end
  local list = {}
  for version = after + 1, math.min(self.version_now, after + limit) do list[#list + 1] = self.records[version] end
  callback(nil, list)
end

--- Commits as another node does.
-- @param puts map from "KIND KEY" to JSON; false deletes
function Store:commit_elsewhere(puts)
  local change = { version = self.version_now + 1, time_ms = 2000, source = "api", puts = {}, deletes = {} }
  for id, json in pairs(puts) do
    local kind, key = id:match "^(%S+) (.*)$"
    table.insert(json and change.puts or change.deletes, { kind = kind, key = key, json = json or nil,
      created_ms = 2000 })
  end
  take(self, change)
end

function Store:load(callback)
  if self.failure then return callback(self.failure) end
  callback(nil, { version = self.version_now, entities = self.kinds })
end

function Store:at(number, callback) callback(nil, self.records[number] and self.records[number].state) end

--- Opens the door upon a conf text.
-- @param text of the conf file
-- @return {store, link, apply(ops, context) -> outcome or nil, step(), ...}
function M.open(text)
  local folder = fixture.folder {}
  local door = { folder = folder, store = M.store(), log = {}, offers = {}, commits = {} }
  door.link = { published_version = 1 }
  function door.link.published() return door.link.published_version end
  function door.link.offer(version, fd)
    require("ffi").C.close(fd)
    door.offers[#door.offers + 1] = version
  end
  function door.link.commit(version) door.commits[#door.commits + 1] = version end
  function door.link.set_config() end
  function door.link.log(level, event, message) table.insert(door.log, level .. " " .. event .. " " .. message) end
  flow.open { link = door.link, store = function() return door.store end }
  queue.open { link = door.link, now_ms = function() return 1000 end,
    retry = function(_, callback) callback(door.set_again) end, store = function() return door.store end,
    restore = function(found, callback) door.restore(found, callback) end }
  text = "data_dir: " .. folder .. "\n" .. text
  local draft = conf.read { source = { text = text, name = "conf.yaml", dir = folder }, env = {} }
  local model, problems = conf.complete(draft)
  if not model then error(conf.format(problems[1]), 2) end
  local world = worlds.new(draft, entities.new(), 1, assert(worlds.sealing(draft.node)))
  door.store.version_now = 1
  door.store.records[1] = { version = 1, state = {}, changes = {} }
  flow.adopt(model, 1, false)
  queue.adopt(world)

  --- All processes have prepared what was offered.
  function door.prepare() flow.prepared(door.offers[#door.offers]) end

  --- What was committed is published and live.
  function door.publish()
    local version = door.commits[#door.commits]
    door.link.published_version = version
    flow.published(version)
    flow.live(0)
  end

  --- Answers the whole way of one offer.
  function door.step()
    door.prepare()
    door.publish()
  end

  --- Applies operations and takes every step. Returns the outcome.
  function door.apply(ops, context)
    local result
    local offered = #door.offers
    transactions.apply(ops, context or {}, function(answer) result = answer end)
    if #door.offers > offered and not result then door.step() end
    return result
  end

  --- History asks the store of the process: gives it the door's.
  function door.use_store()
    storage.use(function() return door.store end)
    storage.open(draft.node, function() end)
  end

  function door.close() fixture.remove(folder) end

  return door
end

return M

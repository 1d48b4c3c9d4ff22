--- The store in one SQLite file.
--
-- The history is the state: an entity is a name and the changes that it went through, each with its text of that
-- version. The live change of a name makes what `load` reads; the last change up to version n makes what it was in
-- version n, found by one look into an index per name, however long the history is. So nothing is kept twice, and no
-- version has to be rebuilt from others.
local databases = require "veloflux.store.database"
local ffi = require "ffi"
local slices = require "veloflux.slices"
local sql = require "veloflux.store.sqlite.sql"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}
local Driver = {}
Driver.__index = Driver

local statement, condition = databases.statement, databases.condition

local SWEEP = 200 -- expired entries that one put removes: more than it adds, and never a long stop
local DAY_MS = 24 * 3600 * 1000 -- how long a silent node is kept
local NO_LIMIT = 2 ^ 53
local VERSION_FIELDS = { "version", "time_ms", "author", "source", "reason", "request_id", "summary" }
local CHANGE_FIELDS = { "kind", "key", "before", "after" }
local APPLICATION_ID = 0x56464c58 -- "VFLX"

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

function M.place(settings) return settings.path end

--- Opens the driver.
-- @param settings path; host, busy_ms and now_ms (function returning milliseconds since 1970) or nil
-- @return the driver, or nil and a message
function M.open(settings)
  local database, message = databases.open { host = settings.host, path = settings.path,
    application_id = APPLICATION_ID, migrations = sql.MIGRATIONS, busy_ms = settings.busy_ms }
  if not database then return nil, message end
  return setmetatable({ database = database, now_ms = settings.now_ms or wall_ms, leased = {} }, Driver)
end

--- Notes whether the file could be used.
local function note(self, err)
  local message = err and (err.code == "unavailable" or err.code == "io") and err.message or nil
  if self.since_ms and (message == nil) == (self.message == nil) then
    self.message = message
    return
  end
  self.since_ms, self.message = self.now_ms(), message
end

--- Returns a function that hands an error on, or what `convert` makes of the results.
local function answering(self, callback, convert)
  return function(err, results)
    note(self, err)
    if err then -- "wrong": somebody has changed the tables
      return callback { code = err.code == "wrong" and "unavailable" or err.code, message = err.message }
    end
    return callback(nil, convert(results))
  end
end

local function nothing() end

--- Makes tables of rows.
local function records(values, fields)
  local list = {}
  for at = 0, values.n - 1, #fields do
    local record = {}
    for i, field in ipairs(fields) do record[field] = values[at + i] end
    list[#list + 1] = record
  end
  return list
end

local function entities(values)
  local kinds = {}
  for at = 0, values.n - 1, 6 do
    slices.pause()
    local kind = values[at + 1]
    kinds[kind] = kinds[kind] or {}
    kinds[kind][values[at + 2]] = { json = values[at + 3], version = values[at + 4], created_ms = values[at + 5],
      updated_ms = values[at + 6] }
  end
  return kinds
end

function Driver:load(callback)
  local function convert(results) return { version = results[1][1] or 0, entities = entities(results[2]) } end
  self.database:run(false, { statement(sql.LAST_VERSION, 0), statement(sql.LIVE, 0) },
    answering(self, callback, convert))
end

local function add_put(add, change, put)
  add(statement(sql.ADD_NAME, 2, put.kind, put.key))
  add(statement(sql.ADD_CHANGE, 6, put.kind, put.key, change.version, put.json, put.created_ms, change.time_ms))
  add(statement(sql.SET_LIVE, 2, put.kind, put.key))
end

local function add_delete(add, change, delete)
  add(statement(sql.ADD_DELETION, 3, delete.kind, delete.key, change.version))
  add(statement(sql.SET_DELETED, 2, delete.kind, delete.key))
end

local function add_change(add, change)
  add(condition(sql.ADD_VERSION, 7, change.version, change.time_ms, change.author, change.source, change.reason,
    change.request_id, change.summary))
  if change.fence then add(condition(sql.IS_LEASED, 2, change.fence.name, change.fence.token)) end
  for _, put in ipairs(change.puts or {}) do
    slices.pause()
    add_put(add, change, put)
  end
  for _, delete in ipairs(change.deletes or {}) do
    slices.pause()
    add_delete(add, change, delete)
  end
end

local function fenced(fence)
  return { code = "fenced", message = ("the lease %s has another token than %d"):format(fence.name, fence.token) }
end

--- Says which of its conditions has refused a commit.
function Driver:explain_refusal(change, callback)
  note(self, nil)
  local conflict = { code = "conflict",
    message = ("version %d is not the one after the store's"):format(change.version) }
  local fence = change.fence
  if not fence or self.is_ending then return callback(conflict) end
  self.database:run(false, { statement(sql.LEASE, 1, fence.name) }, function(err, results)
    if err then return answering(self, callback, nothing)(err) end
    if results[1][2] == fence.token then return callback(conflict) end
    callback(fenced(fence))
  end)
end

function Driver:commit(change, callback)
  self.database:run(true, function(add) add_change(add, change) end, function(err)
    if err and err.code == "refused" then return self:explain_refusal(change, callback) end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:versions(before, limit, callback)
  self.database:run(false, { statement(sql.VERSIONS, 2, before or NO_LIMIT, limit) },
    answering(self, callback, function(results) return records(results[1], VERSION_FIELDS) end))
end

function Driver:extent(callback)
  self.database:run(false, { statement(sql.EXTENT, 0) },
    answering(self, callback, function(results) return records(results[1], { "first", "last" })[1] end))
end

function Driver:version(number, callback)
  self.database:run(false, { statement(sql.VERSION, 1, number), statement(sql.CHANGES, 1, number) },
    answering(self, callback, function(results)
      local record = records(results[1], VERSION_FIELDS)[1]
      if record then record.changes = records(results[2], CHANGE_FIELDS) end
      return record
    end))
end

function Driver:at(number, callback)
  self.database:run(false, { statement(sql.VERSION, 1, number), statement(sql.AT, 1, number) },
    answering(self, callback, function(results) return results[1].n > 0 and entities(results[2]) or nil end))
end

--- Returns the records of versions with what each changed.
local function with_changes(versions, values)
  local list, by_version = records(versions, VERSION_FIELDS), {}
  for _, record in ipairs(list) do
    record.changes = {}
    by_version[record.version] = record.changes
  end
  for at = 0, values.n - 1, 6 do
    local changes = by_version[values[at + 1]]
    changes[#changes + 1] = { kind = values[at + 2], key = values[at + 3], before = values[at + 4],
      after = values[at + 5], created_ms = values[at + 6] }
  end
  return list
end

function Driver:changes(after, limit, callback)
  local list = { statement(sql.OLDEST_AND_LAST, 0), statement(sql.VERSIONS_AFTER, 2, after, limit),
    statement(sql.CHANGES_AFTER, 2, after, limit) }
  local function on_read(err, results)
    if err then return answering(self, callback, nothing)(err) end
    local oldest, last = results[1][1] or 1, results[1][2] or 0
    if after > last or after < oldest - 1 then
      return callback { code = "gone", message = ("there is no history after version %d"):format(after) }
    end
    answering(self, callback, function() return with_changes(results[2], results[3]) end)(nil)
  end
  self.database:run(false, list, on_read)
end

function Driver:prune(first, callback)
  self.database:run(true, { statement(sql.COUNT_PRUNABLE, 1, first), statement(sql.PRUNE_VERSIONS, 1, first),
    statement(sql.PRUNE_CHANGES, 0) }, answering(self, callback, function(results) return results[1][1] end))
end

function Driver:base(callback)
  local list = { statement(sql.OLDEST_AND_LAST, 0), statement(sql.BASE, 0) }
  self.database:run(false, list, answering(self, callback, function(results)
    return { first = results[1][1] or 0, last = results[1][2] or 0, entities = entities(results[2]) }
  end))
end

function Driver:fill(kinds, callback)
  local list = { condition(sql.CLAIM_EMPTY, 0) }
  for kind, of_kind in pairs(kinds) do
    for key, entity in pairs(of_kind) do
      list[#list + 1] = statement(sql.ADD_NAME, 2, kind, key)
      list[#list + 1] = statement(sql.FILL, 6, kind, key, entity.version, entity.json, entity.created_ms,
        entity.updated_ms)
      list[#list + 1] = statement(sql.SET_LIVE, 2, kind, key)
    end
  end
  list[#list + 1] = statement(sql.UNCLAIM, 0)
  self.database:run(true, list, function(err)
    if err and err.code == "refused" then err = { code = "conflict", message = "the store has versions" } end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:empty(callback)
  local list = {}
  for i, text in ipairs(sql.EMPTY) do list[i] = statement(text, 0) end
  self.database:run(true, list, answering(self, callback, nothing))
end

function Driver:things(callback)
  local now_ms = self.now_ms()
  self.database:run(false, { statement(sql.THINGS, 1, now_ms) }, answering(self, callback, function(results)
    local list, values = {}, results[1]
    for at = 0, values.n - 1, 4 do
      local expires_ms = values[at + 4]
      list[#list + 1] = { bucket = values[at + 1], key = values[at + 2], text = values[at + 3],
        ttl_ms = expires_ms and expires_ms - now_ms }
    end
    return list
  end))
end

function Driver:put(bucket, key, text, ttl_ms, callback, fence)
  local now_ms = self.now_ms()
  local list = { statement(sql.SWEEP_EXPIRED, 2, now_ms, SWEEP),
    statement(sql.PUT, 4, bucket, key, text, ttl_ms and now_ms + ttl_ms) }
  if fence then table.insert(list, 1, condition(sql.IS_LEASED, 2, fence.name, fence.token)) end
  self.database:run(true, list, function(err)
    if err and err.code == "refused" then
      note(self, nil)
      return callback(fenced(fence))
    end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:claim(bucket, key, text, ttl_ms, callback)
  local now_ms = self.now_ms()
  self.database:run(true, { condition(sql.CLAIM, 5, bucket, key, text, now_ms + ttl_ms, now_ms) }, function(err)
    if err and err.code == "refused" then
      note(self, nil)
      return callback(nil, false)
    end
    answering(self, callback, function() return true end)(err, {})
  end)
end

function Driver:get(bucket, key, callback)
  self.database:run(false, { statement(sql.GET, 3, bucket, key, self.now_ms()) },
    answering(self, callback, function(results) return results[1][1] end))
end

function Driver:delete(bucket, key, callback)
  self.database:run(true, { statement(sql.DELETE, 2, bucket, key) }, answering(self, callback, nothing))
end

function Driver:lease(name, holder, _, callback)
  local list, mine = { statement(sql.LEASE, 1, name) }, self.leased[name]
  if not mine or mine.holder ~= holder then -- not yet by this process, or by another of its parts
    mine = { holder = holder }
    self.leased[name] = mine
    table.insert(list, 1, statement(sql.TAKE_LEASE, 2, name, holder))
  end
  self.database:run(true, list, function(err, results)
    if err and self.leased[name] == mine then self.leased[name] = nil end
    answering(self, callback, function()
      local values = results[#results]
      mine.token = mine.token or values[2]
      return { holder = values[1], token = values[2], is_mine = values[1] == holder and values[2] == mine.token }
    end)(err)
  end)
end

function Driver:release(name, holder, token, callback)
  local mine = self.leased[name]
  if mine and mine.holder == holder and mine.token == token then self.leased[name] = nil end
  self.database:run(true, { statement(sql.FREE_LEASE, 3, name, holder, token) }, answering(self, callback, nothing))
end

function Driver:announce(node, json, ttl_ms, callback)
  local now_ms = self.now_ms()
  self.database:run(true, { statement(sql.FORGET_NODES, 1, now_ms - DAY_MS),
    statement(sql.ANNOUNCE, 4, node, json, now_ms, now_ms + ttl_ms) }, answering(self, callback, nothing))
end

function Driver:nodes(callback)
  local now_ms = self.now_ms()
  self.database:run(false, { statement(sql.NODES, 0) }, answering(self, callback, function(results)
    local nodes, values = {}, results[1]
    for at = 0, values.n - 1, 4 do
      local until_ms = values[at + 4]
      if until_ms > now_ms - DAY_MS then
        nodes[values[at + 1]] = { json = values[at + 2], seen_ms = values[at + 3], is_alive = until_ms > now_ms }
      end
    end
    return nodes
  end))
end

--- Nobody else commits to the file while this process has it.
function Driver.watch() end

function Driver:status()
  return { driver = "sqlite", connected = self.since_ms ~= nil and self.message == nil, since_ms = self.since_ms,
    error = self.message }
end

function Driver:close(callback)
  self.is_ending = true
  self.database:close(callback)
end

return M

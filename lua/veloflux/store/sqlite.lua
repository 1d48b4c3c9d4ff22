--- The store in one SQLite file.
--
-- The history is the state: an entity is a name and the changes that it went through, each with its text of that
-- version. The live change of a name makes what `load` reads; the last change up to version n makes what it was in
-- version n, found by one look into an index per name, however long the history is. So nothing is kept twice, and no
-- version has to be rebuilt from others.
local databases = require "veloflux.store.database"
local ffi = require "ffi"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}
local Driver = {}
Driver.__index = Driver

local statement, condition = databases.statement, databases.condition

local APPLICATION_ID = 0x56464c58 -- "VFLX"

local MIGRATIONS = { [[
CREATE TABLE versions (
  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, author TEXT, source TEXT NOT NULL, reason TEXT,
  request_id TEXT, summary TEXT
);
CREATE TABLE names (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,
  live INTEGER, -- changes.id; NULL: deleted
  UNIQUE (kind, key)
);
CREATE INDEX names_live ON names (live) WHERE live IS NOT NULL;
CREATE TABLE changes (
  id INTEGER PRIMARY KEY, name INTEGER NOT NULL, version INTEGER NOT NULL,
  json TEXT, -- NULL: deleted
  created_ms INTEGER, updated_ms INTEGER,
  UNIQUE (name, version)
);
CREATE INDEX changes_version ON changes (version);
CREATE TABLE buckets (
  id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  expires_ms INTEGER, -- NULL: never
  UNIQUE (bucket, key)
);
CREATE INDEX buckets_expires ON buckets (expires_ms) WHERE expires_ms IS NOT NULL;
]], [[
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT, token INTEGER NOT NULL); -- holder NULL: free
CREATE TABLE nodes (node TEXT PRIMARY KEY, json TEXT NOT NULL, seen_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL);
]] }

local SWEEP = 200 -- expired entries that one put removes: more than it adds, and never a long stop

local LAST_VERSION = "SELECT max(number) FROM versions"

local ADD_VERSION = [[
INSERT INTO versions (number, time_ms, author, source, reason, request_id, summary)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?1 = coalesce((SELECT max(number) FROM versions) + 1, ?1)]]

local ADD_NAME = "INSERT INTO names (kind, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING"

local ADD_CHANGE = [[
INSERT INTO changes (name, version, json, created_ms, updated_ms)
SELECT id, ?3, ?4, coalesce(?5, (SELECT created_ms FROM changes WHERE id = names.live), ?6), ?6
FROM names WHERE kind = ?1 AND key = ?2]]

local SET_LIVE = "UPDATE names SET live = last_insert_rowid() WHERE kind = ?1 AND key = ?2"

local ADD_DELETION = [[
INSERT INTO changes (name, version) SELECT id, ?3 FROM names WHERE kind = ?1 AND key = ?2 AND live IS NOT NULL]]

local SET_DELETED = "UPDATE names SET live = NULL WHERE kind = ?1 AND key = ?2"

local LIVE = [[
SELECT kind, key, json, version, created_ms, updated_ms FROM names JOIN changes ON changes.id = names.live
WHERE names.live IS NOT NULL]]

local AT = [[
SELECT kind, key, json, version, created_ms, updated_ms FROM names CROSS JOIN changes ON changes.name = names.id
WHERE version = (SELECT max(version) FROM changes WHERE name = names.id AND version <= ?1) AND json IS NOT NULL]]

local VERSION_FIELDS = { "version", "time_ms", "author", "source", "reason", "request_id", "summary" }
local VERSION_COLUMNS = "number, time_ms, author, source, reason, request_id, summary"
local VERSIONS = "SELECT " .. VERSION_COLUMNS .. [[
 FROM versions WHERE number < ?1 ORDER BY number DESC LIMIT ?2]]
local EXTENT = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM versions"
local VERSION = "SELECT " .. VERSION_COLUMNS .. " FROM versions WHERE number = ?1"

local CHANGE_FIELDS = { "kind", "key", "before", "after" }
local CHANGES = [[
SELECT kind, key, (SELECT before.json FROM changes AS before WHERE before.name = changes.name AND before.version < ?1
  ORDER BY before.version DESC LIMIT 1), json
FROM changes JOIN names ON names.id = changes.name WHERE changes.version = ?1 ORDER BY kind, key]]

local OLDEST_AND_LAST = "SELECT min(number), max(number) FROM versions"
local VERSIONS_AFTER = "SELECT " .. VERSION_COLUMNS .. [[
 FROM versions WHERE number > ?1 ORDER BY number LIMIT ?2]]
local CHANGES_AFTER = [[
SELECT version, kind, key, (SELECT before.json FROM changes AS before
  WHERE before.name = changes.name AND before.version < changes.version ORDER BY before.version DESC LIMIT 1), json,
  created_ms
FROM changes JOIN names ON names.id = changes.name WHERE version > ?1 AND version <= ?1 + ?2
ORDER BY version, kind, key]]

-- What an entity was before the oldest version that is kept is kept, too.
local PRUNABLE = "FROM versions WHERE number < ?1 AND number < (SELECT max(number) FROM versions)"
local COUNT_PRUNABLE = "SELECT count(*) " .. PRUNABLE
local PRUNE_VERSIONS = "DELETE " .. PRUNABLE
local PRUNE_CHANGES = [[
DELETE FROM changes WHERE version < (SELECT min(number) FROM versions) AND EXISTS (SELECT 1 FROM changes AS later
  WHERE later.name = changes.name AND later.version > changes.version
  AND later.version < (SELECT min(number) FROM versions))]]

local BASE = AT:gsub("%?1", "(SELECT min(number) - 1 FROM versions)")

-- A version that is none stands for "there are none" for a moment: an insertion that fails refuses the whole.
local CLAIM_EMPTY = [[
INSERT INTO versions (number, time_ms, source) SELECT -1, 0, 'import' WHERE NOT EXISTS (SELECT 1 FROM versions)]]
local UNCLAIM = "DELETE FROM versions WHERE number = -1"
local FILL = [[
INSERT INTO changes (name, version, json, created_ms, updated_ms)
SELECT id, ?3, ?4, ?5, ?6 FROM names WHERE kind = ?1 AND key = ?2]]

local EMPTY = { "DELETE FROM changes", "DELETE FROM names", "DELETE FROM versions", "DELETE FROM buckets" }

local TAKE_LEASE = [[
INSERT INTO leases (name, holder, token) VALUES (?1, ?2, 1)
ON CONFLICT DO UPDATE SET holder = excluded.holder, token = token + 1]]
local LEASE = "SELECT holder, token FROM leases WHERE name = ?1"
local FREE_LEASE = "UPDATE leases SET holder = NULL WHERE name = ?1 AND holder = ?2 AND token = ?3"
local IS_LEASED = "UPDATE leases SET token = token WHERE name = ?1 AND token = ?2"

local ANNOUNCE = [[
INSERT INTO nodes (node, json, seen_ms, until_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET json = excluded.json, seen_ms = excluded.seen_ms, until_ms = excluded.until_ms]]
local FORGET_NODES = "DELETE FROM nodes WHERE until_ms <= ?1"
local NODES = "SELECT node, json, seen_ms, until_ms FROM nodes"
local DAY_MS = 24 * 3600 * 1000 -- how long a silent node is kept

local PUT = [[
INSERT INTO buckets (bucket, key, value, expires_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms]]
local GET = "SELECT value FROM buckets WHERE bucket = ?1 AND key = ?2 AND (expires_ms IS NULL OR expires_ms > ?3)"
local THINGS = [[
SELECT bucket, key, value, expires_ms FROM buckets WHERE expires_ms IS NULL OR expires_ms > ?1 ORDER BY bucket, key]]
local DELETE = "DELETE FROM buckets WHERE bucket = ?1 AND key = ?2"
local SWEEP_EXPIRED = [[
DELETE FROM buckets WHERE id IN
(SELECT id FROM buckets WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)]]

local NO_LIMIT = 2 ^ 53

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

function M.place(settings) return settings.path end

--- Opens the driver.
-- @param settings path; host, busy_ms and now_ms (function returning milliseconds since 1970) or nil
-- @return the driver, or nil and a message
function M.open(settings)
  local database, message = databases.open { host = settings.host, path = settings.path,
    application_id = APPLICATION_ID, migrations = MIGRATIONS, busy_ms = settings.busy_ms }
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
    local kind = values[at + 1]
    kinds[kind] = kinds[kind] or {}
    kinds[kind][values[at + 2]] = { json = values[at + 3], version = values[at + 4], created_ms = values[at + 5],
      updated_ms = values[at + 6] }
  end
  return kinds
end

function Driver:load(callback)
  local function convert(results) return { version = results[1][1] or 0, entities = entities(results[2]) } end
  self.database:run(false, { statement(LAST_VERSION, 0), statement(LIVE, 0) }, answering(self, callback, convert))
end

local function add_put(list, change, put)
  list[#list + 1] = statement(ADD_NAME, 2, put.kind, put.key)
  list[#list + 1] = statement(ADD_CHANGE, 6, put.kind, put.key, change.version, put.json, put.created_ms,
    change.time_ms)
  list[#list + 1] = statement(SET_LIVE, 2, put.kind, put.key)
end

local function add_delete(list, change, delete)
  list[#list + 1] = statement(ADD_DELETION, 3, delete.kind, delete.key, change.version)
  list[#list + 1] = statement(SET_DELETED, 2, delete.kind, delete.key)
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
  self.database:run(false, { statement(LEASE, 1, fence.name) }, function(err, results)
    if err then return answering(self, callback, nothing)(err) end
    if results[1][2] == fence.token then return callback(conflict) end
    callback(fenced(fence))
  end)
end

function Driver:commit(change, callback)
  local list = { condition(ADD_VERSION, 7, change.version, change.time_ms, change.author, change.source,
    change.reason, change.request_id, change.summary) }
  if change.fence then list[2] = condition(IS_LEASED, 2, change.fence.name, change.fence.token) end
  for _, put in ipairs(change.puts or {}) do add_put(list, change, put) end
  for _, delete in ipairs(change.deletes or {}) do add_delete(list, change, delete) end
  self.database:run(true, list, function(err)
    if err and err.code == "refused" then return self:explain_refusal(change, callback) end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:versions(before, limit, callback)
  self.database:run(false, { statement(VERSIONS, 2, before or NO_LIMIT, limit) },
    answering(self, callback, function(results) return records(results[1], VERSION_FIELDS) end))
end

function Driver:extent(callback)
  self.database:run(false, { statement(EXTENT, 0) },
    answering(self, callback, function(results) return records(results[1], { "first", "last" })[1] end))
end

function Driver:version(number, callback)
  self.database:run(false, { statement(VERSION, 1, number), statement(CHANGES, 1, number) },
    answering(self, callback, function(results)
      local record = records(results[1], VERSION_FIELDS)[1]
      if record then record.changes = records(results[2], CHANGE_FIELDS) end
      return record
    end))
end

function Driver:at(number, callback)
  self.database:run(false, { statement(VERSION, 1, number), statement(AT, 1, number) },
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
  local list = { statement(OLDEST_AND_LAST, 0), statement(VERSIONS_AFTER, 2, after, limit),
    statement(CHANGES_AFTER, 2, after, limit) }
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
  self.database:run(true, { statement(COUNT_PRUNABLE, 1, first), statement(PRUNE_VERSIONS, 1, first),
    statement(PRUNE_CHANGES, 0) }, answering(self, callback, function(results) return results[1][1] end))
end

function Driver:base(callback)
  local list = { statement(OLDEST_AND_LAST, 0), statement(BASE, 0) }
  self.database:run(false, list, answering(self, callback, function(results)
    return { first = results[1][1] or 0, last = results[1][2] or 0, entities = entities(results[2]) }
  end))
end

function Driver:fill(kinds, callback)
  local list = { condition(CLAIM_EMPTY, 0) }
  for kind, of_kind in pairs(kinds) do
    for key, entity in pairs(of_kind) do
      list[#list + 1] = statement(ADD_NAME, 2, kind, key)
      list[#list + 1] = statement(FILL, 6, kind, key, entity.version, entity.json, entity.created_ms,
        entity.updated_ms)
      list[#list + 1] = statement(SET_LIVE, 2, kind, key)
    end
  end
  list[#list + 1] = statement(UNCLAIM, 0)
  self.database:run(true, list, function(err)
    if err and err.code == "refused" then err = { code = "conflict", message = "the store has versions" } end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:empty(callback)
  local list = {}
  for i, sql in ipairs(EMPTY) do list[i] = statement(sql, 0) end
  self.database:run(true, list, answering(self, callback, nothing))
end

function Driver:things(callback)
  local now_ms = self.now_ms()
  self.database:run(false, { statement(THINGS, 1, now_ms) }, answering(self, callback, function(results)
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
  local list = { statement(SWEEP_EXPIRED, 2, now_ms, SWEEP),
    statement(PUT, 4, bucket, key, text, ttl_ms and now_ms + ttl_ms) }
  if fence then table.insert(list, 1, condition(IS_LEASED, 2, fence.name, fence.token)) end
  self.database:run(true, list, function(err)
    if err and err.code == "refused" then
      note(self, nil)
      return callback(fenced(fence))
    end
    answering(self, callback, nothing)(err)
  end)
end

function Driver:get(bucket, key, callback)
  self.database:run(false, { statement(GET, 3, bucket, key, self.now_ms()) },
    answering(self, callback, function(results) return results[1][1] end))
end

function Driver:delete(bucket, key, callback)
  self.database:run(true, { statement(DELETE, 2, bucket, key) }, answering(self, callback, nothing))
end

function Driver:lease(name, holder, _, callback)
  local list, mine = { statement(LEASE, 1, name) }, self.leased[name]
  if not mine or mine.holder ~= holder then -- not yet by this process, or by another of its parts
    mine = { holder = holder }
    self.leased[name] = mine
    table.insert(list, 1, statement(TAKE_LEASE, 2, name, holder))
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
  self.database:run(true, { statement(FREE_LEASE, 3, name, holder, token) }, answering(self, callback, nothing))
end

function Driver:announce(node, json, ttl_ms, callback)
  local now_ms = self.now_ms()
  self.database:run(true, { statement(FORGET_NODES, 1, now_ms - DAY_MS),
    statement(ANNOUNCE, 4, node, json, now_ms, now_ms + ttl_ms) }, answering(self, callback, nothing))
end

function Driver:nodes(callback)
  local now_ms = self.now_ms()
  self.database:run(false, { statement(NODES, 0) }, answering(self, callback, function(results)
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

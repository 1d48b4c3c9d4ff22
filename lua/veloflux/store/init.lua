--- The store: versions of the model, and small things with a life time. It knows no entity: a kind, a key (TENANT/NAME)
-- and a text, which is JSON with its secrets sealed by whoever wrote it.
--
-- What a call answers comes to its callback, from the loop of the process and never from inside the call. The first
-- argument is nil or an error: { code, message }, the code one of
--   "conflict"     the version of a commit is not the one after the store's: somebody else has committed;
--   "unavailable"  the store cannot be opened or reached, is busy, damaged or of a newer version;
--   "io"           disk full or failing; nothing of the change was written;
--   "fenced"       the lease that a commit rests on has gone to another holder, or was taken anew;
--   "gone"         the history does not reach back, or forward, to where `changes` begins: `load` tells what is there.
-- A fault of the caller (an unknown source, the same key twice, a closed store) is raised.
--
--     store:load(cb)                  cb(err, { version = N, entities = ENTITIES }); 0 while nothing was committed
--     store:commit(change, cb)        cb(err): the change is whole and outlives a power cut, or nothing of it is there
--     store:versions(options, cb)     cb(err, list of RECORD): newest first; options: before (a version), limit (100)
--     store:extent(cb)                cb(err, { first, last }): which versions are kept; 0: none
--     store:version(n, cb)            cb(err, RECORD with `changes`, or nil when there is no such version)
--     store:at(n, cb)                 cb(err, ENTITIES as they were in version n, or nil when there is no such version)
--     store:changes(after, limit, cb) cb(err, list of RECORD with `changes`), those after version `after`, the oldest
--                                     first; `is_cut` in it is true when it is shorter because they are large
--     store:prune(first, cb)          cb(err, how many): forgets the versions before `first`, never the last one
--     store:base(cb)                  cb(err, { first, last, entities }): which versions are kept (0: none), and the
--                                     ENTITIES as they were before the first of them
--     store:fill(entities, cb)        cb(err): ENTITIES as they are, into a store without versions ("conflict": it has)
--     store:empty(cb)                 cb(err): versions, entities and small things go; leases and nodes stay
--     store:put(bucket, key, text, ttl_ms, cb)      cb(err); ttl_ms nil: for ever
--     store:put_fenced(bucket, key, text, ttl_ms, fence, cb)  the same, unless the lease has changed hands; fence: as
--                                     that of a change, or nil
--     store:claim(bucket, key, text, ttl_ms, cb)    cb(err, is_claimed): puts it unless there is one already; ttl_ms
--                                     above 0
--     store:get(bucket, key, cb)                    cb(err, text), nil when it is not there or its time is over
--     store:delete(bucket, key, cb)                 cb(err)
--     store:things(cb)                cb(err, list of { bucket, key, text, ttl_ms }) in their order: those that last
--     store:lease(name, holder, ttl_ms, cb)         cb(err, { holder, token, is_mine }): takes a lease that is free,
--                                     renews one's own, or tells who has it; the token grows with every holder
--     store:release(name, holder, token, cb)        cb(err): it is free, if it is this one
--     store:announce(node, json, ttl_ms, cb)        cb(err): a node of the cluster lives, and says this about itself
--     store:nodes(cb)                 cb(err, { [node] = { json, seen_ms, is_alive } }); the silent are kept for a day
--     store:watch(on_change)          on_change(version) from the loop, from now on, each time that the store is seen
--                                     to have a version that was not committed or read through this store: other
--                                     nodes'. After the store was out of reach it may be a lower one than before
--     store:tell(text, cb)            cb(err): other nodes hear it, if they listen now; at most 128 KiB
--     store:hear(since, on_news)      on_news(text, number) from the loop for what other nodes tell, from now on;
--                                     without a text: some of it was missed, `number` is the last of that. `since` is
--                                     the number that was heard last, nil: it is not known. Asked for before `watch`
--     store:status()                  { driver, connected, since_ms, error, warning }: whether it answers, since when
--                                     (since 1970, nil before the first answer), what is wrong with it, what may
--                                     become wrong; each of these or nil
--     store:close(cb)                 cb() after everything that was asked for
--
--   ENTITIES  { [kind] = { [key] = { json, version, created_ms, updated_ms } } }: `version` is when it last changed
--   change    version, time_ms, author, source, reason, request_id, summary,
--             puts = { { kind, key, json, created_ms } }, deletes = { { kind, key } }: fields by name. Without
--             created_ms an entity keeps the time it has, a new one takes time_ms. A delete of what is not there
--             changes nothing. fence = { name, token }, or nil: a lease that must not have changed hands.
--             turn = { name, holder }, or nil: "conflict" while another has that lease. follows = true: "conflict"
--             unless the version before is that of the call before this one, which may not be answered yet.
--   RECORD    version, time_ms, author, source, reason, request_id, summary; changes = { { kind, key, before, after } }
--             in the order of kind and key: JSON, nil where there was or is none. Those of `changes` have created_ms.
--
-- A store of one node (sqlite) gives its leases to whoever asks in this process, with a new token in each process, and
-- never calls who watches or hears; it has nobody to tell.
--
-- Versions have no gaps; the first commit to an empty store may have any number, so that a node that had none until now
-- goes on counting. A rollback or an import is a commit like any other.
local slices = require "veloflux.slices"

local M = {}

local DRIVERS = { sqlite = "veloflux.store.sqlite", redis = "veloflux.store.redis", memory = "veloflux.store.memory" }
local SOURCES = { api = true, file = true, seed = true, rollback = true, import = true, job = true }
local DEFAULT_LIMIT = 100
local MOST_CHANGES = 1000 -- versions that one call of `changes` returns
local MOST_NEWS_BYTES = 128 * 1024
local MAX_INTEGER = 2 ^ 53

local Store = {}
Store.__index = Store

--- Opens a store. That it works is seen by the first answer.
-- @param settings driver and what it needs. "sqlite": path of the file, absolute. "redis": url, sentinel or cluster and
-- the like (store/redis/address.lua), prefix, timeout_ms, log = function(level, event, message) or nil. For specs and
-- commands: host, redis_host, now_ms, busy_ms, most_bytes (of Redis' history at once), and "memory": later, data
-- (store/memory.lua)
-- @return the store, or nil and a message
function M.open(settings)
  local driver = require(assert(DRIVERS[settings.driver or "sqlite"], "no such driver"))
  local opened, message = driver.open(settings)
  if not opened then return nil, message end
  return setmetatable({ driver = opened }, Store)
end

--- Returns the settings of `open` for a node of the model.
function M.settings(node)
  local store = node.store
  if store.driver == "redis" then
    return { driver = "redis", url = store.url, sentinel = store.sentinel, cluster = store.cluster,
      username = store.username, password = store.password, db = store.db, tls = store.tls, prefix = store.prefix,
      timeout_ms = store.timeout }
  end
  local path = store.path
  if path:sub(1, 1) ~= "/" then path = node.data_dir .. "/" .. path end
  return { driver = store.driver, path = path }
end

--- Says where a store is, whoever asks for it: a text.
-- @param settings of `settings`
function M.place(settings)
  return require(DRIVERS[settings.driver or "sqlite"]).place(settings)
end

local function is_whole(value)
  return type(value) == "number" and value % 1 == 0 and value >= 0 and value < MAX_INTEGER
end

local function check(ok, ...)
  if not ok then error(("store: " .. select(1, ...)):format(select(2, ...)), 4) end
end

local function check_text(value, what) check(type(value) == "string", "%s is not a text", what) end

local function check_key(seen, entry)
  check_text(entry.kind, "kind")
  check_text(entry.key, "key")
  local of_kind = seen[entry.kind] or {}
  check(not of_kind[entry.key], "%s %s is changed twice", entry.kind, entry.key)
  seen[entry.kind], of_kind[entry.key] = of_kind, true
end

local function check_fence(fence)
  if not fence then return end
  check_text(fence.name, "fence.name")
  check(is_whole(fence.token), "fence.token is not a whole number")
end

--- Raises what is no change.
local function check_change(change)
  check(is_whole(change.version) and change.version > 0, "version is not a whole number above 0")
  check(is_whole(change.time_ms), "time_ms is not a whole number")
  check(SOURCES[change.source], "no such source: %s", tostring(change.source))
  for _, field in ipairs { "author", "reason", "request_id", "summary" } do
    if change[field] ~= nil then check_text(change[field], field) end
  end
  local seen = {}
  for _, put in ipairs(change.puts or {}) do
    slices.pause()
    check_key(seen, put)
    check_text(put.json, "json")
    check(put.created_ms == nil or is_whole(put.created_ms), "created_ms is not a whole number")
  end
  for _, delete in ipairs(change.deletes or {}) do check_key(seen, delete) end
  check_fence(change.fence)
end

local function check_ttl(ttl_ms) check(is_whole(ttl_ms) and ttl_ms > 0, "ttl_ms is not a whole number above 0") end

local function driver_of(self)
  check(not self.is_closed, "it is closed")
  return self.driver
end

function Store:load(callback) driver_of(self):load(callback) end

function Store:commit(change, callback)
  check_change(change)
  driver_of(self):commit(change, callback)
end

function Store:versions(options, callback)
  check(options.before == nil or is_whole(options.before), "before is not a version")
  check(options.limit == nil or is_whole(options.limit), "limit is not a whole number")
  driver_of(self):versions(options.before, options.limit or DEFAULT_LIMIT, callback)
end

function Store:extent(callback) driver_of(self):extent(callback) end

function Store:version(number, callback)
  check(is_whole(number), "not a version")
  driver_of(self):version(number, callback)
end

function Store:at(number, callback)
  check(is_whole(number), "not a version")
  driver_of(self):at(number, callback)
end

function Store:changes(after, limit, callback)
  check(is_whole(after), "after is not a version")
  check(limit == nil or is_whole(limit) and limit > 0, "limit is not a whole number above 0")
  driver_of(self):changes(after, math.min(limit or DEFAULT_LIMIT, MOST_CHANGES), callback)
end

function Store:prune(first, callback)
  check(is_whole(first), "not a version")
  driver_of(self):prune(first, callback)
end

function Store:base(callback) driver_of(self):base(callback) end

function Store:fill(entities, callback)
  for kind, of_kind in pairs(entities) do
    for key, entity in pairs(of_kind) do
      check_text(entity.json, "json")
      for _, field in ipairs { "version", "created_ms", "updated_ms" } do
        check(is_whole(entity[field]), "%s of %s %s is not a whole number", field, kind, key)
      end
    end
  end
  driver_of(self):fill(entities, callback)
end

function Store:empty(callback) driver_of(self):empty(callback) end

function Store:things(callback) driver_of(self):things(callback) end

function Store:put(bucket, key, text, ttl_ms, callback)
  self:put_fenced(bucket, key, text, ttl_ms, nil, callback)
end

function Store:put_fenced(bucket, key, text, ttl_ms, fence, callback)
  check_text(bucket, "bucket")
  check_text(key, "key")
  check_text(text, "value")
  check(ttl_ms == nil or is_whole(ttl_ms), "ttl_ms is not a whole number")
  check_fence(fence)
  driver_of(self):put(bucket, key, text, ttl_ms, callback, fence)
end

function Store:claim(bucket, key, text, ttl_ms, callback)
  check_text(bucket, "bucket")
  check_text(key, "key")
  check_text(text, "value")
  check_ttl(ttl_ms)
  driver_of(self):claim(bucket, key, text, ttl_ms, callback)
end

function Store:get(bucket, key, callback)
  check_text(bucket, "bucket")
  check_text(key, "key")
  driver_of(self):get(bucket, key, callback)
end

function Store:delete(bucket, key, callback)
  check_text(bucket, "bucket")
  check_text(key, "key")
  driver_of(self):delete(bucket, key, callback)
end

function Store:lease(name, holder, ttl_ms, callback)
  check_text(name, "name")
  check_text(holder, "holder")
  check_ttl(ttl_ms)
  driver_of(self):lease(name, holder, ttl_ms, callback)
end

function Store:release(name, holder, token, callback)
  check_text(name, "name")
  check_text(holder, "holder")
  check(is_whole(token), "token is not a whole number")
  driver_of(self):release(name, holder, token, callback)
end

function Store:announce(node, json, ttl_ms, callback)
  check_text(node, "node")
  check_text(json, "json")
  check_ttl(ttl_ms)
  driver_of(self):announce(node, json, ttl_ms, callback)
end

function Store:nodes(callback) driver_of(self):nodes(callback) end

function Store:tell(text, callback)
  check_text(text, "news")
  check(#text <= MOST_NEWS_BYTES, "news of more than %d bytes", MOST_NEWS_BYTES)
  local driver = driver_of(self)
  check(driver.tell, "there are no other nodes")
  driver:tell(text, callback)
end

function Store:hear(since, on_news)
  check(since == nil or is_whole(since), "since is not a whole number")
  local driver = driver_of(self)
  if driver.hear then driver:hear(since, on_news) end
end

function Store:watch(on_change) driver_of(self):watch(on_change) end

function Store:status() return self.driver:status() end

function Store:close(callback)
  local driver = driver_of(self)
  self.is_closed = true
  driver:close(callback)
end

return M

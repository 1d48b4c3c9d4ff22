--- Copies a store into another one: what the entities were before the history begins, each version as it was committed,
-- and the small things that last. Then both are read again and compared.
--
-- Leases and nodes are not copied: they are of those who run now.
local crypto = require "veloflux.pdk.crypto"
local sorted = require "veloflux.sorted"

local M = {}

local PAGE = 100 -- versions that are read, and committed, together

--- Adds texts to a digest so that no others add the same.
local function add(hash, ...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    value = value == nil and "" or type(value) == "number" and ("%.0f"):format(value) or value
    hash:update(#value .. ":" .. value)
  end
end

local function add_entities(hash, kinds)
  local n = 0
  for _, kind in ipairs(sorted.names(kinds)) do
    for _, key in ipairs(sorted.names(kinds[kind])) do
      local entity = kinds[kind][key]
      add(hash, kind, key, entity.json, entity.version, entity.created_ms, entity.updated_ms)
      n = n + 1
    end
  end
  return n
end

local function add_record(hash, record)
  add(hash, record.version, record.time_ms, record.author, record.source, record.reason, record.request_id,
    record.summary)
  for _, change in ipairs(record.changes) do
    add(hash, change.kind, change.key, change.before, change.after, change.created_ms)
  end
end

--- Calls fn(records) for the history of a store, page by page.
local function each_page(caller, store, base, fn)
  local after = math.max(base.first - 1, 0)
  while after < base.last do
    local records = caller.ask(store, "changes", after, PAGE)
    if #records == 0 then error({ message = "its history has ended before its last version" }, 0) end
    fn(records)
    after = records[#records].version
  end
end

--- Reads the history of a store and what its entities are.
-- @param caller { ask = function(store, method, ...) -> result; raises { code, message } }
-- @return { version, versions, entities, digest }: the last version, how many there are of each, and what only an equal
-- store has, too
function M.survey(caller, store)
  local hash = crypto.hasher "sha256"
  local base, loaded = caller.ask(store, "base"), caller.ask(store, "load")
  add(hash, base.first, base.last)
  add_entities(hash, base.entities)
  local n_versions = 0
  each_page(caller, store, base, function(records)
    n_versions = n_versions + #records
    for _, record in ipairs(records) do add_record(hash, record) end
  end)
  local n_entities = add_entities(hash, loaded.entities)
  return { version = loaded.version, versions = n_versions, entities = n_entities,
    digest = crypto.hex_encode(hash:final()) }
end

--- True when a store has nothing that a copy would mix with.
function M.is_empty(caller, store)
  local loaded = caller.ask(store, "load")
  return loaded.version == 0 and next(loaded.entities) == nil and #caller.ask(store, "things") == 0
end

--- Makes the change of a record that `changes` has told.
local function change_of(record)
  local puts, deletes = {}, {}
  for _, entry in ipairs(record.changes) do
    if entry.after then
      puts[#puts + 1] = { kind = entry.kind, key = entry.key, json = entry.after, created_ms = entry.created_ms }
    else
      deletes[#deletes + 1] = { kind = entry.kind, key = entry.key }
    end
  end
  return { version = record.version, time_ms = record.time_ms, author = record.author, source = record.source,
    reason = record.reason, request_id = record.request_id, summary = record.summary, puts = puts, deletes = deletes }
end

local function id_of(thing) return thing.bucket .. "\0" .. thing.key end

--- Copies the small things. Raises when one is not there afterwards, though its time is not over.
local function copy_things(caller, from, to)
  local began_ms, things, calls, there = caller.now_ms(), caller.ask(from, "things"), {}, {}
  for i, thing in ipairs(things) do
    calls[i] = { to, "put", thing.bucket, thing.key, thing.text, thing.ttl_ms, n = 6 }
  end
  caller.ask_all(calls)
  for _, thing in ipairs(caller.ask(to, "things")) do there[id_of(thing)] = thing.text end
  for _, thing in ipairs(things) do
    local is_over = thing.ttl_ms and began_ms + thing.ttl_ms <= caller.now_ms()
    if there[id_of(thing)] ~= thing.text and not is_over then
      error({ message = ("%s of the small things is not in the copy as it was"):format(thing.key) }, 0)
    end
  end
  return #things
end

--- Copies.
-- @param caller as for survey, with ask_all = function(list of { store, method, ..., n = how many }): all at once; and
-- now_ms = function: a monotonic clock
-- @param from, to stores; `to` is emptied first
-- @return what survey says of `to`, and `things`: how many; raises { message } when it is not what `from` has
function M.run(caller, from, to)
  caller.ask(to, "empty")
  local base = caller.ask(from, "base")
  if next(base.entities) then caller.ask(to, "fill", base.entities) end
  each_page(caller, from, base, function(records)
    local calls = {}
    for i, record in ipairs(records) do calls[i] = { to, "commit", change_of(record), n = 3 } end
    caller.ask_all(calls)
  end)
  local n_things = copy_things(caller, from, to)
  local here, there = M.survey(caller, from), M.survey(caller, to)
  there.things = n_things
  if here.digest == there.digest then return there end
  error({ message = ("the copy is not what it was made of: version %d with %d entities and %d versions, and not "
    .. "version %d with %d and %d; was something changed meanwhile?"):format(there.version, there.entities,
    there.versions, here.version, here.entities, here.versions) }, 0)
end

return M

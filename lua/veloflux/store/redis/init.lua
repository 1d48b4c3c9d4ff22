--- The store in Redis, for the nodes of a cluster: the same versions for all of them, and leases among them.
--
-- What is kept, and how, is in scripts.lua and format.lua. The live entities are one hash, so that what `load` reads
-- does not grow with the history. A version keeps what each entity was before it: what the entities were in version n
-- is found from now, backwards.
--
-- A commit is one script: it looks whether the version is the next one and whether the lease still holds, and then
-- writes. Each has an id, so that one whose answer was lost is not done twice. How durable it is, is the server's
-- setting: `appendonly yes` with `appendfsync always` is what a file would be.
local address = require "veloflux.store.redis.address"
local ffi = require "ffi"
local format = require "veloflux.store.redis.format"
local reply = require "veloflux.redis.reply"
local scripts = require "veloflux.store.redis.scripts"
local sessions = require "veloflux.store.redis.session"
local watchers = require "veloflux.store.redis.watcher"
local wires = require "veloflux.store.redis.wire"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local TIMEOUT_MS = 3000
local DAY_MS = 24 * 3600 * 1000 -- how long a silent node is kept
local SWEEP = 200 -- entries of things that are over, removed by one put
local STEP = 100 -- versions, or things, that are read at once
local PRUNE_STEP = 1000

local M = {}
local Driver = {}
Driver.__index = Driver

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function text_of(number) return ("%.0f"):format(number) end

local n_writers = 0

--- Who writes: other processes, and other stores of this one, are others.
local function make_writer()
  n_writers = n_writers + 1
  return ("%x.%x.%d"):format(wall_ms(), math.random(0, 2 ^ 31 - 1), n_writers)
end

--- Opens the driver.
-- @param settings what redis/address.lua takes; prefix, timeout_ms, host (struct vf_redis_host), now_ms, log
-- @return the driver, or nil and a message
function M.open(settings)
  local where, message = address.of(settings)
  if not where then return nil, message end
  local self = setmetatable({ writer = make_writer(), tag = ("{%s}:"):format(settings.prefix or "veloflux"),
    n_commits = 0, label = where.label, known = { version = 0, id = "" } }, Driver)
  self.wire, message = wires.open(settings.redis_host)
  if not self.wire then return nil, message end
  local timeout_ms = settings.timeout_ms or TIMEOUT_MS
  self.session = sessions.open { wire = self.wire, where = where, timeout_ms = timeout_ms, meta_key = self:key "meta",
    wall_ms = settings.now_ms or wall_ms, log = settings.log or function() end,
    on_ready = function() self.watcher:start() end }
  self.watcher = watchers.new { wire = self.wire, session = self.session, timeout_ms = timeout_ms,
    channel = self:key "changed", writer = self.writer, meta_key = self:key "meta" }
  return self
end

function Driver:key(name) return self.tag .. name end

function Driver:keys(...)
  local keys = { ... }
  for i, name in ipairs(keys) do keys[i] = self.tag .. name end
  return keys
end

function Driver:damaged(what)
  return { code = "unavailable", message = ("redis %s: %s under %s is not of VeloFlux, or damaged"):format(self.label,
    what, self.tag) }
end

--- Returns a callback that hands an error on, or what `convert` makes of the reply; nil: it is damaged.
function Driver:answering(callback, what, convert)
  return function(err, value)
    if err then return callback(err) end
    local result = convert(value)
    if result == nil then return callback(self:damaged(what)) end
    callback(nil, result)
  end
end

--- The same for what answers nothing.
local function done(callback) return function(err) callback(err) end end

local function optional(value)
  if value ~= reply.null then return value end
end

-- Entities ------------------------------------------------------------------------------------------

local function entities_of(list)
  local kinds = {}
  for i = 1, #list, 2 do
    local kind, key = format.split_field(list[i])
    local entity = kind and type(list[i + 1]) == "string" and format.read_entity(list[i + 1])
    if not entity then return nil end
    kinds[kind] = kinds[kind] or {}
    kinds[kind][key] = entity
  end
  return kinds
end

--- Reads what `load` has answered.
local function live_of(value)
  if type(value) ~= "table" or type(value[4]) ~= "table" then return nil end
  local entities = entities_of(value[4])
  local version, first = tonumber(optional(value[1]) or 0), tonumber(optional(value[2]) or 0)
  if not entities or not version or not first then return nil end
  local is_read, id = version == 0, ""
  if version > 0 then is_read, id = format.read_record(version, tostring(value[3])) end
  if not is_read then return nil end
  return { version = version, id = id, first = first, entities = entities }
end

--- Reads what is live. callback(err, { version, id, first, entities })
function Driver:read_live(callback)
  self.session:run(scripts.load, self:keys("meta", "live", "versions"), {},
    self:answering(callback, "the state", live_of))
end

--- This store has read or committed a version: the next commit rests on it.
function Driver:knows(version, id)
  self.known = { version = version, id = id }
  self.watcher:knows(version)
end

function Driver:load(callback)
  self:read_live(function(err, live)
    if err then return callback(err) end
    self:knows(live.version, live.id)
    callback(nil, { version = live.version, entities = live.entities })
  end)
end

-- Commits -------------------------------------------------------------------------------------------

local function entries_of(change)
  local entries = {}
  for _, put in ipairs(change.puts or {}) do
    entries[#entries + 1] = { kind = put.kind, key = put.key, json = put.json,
      created = put.created_ms and text_of(put.created_ms) or "" }
  end
  for _, delete in ipairs(change.deletes or {}) do
    entries[#entries + 1] = { kind = delete.kind, key = delete.key, json = "", created = "-" }
  end
  table.sort(entries, function(a, b)
    if a.kind ~= b.kind then return a.kind < b.kind end
    return a.key < b.key
  end)
  return entries
end

--- Returns the id of a commit of this store.
function Driver:id_of(n) return format.pack(1, ("%s.%d"):format(self.writer, n)) end

local function arguments_of(self, change, id)
  local fence, version, known = change.fence or { name = "" }, text_of(change.version), self.known
  if change.follows then known = { version = change.version - 1, id = self:id_of(self.n_commits - 1) } end
  local args = { version, id, id .. format.write_record(change), text_of(change.time_ms), self:key "changed",
    fence.name, fence.token and text_of(fence.token) or "", version .. " " .. self.writer,
    text_of(known.version), known.id, change.turn and change.turn.holder or "" }
  for _, entry in ipairs(entries_of(change)) do
    local at = #args
    args[at + 1], args[at + 2], args[at + 3] = format.field(entry.kind, entry.key), entry.created, entry.json
  end
  return args
end

local REFUSALS = {
  conflict = function(change) return ("version %d is not the one after the store's"):format(change.version) end,
  fenced = function(change)
    return ("the lease %s has another token than %d"):format(change.fence.name, change.fence.token)
  end,
}

function Driver:commit(change, callback)
  self.n_commits = self.n_commits + 1
  local id = self:id_of(self.n_commits)
  self.watcher:begin(change.version)
  local function on_answer(err, value)
    self.watcher:finish(change.version)
    if value == "ok" then self:knows(change.version, id) end
    if err then return callback(err) end
    if value == "ok" then return callback() end
    local refusal = REFUSALS[value]
    callback(refusal and { code = value, message = refusal(change) } or self:damaged "the answer")
  end
  self.session:run(scripts.commit, self:keys("meta", "live", "versions", "changes", "tokens",
    "lease:" .. (change.turn and change.turn.name or "")), arguments_of(self, change, id), on_answer)
end

-- History -------------------------------------------------------------------------------------------

local function numbers(first, last)
  local list = {}
  for number = first, last do list[#list + 1] = text_of(number) end
  return list
end

--- Returns the command that reads versions from a hash.
function Driver:fields_of(name, first, last)
  local command = numbers(first, last)
  table.insert(command, 1, self:key(name))
  table.insert(command, 1, "HMGET")
  return command
end

--- Reads which versions there are. callback(err, first, last): 0, 0 for none
function Driver:range(callback)
  self.session:call({ { "HMGET", self:key "meta", "first", "version" } }, function(err, replies)
    if err then return callback(err) end
    local values = type(replies[1]) == "table" and replies[1] or {}
    local first, last = tonumber(optional(values[1]) or 0), tonumber(optional(values[2]) or 0)
    if not first or not last then return callback(self:damaged "the version") end
    callback(nil, first, last)
  end)
end

function Driver:versions(before, limit, callback)
  self:range(function(err, first, last)
    if err then return callback(err) end
    local to = before and math.min(before - 1, last) or last
    local from = math.max(to - limit + 1, first, 1)
    if to < from then return callback(nil, {}) end
    self.session:call({ self:fields_of("versions", from, to) }, self:answering(callback, "a version", function(replies)
      local list = {}
      for i = #replies[1], 1, -1 do
        local text = optional(replies[1][i])
        local record = text and format.read_record(from + i - 1, text)
        if text and not record then return nil end
        list[#list + 1] = record -- one that was forgotten meanwhile is left out
      end
      return list
    end))
  end)
end

--- Reads records with what they changed, as far as there are some.
-- @param callback function(err, list): `changes` as format.lua has them
-- @param ids list to be filled with the ids of their commits, or nil
function Driver:read_versions(first, last, callback, ids)
  ids = ids or {}
  self.session:call({ self:fields_of("versions", first, last), self:fields_of("changes", first, last) },
    self:answering(callback, "a version", function(replies)
      local list = {}
      if type(replies[1]) ~= "table" or type(replies[2]) ~= "table" then return nil end
      for i = 1, last - first + 1 do
        local text, changes = optional(replies[1][i]), optional(replies[2][i])
        if not text or not changes then break end
        local record, id = format.read_record(first + i - 1, text)
        changes = format.read_changes(changes)
        if not record or not changes then return nil end
        record.changes, ids[i] = changes, id
        list[i] = record
      end
      return list
    end))
end

--- Makes the changes of a record what the store promises.
local function told(record, with_created)
  for i, change in ipairs(record.changes) do
    record.changes[i] = { kind = change.kind, key = change.key, before = change.before and change.before.json,
      after = change.after and change.after.json,
      created_ms = with_created and change.after and change.after.created_ms or nil }
  end
  return record
end

function Driver:version(number, callback)
  self:read_versions(number, number, function(err, list)
    if err then return callback(err) end
    callback(nil, list[1] and told(list[1]))
  end)
end

--- The same version may be another one by now: a master that was lost knew it, and its successor has made it anew.
function Driver:is_other(version, id) return version == self.known.version and version > 0 and id ~= self.known.id end

function Driver:changes(after, limit, callback)
  local gone = { code = "gone", message = ("there is no history after version %d"):format(after) }
  self:range(function(err, first, last)
    if err then return callback(err) end
    if after > last or after < first - 1 then return callback(gone) end
    local from, ids = math.max(after, first, 1), {}
    if from > last then return callback(nil, {}) end
    self:read_versions(from, math.min(after + limit, last), function(failure, list)
      if failure then return callback(failure) end
      if #list == 0 or from == after and self:is_other(after, ids[1]) then return callback(gone) end
      self:knows(list[#list].version, ids[#list])
      if from == after then table.remove(list, 1) end
      for _, record in ipairs(list) do told(record, true) end
      callback(nil, list)
    end, ids)
  end)
end

--- Takes what a version changed back.
local function undo(entities, record)
  for _, change in ipairs(record.changes) do
    entities[change.kind] = entities[change.kind] or {}
    entities[change.kind][change.key] = change.before
  end
end

local function without_empty(entities)
  for kind, of_kind in pairs(entities) do
    if not next(of_kind) then entities[kind] = nil end
  end
  return entities
end

--- Goes back from `last` to before version `first`, step by step. callback(err, entities or nil)
function Driver:go_back(entities, last, first, callback)
  if last < first then return callback(nil, without_empty(entities)) end
  local from = math.max(last - STEP + 1, first)
  self:read_versions(from, last, function(err, list)
    if err then return callback(err) end
    if #list < last - from + 1 then return callback(nil, nil) end -- forgotten meanwhile
    for i = #list, 1, -1 do undo(entities, list[i]) end
    self:go_back(entities, from - 1, first, callback)
  end)
end

function Driver:at(number, callback)
  self:read_live(function(err, live)
    if err then return callback(err) end
    if number < math.max(live.first, 1) or number > live.version then return callback(nil, nil) end
    self:go_back(live.entities, live.version, number + 1, callback)
  end)
end

function Driver:prune(first, callback)
  local total = 0
  local function step(err, n)
    if err then return callback(err) end
    if type(n) ~= "number" then return callback(self:damaged "the history") end
    total = total + n
    if n < PRUNE_STEP then return callback(nil, total) end
    self:prune_step(first, step)
  end
  self:prune_step(first, step)
end

function Driver:prune_step(first, callback)
  self.session:run(scripts.prune, self:keys("meta", "versions", "changes"), { text_of(first), PRUNE_STEP }, callback)
end

-- Leases and nodes ----------------------------------------------------------------------------------

function Driver:lease(name, holder, ttl_ms, callback)
  self.session:run(scripts.lease, self:keys("lease:" .. name, "tokens"), { name, holder, text_of(ttl_ms) },
    self:answering(callback, "a lease", function(value)
      if type(value) ~= "table" or type(value[1]) ~= "string" or type(value[2]) ~= "number" then return nil end
      return { holder = value[1], token = value[2], is_mine = value[1] == holder }
    end))
end

function Driver:release(name, holder, token, callback)
  self.session:run(scripts.release, self:keys("lease:" .. name, "tokens"), { name, holder, text_of(token) },
    done(callback))
end

function Driver:announce(node, json, ttl_ms, callback)
  self.session:run(scripts.announce, self:keys("node:" .. node, "nodes"), { node, json, text_of(ttl_ms + DAY_MS) },
    done(callback))
end

function Driver:nodes(callback)
  self.session:run(scripts.nodes, self:keys "nodes", { self:key "node:" }, self:answering(callback, "a node",
    function(list)
      local nodes = {}
      if type(list) ~= "table" then return nil end
      for i = 1, #list, 3 do
        local seen_ms, json = tostring(list[i + 1]):match "^(%d+)\n(.*)$"
        if not seen_ms then return nil end
        nodes[list[i]] = { json = json, seen_ms = tonumber(seen_ms), is_alive = list[i + 2] > DAY_MS }
      end
      return nodes
    end))
end

-- Small things --------------------------------------------------------------------------------------

function Driver:put(bucket, key, text, ttl_ms, callback)
  if ttl_ms == 0 then return self:delete(bucket, key, callback) end
  local member = format.field(bucket, key)
  self.session:run(scripts.put, self:keys("thing:" .. member, "things"),
    { member, text, ttl_ms and text_of(ttl_ms) or "", SWEEP }, done(callback))
end

function Driver:get(bucket, key, callback)
  self.session:call({ { "GET", self:key("thing:" .. format.field(bucket, key)) } }, function(err, replies)
    if err then return callback(err) end
    callback(nil, optional(replies[1]))
  end)
end

function Driver:delete(bucket, key, callback)
  local member = format.field(bucket, key)
  self.session:run(scripts.delete, self:keys("thing:" .. member, "things"), { member }, done(callback))
end

-- Life ----------------------------------------------------------------------------------------------

function Driver:watch(on_change) self.watcher:add(on_change) end

function Driver:status()
  local status = self.session:status()
  status.driver = "redis"
  return status
end

function Driver:close(callback)
  self.watcher:close()
  self.session:close(function()
    self.wire:close()
    callback()
  end)
end

return M

--- The store in memory: of the plugin kit, whose control keeps nothing longer than a spec runs. Whoever opens it says
-- how answers come from their loop.
local M = {}
local Driver = {}
Driver.__index = Driver

local DAY_MS = 24 * 3600 * 1000

local FIELDS = { "version", "time_ms", "author", "source", "reason", "request_id", "summary" }

--- Makes what a store has, empty: several that are opened with it are one.
function M.new()
  return { last = 0, kinds = {}, records = {}, states = {}, base = {}, things = {}, leases = {}, nodes = {} }
end

function M.place() return "memory" end

--- Opens a store.
-- @param settings later = function(fn): calls fn soon, one after the other; now_ms = function: the wall clock;
-- data = of `new`
function M.open(settings)
  return setmetatable({ later = settings.later, now_ms = settings.now_ms or function() return 0 end,
    data = settings.data or M.new(), asked = 0 }, Driver)
end

local function answer(self, callback, ...)
  local results, n = { ... }, select("#", ...)
  self.later(function() callback(unpack(results, 1, n)) end)
end

local function copy_of(kinds)
  local copy = {}
  for kind, rows in pairs(kinds) do
    for key, row in pairs(rows) do
      copy[kind] = copy[kind] or {}
      copy[kind][key] = { json = row.json, version = row.version, created_ms = row.created_ms,
        updated_ms = row.updated_ms }
    end
  end
  return copy
end

-- Versions ------------------------------------------------------------------------------------------

--- Returns the first version that is kept, 0: none.
local function first_of(data)
  local first = data.last
  while data.records[first - 1] do first = first - 1 end
  return data.records[first] and first or 0
end

--- Refuses what rests on a lease that has passed to another. Returns an error, or nil.
local function fenced(data, fence)
  local lease = fence and data.leases[fence.name]
  if not fence or lease and lease.token == fence.token then return nil end
  return { code = "fenced", message = ("the lease %s has another token than %d"):format(fence.name, fence.token) }
end

local function refusal_of(self, change)
  local data, turn = self.data, change.turn
  local err = fenced(data, change.fence)
  if err then return err end
  local held = turn and data.leases[turn.name]
  local is_others = held and held.holder and held.holder ~= turn.holder and held.until_ms > self.now_ms()
  local is_next = data.last == 0 or change.version == data.last + 1
  if is_others or not is_next or change.follows and change.version ~= self.asked + 1 then
    return { code = "conflict", message = ("version %d is not the one after the store's"):format(change.version) }
  end
end

local function set(data, record, kind, key, row)
  local rows = data.kinds[kind] or {}
  local before = rows[key]
  data.kinds[kind], rows[key] = rows, row
  if not row and not before then return end
  table.insert(record.changes, { kind = kind, key = key, before = before and before.json, after = row and row.json,
    created_ms = row and row.created_ms })
end

local function by_place(a, b)
  if a.kind ~= b.kind then return a.kind < b.kind end
  return a.key < b.key
end

local function take(data, change)
  local record = { changes = {} }
  for _, name in ipairs(FIELDS) do record[name] = change[name] end
  for _, put in ipairs(change.puts or {}) do
    local before = (data.kinds[put.kind] or {})[put.key]
    set(data, record, put.kind, put.key, { json = put.json, version = change.version, updated_ms = change.time_ms,
      created_ms = put.created_ms or before and before.created_ms or change.time_ms })
  end
  for _, delete in ipairs(change.deletes or {}) do set(data, record, delete.kind, delete.key, nil) end
  table.sort(record.changes, by_place)
  data.last = change.version
  data.records[data.last], data.states[data.last] = record, copy_of(data.kinds)
end

function Driver:commit(change, callback)
  local refusal = refusal_of(self, change)
  self.asked = change.version
  if not refusal then take(self.data, change) end
  answer(self, callback, refusal)
end

function Driver:load(callback)
  answer(self, callback, nil, { version = self.data.last, entities = copy_of(self.data.kinds) })
end

--- Returns a record as it is told, with its changes or without.
local function told(record, with_changes, with_times)
  local copy = {}
  for _, name in ipairs(FIELDS) do copy[name] = record[name] end
  if not with_changes then return copy end
  copy.changes = {}
  for i, each in ipairs(record.changes) do
    copy.changes[i] = { kind = each.kind, key = each.key, before = each.before, after = each.after,
      created_ms = with_times and each.created_ms or nil }
  end
  return copy
end

function Driver:versions(before, limit, callback)
  local list, version = {}, (before or self.data.last + 1) - 1
  while self.data.records[version] and #list < limit do
    list[#list + 1], version = told(self.data.records[version]), version - 1
  end
  answer(self, callback, nil, list)
end

function Driver:extent(callback) answer(self, callback, nil, { first = first_of(self.data), last = self.data.last }) end

function Driver:version(number, callback)
  local record = self.data.records[number]
  answer(self, callback, nil, record and told(record, true))
end

function Driver:at(number, callback)
  local state = self.data.states[number]
  answer(self, callback, nil, state and copy_of(state))
end

function Driver:changes(after, limit, callback)
  local data, list = self.data, {}
  local first = first_of(data)
  if after > data.last or after < first - 1 then
    return answer(self, callback, { code = "gone", message = "the history does not reach there" })
  end
  for version = math.max(after + 1, first), math.min(data.last, after + limit) do
    list[#list + 1] = data.records[version] and told(data.records[version], true, true)
  end
  answer(self, callback, nil, list)
end

function Driver:prune(first, callback)
  local data, count = self.data, 0
  for version = first_of(data), math.min(first, data.last) - 1 do
    if data.records[version] then
      data.base, count = data.states[version], count + 1
      data.records[version], data.states[version] = nil, nil
    end
  end
  answer(self, callback, nil, count)
end

function Driver:base(callback)
  local data = self.data
  answer(self, callback, nil, { first = first_of(data), last = data.last, entities = copy_of(data.base) })
end

function Driver:fill(kinds, callback)
  local data = self.data
  if data.last > 0 then return answer(self, callback, { code = "conflict", message = "the store has versions" }) end
  data.kinds, data.base = copy_of(kinds), copy_of(kinds)
  answer(self, callback)
end

function Driver:empty(callback)
  local data = self.data
  data.last, data.kinds, data.records, data.states, data.base, data.things = 0, {}, {}, {}, {}, {}
  answer(self, callback)
end

-- Small things --------------------------------------------------------------------------------------

local function id_of(bucket, key) return bucket .. "\0" .. key end

local function is_there(self, thing) return thing and (not thing.until_ms or thing.until_ms > self.now_ms()) end

function Driver:put(bucket, key, text, ttl_ms, callback, fence)
  local err = fenced(self.data, fence)
  if err then return answer(self, callback, err) end
  self.data.things[id_of(bucket, key)] = { bucket = bucket, key = key, text = text,
    until_ms = ttl_ms and self.now_ms() + ttl_ms }
  answer(self, callback)
end

function Driver:claim(bucket, key, text, ttl_ms, callback)
  local id = id_of(bucket, key)
  if is_there(self, self.data.things[id]) then return answer(self, callback, nil, false) end
  self.data.things[id] = { bucket = bucket, key = key, text = text, until_ms = self.now_ms() + ttl_ms }
  answer(self, callback, nil, true)
end

function Driver:get(bucket, key, callback)
  local thing = self.data.things[id_of(bucket, key)]
  answer(self, callback, nil, is_there(self, thing) and thing.text or nil)
end

function Driver:delete(bucket, key, callback)
  self.data.things[id_of(bucket, key)] = nil
  answer(self, callback)
end

function Driver:things(callback)
  local list = {}
  for _, thing in pairs(self.data.things) do
    if is_there(self, thing) then
      list[#list + 1] = { bucket = thing.bucket, key = thing.key, text = thing.text,
        ttl_ms = thing.until_ms and thing.until_ms - self.now_ms() }
    end
  end
  table.sort(list, function(a, b) return id_of(a.bucket, a.key) < id_of(b.bucket, b.key) end)
  answer(self, callback, nil, list)
end

-- Leases, nodes -------------------------------------------------------------------------------------

function Driver:lease(name, holder, ttl_ms, callback)
  local lease, now = self.data.leases[name] or { token = 0 }, self.now_ms()
  if lease.holder ~= holder and (not lease.holder or lease.until_ms <= now) then
    lease.holder, lease.token = holder, lease.token + 1
  end
  if lease.holder == holder then lease.until_ms = now + ttl_ms end
  self.data.leases[name] = lease
  answer(self, callback, nil, { holder = lease.holder, token = lease.token, is_mine = lease.holder == holder })
end

function Driver:release(name, holder, token, callback)
  local lease = self.data.leases[name]
  if lease and lease.holder == holder and lease.token == token then lease.holder = nil end
  answer(self, callback)
end

function Driver:announce(node, json, ttl_ms, callback)
  local now = self.now_ms()
  self.data.nodes[node] = { json = json, seen_ms = now, until_ms = now + ttl_ms }
  answer(self, callback)
end

function Driver:nodes(callback)
  local nodes, now = {}, self.now_ms()
  for node, entry in pairs(self.data.nodes) do
    if entry.until_ms > now - DAY_MS then
      nodes[node] = { json = entry.json, seen_ms = entry.seen_ms, is_alive = entry.until_ms > now }
    end
  end
  answer(self, callback, nil, nodes)
end

function Driver.watch() end -- nobody else commits

function Driver.status() return { driver = "memory", connected = true, since_ms = 0 } end

function Driver:close(callback) answer(self, callback) end

return M

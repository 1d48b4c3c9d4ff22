--- The history of a store in Redis: its part of the driver (store/redis/init.lua).
local format = require "veloflux.store.redis.format"
local scripts = require "veloflux.store.redis.scripts"

local optional, text_of = format.optional, format.number

local STEP = 100 -- versions that are read at once, on the way back
local PRUNE_STEP = 1000
local FILL_STEP = 2000 -- fields and entities
local EMPTY_STEP = 100 -- small things

local Driver = {}

local function is_list(value, n) return type(value) == "table" and #value == n end

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
    local first, last = format.whole(values[1]), format.whole(values[2])
    if not first or not last or first > last then return callback(self:damaged "the version") end
    callback(nil, first, last)
  end)
end

function Driver:extent(callback)
  self:range(function(err, first, last)
    if err then return callback(err) end
    callback(nil, { first = first, last = last })
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
      if not is_list(replies[1], to - from + 1) then return nil end
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

--- Finds how many versions can be read at once. callback(err, the last of them, reply to `more`)
-- @param more a command that is sent along, or nil
function Driver:fit(first, last, more, callback)
  local commands = {}
  for number = first, last do
    commands[#commands + 1] = { "HSTRLEN", self:key "changes", text_of(number) }
  end
  commands[#commands + 1] = more
  self.session:call(commands, function(err, replies)
    if err then return callback(err) end
    local bytes, stop = 0, first
    for number = first, last do
      bytes = bytes + (format.whole(replies[number - first + 1]) or 0)
      if bytes <= self.most_bytes then stop = number end
    end
    callback(nil, stop, more and replies[#commands])
  end)
end

--- Adds records with what they changed to a list, as far as there are some. Returns how many; nil: one is none.
local function add_records(list, ids, first, replies, count)
  if not is_list(replies[1], count) or not is_list(replies[2], count) then return nil end
  for i = 1, count do
    local text, changes = optional(replies[1][i]), optional(replies[2][i])
    if not text or not changes then return i - 1 end
    local record, id = format.read_record(first + i - 1, text)
    changes = format.read_changes(changes)
    if not record or not changes then return nil end
    record.changes = changes
    list[#list + 1], ids[#list + 1] = record, id
  end
  return count
end

--- Reads what fits. callback(err, true when all of them were there)
function Driver:read_fitting(list, ids, first, last, callback)
  self.session:call({ self:fields_of("versions", first, last), self:fields_of("changes", first, last) },
    function(err, replies)
      if err then return callback(err) end
      local count = add_records(list, ids, first, replies, last - first + 1)
      if not count then return callback(self:damaged "a version") end
      callback(nil, count == last - first + 1)
    end)
end

--- Reads records with what they changed, as far as there are some.
-- @param callback function(err, list): `changes` as format.lua has them
-- @param ids list to be filled with the ids of their commits, or nil
function Driver:read_versions(first, last, callback, ids)
  local list = {}
  ids = ids or {}
  local function read(from, stop)
    self:read_fitting(list, ids, from, stop, function(err, is_whole)
      if err then return callback(err) end
      if not is_whole or stop == last then return callback(nil, list) end
      self:fit(stop + 1, last, nil, function(failure, next_stop)
        if failure then return callback(failure) end
        read(stop + 1, next_stop)
      end)
    end)
  end
  if first == last then return read(first, last) end
  self:fit(first, last, nil, function(err, stop)
    if err then return callback(err) end
    read(first, stop)
  end)
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

--- Returns the id of the commit that made a version; nil when it is not there any more, or another than is known: a
-- master that was lost knew it, and its successor has made it anew.
-- @param text the record of the version, or Redis' null
function Driver:known_id(version, text)
  local record, id = format.read_record(version, optional(text) or "")
  if not record or version == self.known.version and id ~= self.known.id then return nil end
  return id
end

function Driver:changes(after, limit, callback)
  local gone = { code = "gone", message = ("there is no history after version %d"):format(after) }
  self:range(function(err, first, last)
    if err then return callback(err) end
    if after > last or after < first - 1 then return callback(gone) end
    if last == 0 then return callback(nil, {}) end
    local from, to = math.max(after + 1, first), math.min(after + limit, last)
    self:fit(from, to, { "HGET", self:key "versions", text_of(after) }, function(failure, stop, text)
      if failure then return callback(failure) end
      local id = after >= first and self:known_id(after, text)
      if id == nil then return callback(gone) end
      if from <= to then return self:read_changes(from, stop, stop < to, callback, gone) end
      self:knows(after, id)
      callback(nil, {})
    end)
  end)
end

--- Reads what `changes` tells.
-- @param is_cut true: there is more, which was too much
function Driver:read_changes(first, last, is_cut, callback, gone)
  local list, ids = {}, {}
  self:read_fitting(list, ids, first, last, function(err, is_whole)
    if err then return callback(err) end
    if #list == 0 then return callback(gone) end
    self:knows(list[#list].version, ids[#list])
    for _, record in ipairs(list) do told(record, true) end
    list.is_cut = is_cut and is_whole or nil
    callback(nil, list)
  end)
end

--- Takes what a version changed back.
local function undo(entities, record)
  for _, change in ipairs(record.changes) do
    entities[change.kind] = entities[change.kind] or {}
    entities[change.kind][change.key] = change.before
  end
end

--- Goes back from `last` to before version `first`, step by step. callback(err, entities or nil)
function Driver:go_back(entities, last, first, callback)
  if last < first then return callback(nil, self.without_empty(entities)) end
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

function Driver:base(callback)
  self:read_live(function(err, live)
    if err then return callback(err) end
    self:go_back(live.entities, live.version, math.max(live.first, 1), function(failure, entities)
      if not failure and not entities then failure = self:damaged "the history" end
      callback(failure, entities and { first = live.first, last = live.version, entities = entities })
    end)
  end)
end

local function pairs_of(kinds)
  local args = {}
  for kind, of_kind in pairs(kinds) do
    for key, entity in pairs(of_kind) do
      args[#args + 1], args[#args + 2] = format.field(kind, key), format.write_entity(entity)
    end
  end
  return args
end

function Driver:fill(kinds, callback)
  local args = pairs_of(kinds)
  local function fill(from)
    local some = { unpack(args, from, math.min(from + FILL_STEP - 1, #args)) }
    self.session:run(scripts.fill, self:keys("meta", "live"), some, function(err, is_done)
      if not err and is_done ~= 1 then err = { code = "conflict", message = "the store has versions" } end
      if err then return callback(err) end
      if from + FILL_STEP > #args then return callback() end
      fill(from + FILL_STEP)
    end)
  end
  fill(1)
end

function Driver:empty(callback)
  self.session:run(scripts.empty, self:keys("meta", "live", "versions", "changes", "things"),
    { self:key "thing:", EMPTY_STEP }, function(err, has_more)
      if err then return callback(err) end
      if has_more == 1 then return self:empty(callback) end
      self:knows(0, "")
      callback()
    end)
end

return Driver

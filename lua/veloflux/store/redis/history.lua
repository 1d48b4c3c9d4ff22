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

--- Reads records with what they changed, as far as there are some.
-- @param callback function(err, list): `changes` as format.lua has them
-- @param ids list to be filled with the ids of their commits, or nil
function Driver:read_versions(first, last, callback, ids)
  ids = ids or {}
  self.session:call({ self:fields_of("versions", first, last), self:fields_of("changes", first, last) },
    self:answering(callback, "a version", function(replies)
      local list = {}
      if not is_list(replies[1], last - first + 1) or not is_list(replies[2], last - first + 1) then return nil end
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

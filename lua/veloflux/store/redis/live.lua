--- What is live in a store in Redis: its part of the driver (store/redis/init.lua).
--
-- It is read page by page (HSCAN), so that neither Redis nor the loop stands still for a large one. What is not changed
-- meanwhile is among the pages, once or more often. When versions were added meanwhile, what they made of entities is
-- laid over it: so it is what it was in the last of them.
local format = require "veloflux.store.redis.format"

local PAGE = 2000 -- entities; a small hash comes as a whole
local MOST_PAGES = 20000 -- a server that does not come to an end is none
local STEP = 100 -- versions that are read at once
local MOST_TRIES = 5 -- while it loses versions

local Driver = {}

--- Adds the entities of a page. Returns the cursor of the next one, "0" after the last; nil: that is no page.
local function add_page(kinds, page)
  if type(page) ~= "table" or type(page[1]) ~= "string" or type(page[2]) ~= "table" then return nil end
  local list = page[2]
  for i = 1, #list, 2 do
    local kind, key = format.split_field(list[i])
    local entity = kind and format.read_entity(list[i + 1])
    if not entity then return nil end
    kinds[kind] = kinds[kind] or {}
    kinds[kind][key] = entity
  end
  return page[1]
end

--- Reads which version it is: { version, first, id }; nil: there is no such thing.
local function head_of(values)
  if type(values) ~= "table" then return nil end
  local version, first, id = format.whole(values[1]), format.whole(values[2]), format.optional(values[3]) or ""
  if not version or not first or first > version or type(id) ~= "string" then return nil end
  return { version = version, first = first, id = id }
end

function Driver:head_command() return { "HMGET", self:key "meta", "version", "first", "id" } end

local function without_empty(kinds)
  for kind, of_kind in pairs(kinds) do
    if not next(of_kind) then kinds[kind] = nil end
  end
  return kinds
end
Driver.without_empty = without_empty

--- Lays what versions have made of entities over them, as far as there are such versions.
-- @param callback function(err, the last of them and its id, or nil when there is none)
function Driver:overlay(kinds, first, last, callback, version, id)
  if first > last then return callback(nil, version, id) end
  local ids = {}
  local stop = math.min(first + STEP - 1, last)
  self:read_versions(first, stop, function(err, records)
    if err then return callback(err) end
    for _, record in ipairs(records) do
      for _, change in ipairs(record.changes) do
        kinds[change.kind] = kinds[change.kind] or {}
        kinds[change.kind][change.key] = change.after
      end
    end
    if #records < stop - first + 1 then return callback(nil, nil) end -- forgotten, or lost
    self:overlay(kinds, stop + 1, last, callback, stop, ids[#records])
  end, ids)
end

--- Reads what is live.
-- @param callback function(err, { version, id, first, entities })
function Driver:read_live(callback, n_tries)
  local kinds, n_pages, begun = {}, 0, nil

  local function again()
    n_tries = (n_tries or 1) + 1
    if n_tries > MOST_TRIES then return callback(self:damaged "the state") end
    self:read_live(callback, n_tries)
  end

  local function finish(head)
    if head.version < begun.version then return again() end
    self:overlay(kinds, begun.version + 1, head.version, function(err, version, id)
      if err then return callback(err) end
      if begun.version == head.version then version, id = head.version, head.id end
      if not version then return again() end
      callback(nil, { version = version, id = id, first = head.first, entities = without_empty(kinds) })
    end)
  end

  local function read(cursor)
    local commands = { self:head_command(), { "HSCAN", self:key "live", cursor, "COUNT", PAGE }, self:head_command() }
    self.session:call(commands, function(err, replies)
      if err then return callback(err) end
      begun = begun or head_of(replies[1])
      local head, next_cursor = head_of(replies[3]), add_page(kinds, replies[2])
      n_pages = n_pages + 1
      if not begun or not head or not next_cursor or n_pages > MOST_PAGES then
        return callback(self:damaged "the state")
      end
      if next_cursor == "0" then return finish(head) end
      read(next_cursor)
    end)
  end

  read "0"
end

return Driver

--- The small things of a store in Redis: their part of the driver (store/redis/init.lua). Each is a key with its time
-- to live; a sorted set, by the time when they are over, lists them.
local format = require "veloflux.store.redis.format"
local scripts = require "veloflux.store.redis.scripts"

local optional, text_of = format.optional, format.number

local SWEEP = 200 -- entries of things that are over, removed by one put
local STEP = 100 -- things that are read at once

local Driver = {}

function Driver:put(bucket, key, text, ttl_ms, callback, fence)
  if ttl_ms == 0 then return self:delete(bucket, key, callback) end
  local member = format.field(bucket, key)
  local lease, token = fence and fence.name or "", fence and text_of(fence.token) or ""
  self.session:run(scripts.put, self:keys("thing:" .. member, "things", "tokens"),
    { member, text, ttl_ms and text_of(ttl_ms) or "", SWEEP, lease, token },
    self:answering(function(err, stored)
      if not err and stored == 0 then err = format.fenced(fence) end
      callback(err)
    end, "the answer", format.whole))
end

function Driver:claim(bucket, key, text, ttl_ms, callback)
  local member = format.field(bucket, key)
  self.session:run(scripts.claim, self:keys("thing:" .. member, "things"), { member, text, text_of(ttl_ms) },
    self:answering(function(err, claimed)
      if err then return callback(err) end
      callback(nil, claimed == 1)
    end, "the answer", format.whole))
end

function Driver:get(bucket, key, callback)
  self.session:call({ { "GET", self:key("thing:" .. format.field(bucket, key)) } }, function(err, replies)
    if err then return callback(err) end
    local text = optional(replies[1])
    if text ~= nil and type(text) ~= "string" then return callback(self:damaged "a small thing") end
    callback(nil, text)
  end)
end

function Driver:delete(bucket, key, callback)
  local member = format.field(bucket, key)
  self.session:run(scripts.delete, self:keys("thing:" .. member, "things"), { member },
    self:acknowledged(callback))
end

local function sort_things(list)
  table.sort(list, function(a, b)
    if a.bucket ~= b.bucket then return a.bucket < b.bucket end
    return a.key < b.key
  end)
  return list
end

--- Adds things to a list. Returns false when they are none.
local function add_things(list, values)
  for i = 1, #values, 3 do
    local bucket, key = format.split_field(values[i])
    local text, left_ms = values[i + 1], values[i + 2]
    if not bucket or type(text) ~= "string" or type(left_ms) ~= "number" then return false end
    list[#list + 1] = { bucket = bucket, key = key, text = text, ttl_ms = left_ms >= 0 and left_ms or nil }
  end
  return true
end

function Driver:things(callback)
  local list = {}
  local function read(from)
    local range = { self:key "thing:", from, from + STEP - 1 }
    self.session:run(scripts.things, self:keys "things", range, function(err, value)
      if err then return callback(err) end
      if type(value) ~= "table" or not format.whole(value[1]) or type(value[2]) ~= "table"
        or not add_things(list, value[2]) then
        return callback(self:damaged "a small thing")
      end
      if value[1] < STEP then return callback(nil, sort_things(list)) end
      read(from + STEP)
    end)
  end
  read(0)
end

return Driver

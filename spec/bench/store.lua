--- The store: durable commits a second, one after another and with 32 waiting at a time, and what reading costs after
-- 10,000 versions. Each commit changes one entity of 500 bytes and is answered when it is on the disk, or when Redis
-- says that it is done. See docs/decisions/0014-store.md and 0017-store-in-redis.md.
--
--     LUA_PATH=... build/deps/bin/luajit spec/bench/store.lua [FOLDER | URL]
--         a folder on the disk to be measured, or an empty database of a Redis
local folder = arg[1] or "build/bench/store"
package.path = "./lua/?.lua;./lua/?/init.lua;./spec/?.lua;" .. package.path
local compiler = io.popen("${CC:-cc} -print-multiarch")
package.cpath = package.cpath .. ";/usr/lib/" .. compiler:read "*l" .. "/lua/5.1/?.so"
compiler:close()
local fixture = require "unit.store.fixture"
local uv = require "luv"

local ENTITIES, VERSIONS = 200, 10000
local TEXT = '{"name":"%d","pad":"' .. ("x"):rep(470) .. '"}'

local path = folder .. "/bench.db"
local is_redis = folder:find "^%a+://"
for _, ending in ipairs { "", "-wal", "-shm" } do os.remove(path .. ending) end
local bench = fixture.new()
local store = is_redis and bench:open_redis { url = folder } or bench:open(path)
local version = bench:ask(store, "load").version

local function seconds_of(work)
  local begun = uv.hrtime()
  work()
  return (uv.hrtime() - begun) / 1e9
end

--- Commits `count` versions, `in_flight` at a time.
local function commit(count, in_flight)
  local sent, done = 0, 0
  local function one()
    if sent == count then return end
    sent, version = sent + 1, version + 1
    store:commit(fixture.change(version, { fixture.put("routes", "a/" .. version % ENTITIES, TEXT:format(version)) }),
      function(err)
        assert(not err, err and err.message)
        done = done + 1
        one()
      end)
  end
  for _ = 1, in_flight do one() end
  while done < count do bench:drive(function() return done == count end, "the commits") end
end

local function report(what, count, seconds)
  print(("%-36s %8.0f a second"):format(what, count / seconds))
end

report("durable commits, 1 in flight", 1000, seconds_of(function() commit(1000, 1) end))
report("durable commits, 32 in flight", 4000, seconds_of(function() commit(4000, 32) end))
commit(VERSIONS - version, 32)
local function read(method, ...)
  local args = { n = select("#", ...), ... }
  return seconds_of(function()
    for _ = 1, 100 do bench:ask(store, method, unpack(args, 1, args.n)) end
  end)
end
print(("after %d versions, %d entities:"):format(version, ENTITIES))
report("load", 100, read "load")
report("at(5000)", 100, read("at", 5000))
report("version(5000)", 100, read("version", 5000))
report("versions, 50 a page", 100, read("versions", { limit = 50 }))
if not is_redis then print(("%-36s %8.1f MB"):format("size of the file", uv.fs_stat(path).size / 1e6)) end

--- One change of 100,000 entities, and reading them.
local puts = {}
for i = 1, 100000 do puts[i] = fixture.put("pools", "a/" .. i, TEXT:format(i):sub(1, 200) .. '"}') end
local function seconds(what, fn) print(("%-36s %8.2f s"):format(what, seconds_of(fn))) end
seconds("a change of 100,000 entities", function()
  bench:ask(store, "commit", fixture.change(version + 1, puts))
end)
seconds("load of 100,000 entities", function() bench:ask(store, "load") end)
bench:finish()

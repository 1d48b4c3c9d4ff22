--- veloflux store copy: between a file and a Redis, there and back.
local cjson = require "cjson"
local clients = require "support.client"
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local redis_servers = require "unit.pdk.redis_server"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"
local worlds = require "unit.store.redis.fixture"

local change, put = fixture.change, fixture.put
local HOUR_MS = 3600 * 1000

local function spec(fn)
  return loop.spec(function()
    local world = worlds.new()
    local ok, err = pcall(fn, world)
    local is_closed, problem = pcall(world.finish, world)
    if not ok or not is_closed then error(not ok and err or problem, 0) end
  end)
end

local function copy(...) return servers.command { "store", "copy", ... } end

--- Opens a file, does something with the store, and closes it.
local function with_file(world, path, fn)
  local store = world.bench:open(path)
  local result = fn(store)
  world:close(store)
  return result
end

--- Fills a store with a history: things that come, go and come again, 250 versions, the first of them pruned.
local function fill(world, store)
  for version = 7, 256 do
    local each = ('{"v":%d}'):format(version)
    local puts = { put("routes", "a/" .. version % 9, each), put("pools", "a/p" .. version, each, 5) }
    local deletes = version % 3 == 0 and { { kind = "pools", key = "a/p" .. (version - 3) } } or nil
    local entry = change(version, puts, deletes)
    entry.author, entry.reason = version % 2 == 0 and "ana" or nil, nil
    world:ask(store, "commit", entry)
  end
  world:ask(store, "prune", 20)
  world:ask(store, "put", "keys", "k\0\255", "for ever\0", nil)
  world:ask(store, "put", "keys", "later", "v", HOUR_MS)
end

--- All that two stores with the same content have in common.
local function content(world, store)
  local things = world:ask(store, "things")
  for _, thing in ipairs(things) do thing.ttl_ms = thing.ttl_ms and math.ceil(thing.ttl_ms / HOUR_MS) end
  return { world:ask(store, "base"), world:ask(store, "load"), world:ask(store, "changes", 19, 1000), things,
    world:ask(store, "at", 100) }
end

describe("veloflux store copy", function()
  it("copies everything from a file to Redis, and back", spec(function(world)
    local redis = redis_servers.start {}
    local folder = tempdir.new()
    local url = ("redis://127.0.0.1:%d/2"):format(redis.port)
    local before = with_file(world, folder .. "/one.db", function(store)
      fill(world, store)
      return content(world, store)
    end)
    local code, out, err = copy("--from", folder .. "/one.db", "--to", url, "--to-prefix", "lb")
    assert.same({ 0, "" }, { code, err })
    local digest = out:match "^copied version 256: 177 entities, 237 versions, 2 small things; both have sha256 (%x+)"
    assert.equal(64, #assert(digest, out))
    assert.same(before, content(world, world:open(nil, { url = url, prefix = "lb" })))
    tempdir.write(folder .. "/url", url .. "\n")
    code, out, err = copy("--from", ("{file:%s/url}"):format(folder), "--from-prefix", "lb", "--to",
      folder .. "/two.db")
    assert.same({ 0, "" }, { code, err })
    assert.truthy(out:find(digest, 1, true))
    assert.same(before, with_file(world, folder .. "/two.db", function(store) return content(world, store) end))
  end))

  it("spares a target that has something, unless it is forced", spec(function(world)
    local redis = redis_servers.start {}
    local folder = tempdir.new()
    local path, url = folder .. "/one.db", "redis://127.0.0.1:" .. redis.port
    with_file(world, path, function(store) world:ask(store, "commit", change(1, { put("routes", "a/a", "{}") })) end)
    local store = world:open(redis)
    world:ask(store, "put", "b", "k", "v", nil)
    local code, out, err = copy("--from", path, "--to", url)
    assert.same({ 2, "", "veloflux store copy: --to: is not empty; with --force it is emptied first" },
      { code, out, (err:gsub("\n$", "")) })
    assert.equal("v", world:ask(store, "get", "b", "k"))
    world:ask(store, "commit", change(41, { put("routes", "a/b", "{}") }))
    assert.equal(2, (copy("--from", path, "--to", url)))
    assert.equal(0, (copy("--from", path, "--to", url, "--force")))
    assert.is_nil(world:ask(store, "get", "b", "k"))
    assert.equal(1, world:ask(store, "load").version)
    assert.is_nil(world:ask(store, "load").entities.routes["a/b"])
    assert.equal(2, (copy("--from", url, "--to", path)))
    assert.equal(0, (copy("--from", url, "--to", path, "--force")))
  end))

  it("says what is wrong, and with which of the two", spec(function(world)
    local folder = tempdir.new()
    local nowhere = redis_servers.start {}
    nowhere.process:kill()
    local url = ("redis://:s3cret@127.0.0.1:%d"):format(nowhere.port)
    with_file(world, folder .. "/some.db", function(store) world:ask(store, "commit", change(1)) end)
    with_file(world, folder .. "/empty.db", function(store) world:ask(store, "load") end)
    tempdir.write(folder .. "/text", ("no database\n"):rep(1000))
    local cases = {
      { { "--from", folder .. "/none.db", "--to", url }, "%-%-from: .*/none.db: no such file" },
      { { "--from", folder .. "/text", "--to", url }, "%-%-from: .*/text: is damaged" },
      { { "--from", folder .. "/empty.db", "--to", url }, "%-%-from: has no version: there is nothing to copy" },
      { { "--from", folder .. "/some.db", "--to", url }, "%-%-to: redis 127.0.0.1:%d+: connection refused" },
      { { "--from", url, "--to", folder .. "/new.db" }, "%-%-from: redis 127.0.0.1:%d+: connection refused" },
      { { "--from", folder .. "/some.db", "--to", (url:gsub("^redis:", "rediss:")) },
        "%-%-to: redis 127.0.0.1:%d+: connection refused" },
      { { "--from", "{file:/no/such}", "--to", url }, "%-%-from: /no/such: No such file" },
      { { "--from", folder .. "/some.db", "--from-prefix", "x", "--to", url }, "%-%-from: only a store in Redis" },
      { { "--from", folder .. "/some.db" }, "expected %-%-from and %-%-to" },
      { { "--from", url, "--to", url }, "%-%-from and %-%-to are the same" },
      { { "--form", "x" }, "unknown option %-%-form" },
    }
    for i, case in ipairs(cases) do
      local code, out, err = copy(unpack(case[1]))
      assert.same({ 1, "" }, { code, out }, "case " .. i .. err)
      assert.matches("veloflux store copy: " .. case[2], err)
      assert.is_nil(err:find("s3cret", 1, true))
    end
    assert.is_nil(uv.fs_stat(folder .. "/none.db"))
    local code, out = servers.command { "store", "--help" }
    assert.equal(0, code)
    assert.matches("usage: veloflux store copy", out)
    assert.equal(1, (servers.command { "store", "move" }))
  end))

  it("moves an instance from one driver to the other", loop.spec(function()
    local redis = redis_servers.start {}
    local folder = tempdir.new()
    local function route(name) return { name = name, path = "/" .. name, respond = { status = 200, body = name } } end
    local function post(server, name)
      return clients.request(server.ports.admin, "POST", "/api/routes", { ["Content-Type"] = "application/json" },
        cjson.encode(route(name))).status
    end
    local server = servers.start { conf = { data_dir = folder } }
    assert.equal(201, post(server, "one"))
    server:stop()
    local url = "redis://127.0.0.1:" .. redis.port
    assert.equal(0, (copy("--from", folder .. "/veloflux.db", "--to", url)))
    server = servers.start { conf = { data_dir = folder, store = { driver = "redis", url = url } } }
    assert.equal("one", clients.get(server.ports.http, "/one").body)
    assert.equal(201, post(server, "two"))
    server:stop()
    assert.equal(0, (copy("--from", url, "--to", folder .. "/veloflux.db", "--force")))
    server = servers.start { conf = { data_dir = folder } }
    assert.equal("two", clients.get(server.ports.http, "/two").body)
    assert.equal(201, post(server, "three"))
    server:stop()
  end))
end)

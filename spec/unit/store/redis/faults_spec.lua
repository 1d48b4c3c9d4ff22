--- What becomes of a store when its Redis dies, is short of memory, is somebody else's or no Redis at all.
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local servers = require "unit.pdk.redis_server"
local worlds = require "unit.store.redis.fixture"

local change, put, pair = fixture.change, fixture.put, worlds.pair
local DURABLE = { "--appendonly", "yes", "--appendfsync", "always" }

--- A spec with a world, which leaves nothing open.
local function spec(fn)
  return loop.spec(function()
    local world = worlds.new()
    local ok, err = pcall(fn, world)
    local is_closed, problem = pcall(world.finish, world)
    if not ok or not is_closed then error(not ok and err or problem, 0) end
  end)
end

--- Commits versions `first` to `last`, all at once. Returns the list of what has become of them: true or an error.
local function commit_all(store, first, last)
  local outcomes = { n = 0 }
  for version = first, last do
    store:commit(pair(version), function(err)
      outcomes[version], outcomes.n = err or true, outcomes.n + 1
    end)
  end
  return outcomes
end

--- Keeps `in_flight` commits under way until one fails. Returns what commit_all does, and `begun`: the last version.
local function commit_until_failure(store, in_flight)
  local outcomes = { n = 0, begun = 0 }
  local function begin()
    local version = outcomes.begun + 1
    outcomes.begun = version
    store:commit(pair(version), function(err)
      outcomes[version], outcomes.n = err or true, outcomes.n + 1
      outcomes.has_failed = outcomes.has_failed or err ~= nil
      if not outcomes.has_failed then begin() end
    end)
  end
  for _ = 1, in_flight do begin() end
  return outcomes
end

describe("a store in Redis, when", function()
  it("the server is killed and comes back: goes on where it was, and does nothing twice", spec(function(world)
    local server = servers.start { args = DURABLE }
    local store = world:open(server)
    local outcomes = commit_all(store, 1, 400)
    world:drive(function() return outcomes.n >= 100 end, "the first")
    server.process:kill()
    servers.start { args = DURABLE, port = server.port, dir = server.dir }
    world:drive(function() return outcomes.n == 400 end, "the others")
    for version = 1, 400 do assert.same(true, outcomes[version]) end
    assert.equal(400, world:check_whole(store))
    assert.is_true(store:status().connected)
  end))

  it("the server is killed for good: each version that was acknowledged is there, none half", spec(function(world)
    local server = servers.start { args = DURABLE }
    local store = world:open(server, { timeout_ms = 3000 })
    world:ask_until(store, "load")
    local outcomes = commit_until_failure(store, 100)
    world:drive(function() return outcomes.n >= 150 end, "the first")
    server.process:kill()
    world:drive(function() return outcomes.n == outcomes.begun end, "the end of the others")
    local last = 0
    for version = 1, outcomes.begun do
      if outcomes[version] == true then
        assert.equal(version - 1, last)
        last = version
      else
        assert.equal("unavailable", outcomes[version].code)
      end
    end
    assert.is_true(last >= 150 and last < outcomes.begun)
    local status = store:status()
    assert.is_false(status.connected)
    assert.matches("^redis 127.0.0.1:%d+: ", status.error)
    assert.equal("unavailable", world:call(store, "load").code) -- at once
    servers.start { args = DURABLE, port = server.port, dir = server.dir }
    assert.is_true(world:ask_until(store, "load").version >= last)
    local patient = world:open(server)
    assert.is_true(world:check_whole(patient) >= last)
  end))

  it("the server has no memory left: says so, and writes nothing of it", spec(function(world)
    local server = servers.start {}
    local store = world:open(server)
    world:ask(store, "commit", change(1, { put("routes", "a/a", "{}"), put("routes", "a/b", "{}") }))
    local before = world:ask(store, "load")
    world:run(server, { "CONFIG", "SET", "maxmemory", "1" })
    local err = world:call(store, "commit", change(2, { put("routes", "a/c", "{}") }, { { kind = "routes",
      key = "a/a" } }))
    assert.equal("io", err.code)
    assert.matches("^redis 127.0.0.1:%d+: OOM .*Redis has no memory left for this %(maxmemory%)$", err.message)
    assert.equal("io", world:call(store, "commit", change(2, nil, { { kind = "routes", key = "a/a" } })).code)
    assert.equal("io", world:call(store, "put", "b", "k", "v", nil).code)
    assert.equal("io", world:call(store, "lease", "jobs", "a", 1000).code)
    assert.equal("io", world:call(store, "announce", "n1", "{}", 1000).code)
    assert.same(before, world:ask(store, "load"))
    assert.is_nil(world:ask(store, "version", 2))
    world:run(server, { "CONFIG", "SET", "maxmemory", "0" })
    world:ask(store, "commit", change(2, nil, { { kind = "routes", key = "a/a" } }))
    assert.is_nil(world:ask(store, "load").entities.routes["a/a"])
  end))

  it("a change is larger than Redis takes: refuses it", spec(function(world)
    local store, puts = world:open(servers.start {}), {}
    for i = 1, 300001 do puts[i] = put("routes", "a/" .. i, "{}") end
    local err = world:call(store, "commit", change(1, puts))
    assert.same({ "io", "a change of 300001 entities is too large for Redis: at most 300000 at once" },
      { err.code, err.message })
    assert.equal(0, world:ask(store, "load").version)
  end))

  it("the server forgets the scripts: sends them again", spec(function(world)
    local server = servers.start {}
    local store = world:open(server)
    for version = 1, 3 do
      world:ask(store, "commit", pair(version))
      world:run(server, { "SCRIPT", "FLUSH" })
    end
    assert.equal(3, world:check_whole(store))
  end))

  it("it knows no password, or a wrong one: says so until it is right", spec(function(world)
    local server = servers.start { args = { "--requirepass", "right: @/%" } }
    local url = "redis://%s127.0.0.1:" .. server.port
    local cases = { { "", "NOAUTH .*%(the store needs a password, and perhaps a username%)" },
      { ":wrong@", "AUTH: WRONGPASS .*%(the password or the username of the store is wrong%)" },
      { "nobody:right@", "AUTH: WRONGPASS" } }
    for _, case in ipairs(cases) do
      local store = world:open(nil, { url = url:format(case[1]) })
      local err = world:call(store, "load")
      assert.equal("unavailable", err.code)
      assert.matches("^redis 127.0.0.1:%d+: .*" .. case[2], err.message)
      assert.is_nil(err.message:find("wrong@", 1, true))
      world:close(store)
    end
    world:ask(world:open(nil, { url = url:format ":right%3A%20%40%2F%25@" }), "load")
    world:ask(world:open(server, { password = "right: @/%" }), "load")
  end))

  it("its user may do what the documentation says, and no more: works", spec(function(world)
    local server = servers.start {}
    local rights = { "~{veloflux}:*", "&{veloflux}:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection",
      "-@dangerous", "+info", "+role", "+time" }
    world:run(server, { "ACL", "SETUSER", "lb", "on", ">secret", unpack(rights) })
    local logged = {}
    local settings = { username = "lb", password = "secret", log = function(_, event, message)
      logged[#logged + 1] = event .. ": " .. message
    end }
    local one, two = world:open(server, settings), world:open(server, { username = "lb", password = "secret" })
    local heard
    two:watch(function(version) heard = version end)
    world:ask(two, "load")
    world:ask(one, "commit", pair(1))
    world:drive(function() return heard == 1 end, "the notice")
    world:ask(one, "lease", "jobs", "a", 1000)
    world:ask(one, "announce", "n", "{}", 1000)
    world:ask(one, "put", "b", "k", "v", 1000)
    assert.equal(1, world:ask(one, "prune", 100) + 1)
    assert.same({ "store.connected: redis 127.0.0.1:" .. server.port,
      "store.durability: appendonly is off: a crash of Redis loses what was stored since its last snapshot" }, logged)
  end))

  it("its user may not write, or not hear: says so", spec(function(world)
    local server = servers.start {}
    world:run(server, { "ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@scripting", "+auth" },
      { "ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "resetchannels" })
    local store = world:open(server, { username = "reader", password = "secret" })
    world:ask(store, "load")
    local err = world:call(store, "commit", pair(1))
    assert.equal("unavailable", err.code)
    assert.matches("can't run this command", err.message)
    assert.is_nil(world:call(store, "load"))
    local logged
    local deaf = world:open(server, { username = "deaf", password = "secret", log = function(_, event, message)
      if event == "store.not_listening" then logged = message end
    end })
    local heard
    deaf:watch(function(version) heard = version end)
    world:ask(deaf, "load")
    world:drive(function() return logged end, "the warning")
    assert.matches("SUBSCRIBE: NOPERM", logged)
    world:ask(world:open(server), "commit", pair(1))
    world:drive(function() return heard == 1 end, "a look") -- though nobody told it
  end))

  it("there is no Redis at the address: says so, whatever it says", spec(function(world)
    local answers = { "HTTP/1.1 400 Bad Request\r\n\r\n", "*9999999999\r\n", "$1000000000\r\n" .. ("x"):rep(300000),
      "$-5\r\nx", ("*1\r\n"):rep(100), "\0\255\1\r\n", "%1\r\n+a\r\n+b\r\n", "", "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
      ":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n", "*-1\r\n*-1\r\n*-1\r\n*-1\r\n*-1\r\n", "-ERR no\r\n-ERR no\r\n",
      "-MOVED 1 x\r\n-MOVED\r\n-ERR x\r\n-ERR x\r\n", "*3\r\n$7\r\nmessage\r\n+a\r\n:1\r\n", "*1000000\r\n",
      "*3\r\n$7\r\nmessage\r\n*0\r\n*0\r\n" }
    for i, answer in ipairs(answers) do
      local peer = peers.tcp(function(conn)
        conn:read_some()
        conn:write(answer)
      end)
      local store = world:open(peer, { timeout_ms = 500 })
      local err = world:call(store, "load")
      assert.equal("unavailable", err and err.code, "answer " .. i)
      assert.matches("^redis 127.0.0.1:%d+: ", err.message)
      world:close(store)
    end
  end))

  it("the server says nothing, or one byte now and then: does not wait for ever", spec(function(world)
    local silent = peers.tcp(function() return true end)
    local store = world:open(silent, { timeout_ms = 100 })
    local err = world:call(store, "load")
    assert.equal("unavailable", err.code)
    assert.matches("does not answer in time", err.message)
    local server = servers.start {}
    local stopped = world:open(server, { timeout_ms = 100 })
    world:ask_until(stopped, "load")
    server.process:signal "sigstop"
    err = world:call(stopped, "commit", pair(1))
    assert.equal("unavailable", err.code)
    assert.is_false(stopped:status().connected)
    server.process:signal "sigcont"
    world:ask_until(stopped, "load")
    world:ask_until(stopped, "get", "b", "k")
  end))

  it("the server is a replica: reads, and says why it does not write", spec(function(world)
    local master = servers.start {}
    local replica = servers.start { args = { "--replicaof", "127.0.0.1 " .. master.port } }
    world:ask(world:open(master), "commit", pair(1))
    local store = world:open(replica, { timeout_ms = 1000 })
    local state
    world:drive(function()
      state = state and state.version == 1 and state or world:ask_until(store, "load")
      return state.version == 1
    end, "the copy")
    local err = world:call(store, "commit", pair(2))
    assert.equal("unavailable", err.code)
    assert.matches("READONLY", err.message)
    world:ask(store, "load")
  end))

  it("its data is somebody else's, damaged, or of a later version: says so, and leaves it alone", spec(function(world)
    local server = servers.start {}
    local broken = {
      { { "SET", "{veloflux}:meta", "mine" }, "WRONGTYPE" },
      { { "HSET", "{veloflux}:meta", "format", "2" }, "written by another version of VeloFlux" },
      { { "HSET", "{veloflux}:meta", "version", "many" }, "not of VeloFlux, or damaged" },
      { { "HSET", "{veloflux}:live", "x", "y" }, "not of VeloFlux, or damaged" },
      { { "HSET", "{veloflux}:live", "a\0b", "1 2\n{}" }, "not of VeloFlux, or damaged" },
      { { "LPUSH", "{veloflux}:live", "x" }, "WRONGTYPE" },
    }
    for i, case in ipairs(broken) do
      world:run(server, { "FLUSHALL" }, case[1])
      local store = world:open(server)
      local err = world:call(store, "load")
      assert.equal("unavailable", err and err.code, "case " .. i)
      assert.truthy(err.message:find(case[2], 1, true), err.message)
      world:close(store)
    end
    world:run(server, { "FLUSHALL" })
    local store = world:open(server)
    world:ask(store, "commit", pair(1))
    world:ask(store, "commit", pair(2))
    world:run(server, { "HSET", "{veloflux}:changes", "2", "5:abc" }, { "HSET", "{veloflux}:versions", "1", "zzz" },
      { "HSET", "{veloflux}:tokens", "jobs", "x" }, { "RPUSH", "{veloflux}:nodes", "x" },
      { "SET", "{veloflux}:things", "x" })
    for _, call in ipairs { { "version", 2 }, { "at", 1 }, { "changes", 0, 10 }, { "versions", {} }, { "version", 1 },
      { "lease", "jobs", "a", 1000 }, { "nodes" }, { "put", "b", "k", "v", nil, n = 5 } } do
      local err = world:call(store, unpack(call, 1, call.n or #call))
      assert.equal("unavailable", err and err.code, call[1])
    end
    assert.equal(2, world:ask(store, "load").version)
  end))
end)

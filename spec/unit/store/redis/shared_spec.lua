--- Several stores of one Redis: what nodes of a cluster have of each other.
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local servers = require "unit.pdk.redis_server"
local worlds = require "unit.store.redis.fixture"

local change, put, pair = fixture.change, fixture.put, worlds.pair
local HOUR_MS = 3600 * 1000

local shared, server = loop.scope(), nil

local function spec(fn)
  return loop.spec(function()
    local world = worlds.new()
    local ok, err = pcall(function()
      world:run(server, { "FLUSHALL" }, { "CONFIG", "RESETSTAT" })
      fn(world)
    end)
    local is_closed, problem = pcall(world.finish, world)
    if not ok or not is_closed then error(not ok and err or problem, 0) end
  end)
end

--- Opens a store that notes what it hears.
local function listener(world, settings)
  local store, heard = world:open(server, settings), {}
  store:watch(function(version) heard[#heard + 1] = version end)
  return store, heard
end

--- True when the server has `n` subscribers.
local function has_subscribers(world, n)
  return function() return world:run(server, { "PUBSUB", "NUMSUB", "{veloflux}:changed" })[2] == n end
end

describe("stores of one Redis", function()
  setup(shared:spec(function() server = servers.start() end))
  teardown(shared:closer())

  it("see each other's versions, and refuse to write the same one twice", spec(function(world)
    local one, two = world:open(server), world:open(server)
    world:ask(one, "commit", pair(1))
    world:ask(two, "commit", pair(2))
    assert.equal("conflict", world:call(one, "commit", pair(2)).code)
    world:ask(one, "commit", pair(3))
    assert.equal(3, world:check_whole(two))
    local outcomes, n = {}, 0
    for i = 1, 40 do
      (i % 2 == 0 and one or two):commit(pair(4), function(err)
        outcomes[i], n = err and err.code or "done", n + 1
      end)
    end
    world:drive(function() return n == 40 end, "a race")
    local done = 0
    for _, outcome in ipairs(outcomes) do
      if outcome == "done" then done = done + 1 else assert.equal("conflict", outcome) end
    end
    assert.equal(1, done)
    assert.equal(4, world:check_whole(one))
  end))

  it("hear of what others commit, and not of their own", spec(function(world)
    local one, heard_by_one = listener(world)
    local two, heard_by_two = listener(world)
    world:drive(has_subscribers(world, 2), "the subscriptions")
    world:ask(one, "load")
    world:ask(two, "load")
    world:ask(one, "commit", pair(1))
    world:drive(function() return #heard_by_two == 1 end, "version 1")
    world:ask(two, "changes", 0, 10)
    world:ask(two, "commit", pair(2))
    world:drive(function() return #heard_by_one == 1 end, "version 2")
    assert.same({ { 2 }, { 1 } }, { heard_by_one, heard_by_two })
  end))

  it("hear of what they have missed", spec(function(world)
    local one = world:open(server)
    local two, heard = listener(world)
    world:ask(two, "load")
    world:drive(has_subscribers(world, 1), "the subscription")
    world:run(server, { "CLIENT", "KILL", "TYPE", "pubsub" }, { "EVAL",
      "return redis.call('HSET', KEYS[1], 'version', '7')", 1, "{veloflux}:meta" })
    world:drive(function() return #heard == 1 end, "what nobody told")
    assert.same({ 7 }, heard)
    world:ask(one, "commit", change(8))
    world:drive(function() return heard[2] == 8 end, "the next")
    world:run(server, { "FLUSHALL" }) -- it has lost everything
    world:run(server, { "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes" })
    world:drive(function() return heard[3] end, "the loss")
    assert.equal(0, heard[3])
  end))

  it("tell each other news, and hear when they have missed some", spec(function(world)
    local heard = { {}, {} }
    local function open(i)
      local store = world:open(server)
      store:hear(0, function(text, number) table.insert(heard[i], { number, text }) end)
      store:watch(function() end)
      return store
    end
    local one, two = open(1), open(2)
    world:drive(has_subscribers(world, 2), "the subscriptions")
    world:ask(one, "tell", "first")
    world:ask(two, "tell", ("\0 long "):rep(16000))
    world:drive(function() return #heard[1] == 1 and #heard[2] == 1 end, "both")
    assert.same({ { { 2, ("\0 long "):rep(16000) } }, { { 1, "first" } } }, heard)
    world:run(server, { "INCR", "{veloflux}:news" }, { "CLIENT", "KILL", "TYPE", "pubsub" })
    world:drive(function() return #heard[1] == 2 and #heard[2] == 2 end, "what was missed")
    assert.same({ { 3 }, { 3 } }, { heard[1][2], heard[2][2] })
    world:drive(has_subscribers(world, 2), "the subscriptions, again")
    world:run(server, { "INCR", "{veloflux}:news" }) -- nobody says so
    world:ask(one, "tell", "third")
    world:drive(function() return #heard[1] == 3 and #heard[2] == 3 end, "the gap")
    assert.same({ { 5 }, { 5 } }, { heard[1][3], heard[2][3] })
    assert.has_error(function() one:tell(("x"):rep(200000), function() end) end)
  end))

  it("do not build on what the server has lost, or has otherwise by now", spec(function(world)
    local one, two = world:open(server), world:open(server)
    for version = 1, 3 do world:ask(one, "commit", pair(version)) end
    world:run(server, { "FLUSHALL" })
    assert.equal("conflict", world:call(one, "commit", pair(4)).code) -- though any version may be the first
    assert.equal("gone", world:call(one, "changes", 3, 10).code)
    assert.equal(0, world:ask(two, "load").version)
    for version = 1, 3 do world:ask(two, "commit", pair(version)) end
    assert.equal("conflict", world:call(one, "commit", pair(4)).code) -- that version 3 is another one
    assert.equal("gone", world:call(one, "changes", 3, 10).code)
    assert.equal(3, world:ask(one, "load").version)
    world:ask(one, "commit", pair(4))
    assert.same({ 1, {} }, { #world:ask(two, "changes", 3, 10), world:ask(two, "changes", 4, 10) })
    world:run(server, { "FLUSHALL" })
    assert.equal(0, world:ask(one, "load").version)
    world:ask(one, "commit", pair(5))
  end))

  it("are told by nobody what they have read", spec(function(world)
    local one = world:open(server)
    for version = 1, 3 do world:ask(one, "commit", pair(version)) end
    local two = world:open(server)
    world:ask(two, "load")
    local heard = {}
    two:watch(function(version) heard[#heard + 1] = version end)
    world:drive(has_subscribers(world, 1), "the subscription")
    world:ask(two, "load")
    world:ask(one, "commit", pair(4))
    world:drive(function() return #heard > 0 end, "version 4")
    assert.same({ 4 }, heard)
  end))

  it("lease to one of them, until its time is over", spec(function(world)
    local one, two = world:open(server), world:open(server)
    assert.same({ holder = "n1", token = 1, is_mine = true }, world:ask(one, "lease", "jobs", "n1", HOUR_MS))
    assert.same({ holder = "n1", token = 1, is_mine = false }, world:ask(two, "lease", "jobs", "n2", HOUR_MS))
    world:run(server, { "PEXPIRE", "{veloflux}:lease:jobs", "1" })
    local lease
    world:drive(function()
      lease = world:ask(two, "lease", "jobs", "n2", HOUR_MS)
      return lease.is_mine
    end, "the end of the lease")
    assert.equal(2, lease.token)
    local late = change(1, { put("routes", "a/a", "{}") })
    late.fence = { name = "jobs", token = 1 }
    assert.equal("fenced", world:call(one, "commit", late).code)
    late.fence.token = 2
    world:ask(two, "commit", late)
    assert.same({ holder = "n2", token = 2, is_mine = false }, world:ask(one, "lease", "jobs", "n1", HOUR_MS))
  end))

  it("commit in turn, and not behind what another has committed", spec(function(world)
    local one, two = world:open(server), world:open(server)
    world:ask(one, "commit", pair(1))
    world:ask(two, "load")
    world:ask(one, "lease", "turn", "a", HOUR_MS)
    local late = pair(2)
    late.turn = { name = "turn", holder = "b" }
    assert.equal("conflict", world:call(two, "commit", late).code)
    late.turn.holder = "a"
    world:ask(two, "commit", late)
    -- two of one, and another is between them: the second would be the next version, and is not taken
    world:ask(one, "load")
    world:ask(two, "commit", pair(3))
    local codes, second = {}, pair(4)
    second.follows = true
    for i, each in ipairs { pair(3), second } do
      one:commit(each, function(err) codes[i] = err and err.code or "done" end)
    end
    world:drive(function() return codes[1] and codes[2] end, "two commits")
    assert.same({ "conflict", "conflict" }, codes)
    world:ask(one, "load")
    codes = {}
    second.version = 5
    for i, each in ipairs { pair(4), second } do
      one:commit(each, function(err) codes[i] = err and err.code or "done" end)
    end
    world:drive(function() return codes[1] and codes[2] end, "two commits")
    assert.same({ "done", "done" }, codes)
  end))

  it("list each other's nodes", spec(function(world)
    local one, two = world:open(server), world:open(server)
    world:ask(one, "announce", "n1", '{"version":1}', HOUR_MS)
    world:ask(two, "announce", "n2", '{"version":2}', HOUR_MS)
    local nodes = world:ask(one, "nodes")
    assert.equal('{"version":2}', nodes.n2.json)
    assert.is_true(nodes.n1.is_alive and nodes.n2.is_alive)
    assert.same(nodes, world:ask(two, "nodes"))
  end))

  it("with other prefixes or databases are strangers", spec(function(world)
    world:ask(world:open(server), "commit", pair(1))
    world:ask(world:open(server, { prefix = "other" }), "commit", pair(41))
    world:ask(world:open(server, { db = 5 }), "commit", pair(7))
    assert.equal(1, world:ask(world:open(server), "load").version)
    assert.equal(41, world:ask(world:open(server, { prefix = "other" }), "load").version)
    assert.equal(7, world:ask(world:open(nil, { url = "unix://" .. server.path .. "?db=5" }), "load").version)
    assert.equal(0, world:ask(world:open(server, { db = 6 }), "load").version)
  end))

  it("sweep what is over from the list of small things", spec(function(world)
    local store = world:open(server)
    for i = 1, 300 do store:put("b", "k" .. i, "v", 1, function() end) end
    world:ask(store, "put", "b", "stays", "v", nil)
    local function is_over() return #world:run(server, { "KEYS", "{veloflux}:thing:*" }) == 1 end
    world:drive(is_over, "the end of the others")
    for i = 1, 2 do world:ask(store, "put", "b", "new" .. i, "v", HOUR_MS) end
    assert.equal(3, world:run(server, { "ZCARD", "{veloflux}:things" }))
  end))

  it("load a whole state while others change it", spec(function(world)
    local writer, reader = world:open(server), world:open(server)
    local log, version = {}, 1
    local puts = {}
    for i = 1, 7000 do puts[i] = put("routes", "a/" .. i, ('{"i":%d,"v":1}'):format(i)) end
    world:ask(writer, "commit", change(1, puts))
    local is_over = false
    local function write()
      if is_over then return end
      version = version + 1
      local own, entry = version, {}
      for i = 1, 5 do
        local key = "a/" .. (own * 131 + i * 1009) % 7100 -- some are new
        entry[#entry + 1] = { key = key, json = (own + i) % 3 > 0 and ('{"of":%d}'):format(own) or nil }
      end
      log[own] = entry
      local new_puts, deletes = {}, {}
      for _, each in ipairs(entry) do
        if each.json then
          new_puts[#new_puts + 1] = put("routes", each.key, each.json)
        else
          deletes[#deletes + 1] = { kind = "routes", key = each.key }
        end
      end
      writer:commit(change(own, new_puts, deletes), function(err)
        assert(not err, err and err.message)
        write()
      end)
    end
    write()
    local n_between = 0
    for _ = 1, 15 do
      local from = version
      local state = world:ask(reader, "load")
      if state.version > from then n_between = n_between + 1 end
      local expected = {}
      for _, each in ipairs(puts) do expected[each.key] = each.json end
      for v = 2, state.version do
        for _, each in ipairs(log[v]) do expected[each.key] = each.json end
      end
      local count = 0
      for key, entity in pairs(state.entities.routes) do
        count = count + 1
        assert.equal(expected[key], entity.json)
      end
      for _ in pairs(expected) do count = count - 1 end
      assert.equal(0, count)
    end
    is_over = true
    assert.is_true(n_between > 0)
  end))

  it("load 20,000 entities and go on after 2,000 versions as after a few", spec(function(world)
    local store, puts = world:open(server), {}
    for i = 1, 20000 do puts[i] = put("routes", "a/" .. i, ('{"name":"r%d","path":"/%d"}'):format(i, i)) end
    world:ask(store, "commit", change(1, puts))
    local n = 0
    for version = 2, 2001 do
      local changed = change(version, { put("routes", "a/" .. version, "{}") })
      store:commit(changed, function(err) n = n + (err and 0 or 1) end)
    end
    world:drive(function() return n == 2000 end, "the versions")
    local state, count = world:ask(store, "load"), 0
    for _ in pairs(state.entities.routes) do count = count + 1 end
    assert.same({ 2001, 20000 }, { state.version, count })
    assert.equal('{"name":"r2001","path":"/2001"}', world:ask(store, "at", 2000).routes["a/2001"].json)
    assert.equal('{"name":"r3","path":"/3"}', world:ask(store, "at", 1).routes["a/3"].json)
    assert.equal(1999, world:ask(store, "prune", 2000))
    assert.is_nil(world:ask(store, "at", 1999))
  end))
end)

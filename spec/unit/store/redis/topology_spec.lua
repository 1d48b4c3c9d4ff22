--- A Redis that is found by Sentinels, or is a cluster.
local loop = require "support.loop"
local ports = require "support.ports"
local servers = require "unit.pdk.redis_server"
local worlds = require "unit.store.redis.fixture"

local pair = worlds.pair
local SLOTS = 16384

local function spec(fn)
  return loop.spec(function()
    local world = worlds.new()
    local ok, err = pcall(fn, world)
    local is_closed, problem = pcall(world.finish, world)
    if not ok or not is_closed then error(not ok and err or problem, 0) end
  end)
end

local SENTINEL = [[
sentinel monitor main 127.0.0.1 %d %d
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 2000
sentinel parallel-syncs main 1
]]

--- Waits until the server says so.
local function until_server(world, server, command, is_so, what)
  world:drive(function() return is_so(world:run(server, command)) end, what)
end

local function start_pair(world, n_sentinels)
  local master = servers.start {}
  local replica = servers.start { args = { "--replicaof", "127.0.0.1 " .. master.port } }
  until_server(world, master, { "ROLE" }, function(role) return #role[3] == 1 end, "the replica")
  local sentinels = {}
  for i = 1, n_sentinels do
    sentinels[i] = servers.start { sentinel = SENTINEL:format(master.port, n_sentinels > 1 and 2 or 1) }
    sentinels[i].is_tcp = true
  end
  for _, sentinel in ipairs(sentinels) do
    until_server(world, sentinel, { "SENTINEL", "REPLICAS", "main" }, function(list) return #list == 1 end, "Sentinel")
    until_server(world, sentinel, { "SENTINEL", "SENTINELS", "main" },
      function(list) return #list == n_sentinels - 1 end, "its likes")
  end
  return master, replica, sentinels
end

describe("a store in a Redis that Sentinels know", function()
  it("follows the fail-over, and hears of what others commit there", spec(function(world)
    local master, replica, sentinels = start_pair(world, 1)
    local addresses = { "127.0.0.1:" .. sentinels[1].port }
    local store = world:open(nil, { sentinel = { master = "main", addresses = addresses } })
    local other = world:open(nil, { url = ("redis+sentinel://%s/main/0"):format(addresses[1]) })
    local heard = {}
    other:watch(function(version) heard[#heard + 1] = version end)
    for version = 1, 5 do world:ask(store, "commit", pair(version)) end
    world:drive(function() return heard[#heard] == 5 end, "version 5")
    until_server(world, replica, { "HGET", "{veloflux}:meta", "version" }, function(text) return text == "5" end,
      "the copy of version 5")
    master.process:kill()
    local done
    store:commit(pair(6), function(err) done = err and err.message or "done" end)
    world:drive(function()
      if done and done ~= "done" then -- it had not been sent: nothing of it is anywhere
        done = nil
        store:commit(pair(6), function(err) done = err and err.message or "done" end)
      end
      return done == "done"
    end, "the new master")
    assert.equal("master", world:run(replica, { "ROLE" })[1])
    assert.equal(6, world:check_whole(store))
    world:drive(function() return heard[#heard] == 6 end, "version 6")
  end))

  it("asks the next Sentinel when one is gone, and says who knows nothing", spec(function(world)
    local master = servers.start {}
    local sentinel = servers.start { sentinel = SENTINEL:format(master.port, 1), args = { "--requirepass", "s3cret" } }
    local gone = servers.start {}
    gone.process:kill()
    local settings = { sentinel = { master = "main", password = "s3cret", addresses = { "127.0.0.1:" .. gone.port,
      "127.0.0.1:" .. sentinel.port } } }
    local store = world:open(nil, settings)
    assert.equal(0, world:ask(store, "load").version)
    settings.sentinel.master = "other"
    local err = world:call(world:open(nil, settings), "load")
    assert.equal("unavailable", err.code)
    assert.equal(('redis 127.0.0.1:%d: knows no master "other"'):format(sentinel.port), err.message)
    settings.sentinel.password = "wrong"
    assert.matches("AUTH: WRONGPASS", world:call(world:open(nil, settings), "load").message)
  end))
end)

describe("a store in a cluster of Redis", function()
  --- Starts nodes of which the first has all slots but those of the others.
  local function start_cluster(world, n)
    local nodes = {}
    for i = 1, n do
      local bus = ports.reserve() -- and not the port 10,000 above, which somebody may have
      nodes[i] = servers.start { args = { "--cluster-enabled", "yes", "--cluster-port", tostring(bus),
        "--cluster-node-timeout", "60000" } }
      nodes[i].bus = bus
      local from, to = math.floor((i - 1) * SLOTS / n), math.floor(i * SLOTS / n) - 1
      world:run(nodes[i], { "CLUSTER", "ADDSLOTSRANGE", from, to }, { "CLUSTER", "SET-CONFIG-EPOCH", i })
    end
    for i = 2, n do world:run(nodes[1], { "CLUSTER", "MEET", "127.0.0.1", nodes[i].port, nodes[i].bus }) end
    for _, node in ipairs(nodes) do
      until_server(world, node, { "CLUSTER", "INFO" }, function(text)
        return text:find "cluster_state:ok" and text:find("cluster_known_nodes:" .. n)
          and text:find("cluster_slots_assigned:" .. SLOTS)
      end, "the cluster")
    end
    return nodes
  end

  local function owner_of(world, nodes, slot)
    for i, node in ipairs(nodes) do
      local range = world:run(node, { "CLUSTER", "NODES" }):match "myself[^\n]* connected ([^\n]*)"
      for from, to in (range or ""):gmatch "(%d+)%-?(%d*)" do
        if slot >= tonumber(from) and slot <= (tonumber(to) or tonumber(from)) then return node, i end
      end
    end
  end

  local function id_of(world, node) return world:run(node, { "CLUSTER", "MYID" }) end

  it("finds the node that has its slot, whichever it asks first", spec(function(world)
    local nodes = start_cluster(world, 3)
    local list = {}
    for i, node in ipairs(nodes) do list[i] = "127.0.0.1:" .. node.port end
    local heard = {}
    local other = world:open(nil, { cluster = list })
    other:watch(function(version) heard[#heard + 1] = version end)
    world:ask(other, "load")
    for version, node in ipairs(nodes) do
      local store = world:open(nil, { url = "redis+cluster://127.0.0.1:" .. node.port })
      world:ask(store, "commit", pair(version))
      assert.equal(version, world:check_whole(store))
    end
    world:drive(function() return heard[#heard] == 3 end, "version 3")
    for _, node in ipairs(nodes) do
      local keys = #world:run(node, { "KEYS", "*" })
      local slot = world:run(node, { "CLUSTER", "KEYSLOT", "{veloflux}:meta" })
      assert.equal(owner_of(world, nodes, slot) == node, keys > 0)
    end
  end))

  it("goes along when its slot moves, and asks there meanwhile", spec(function(world)
    local nodes = start_cluster(world, 2)
    local store = world:open(nil, { cluster = { "127.0.0.1:" .. nodes[1].port } })
    for version = 1, 3 do world:ask(store, "commit", pair(version)) end
    world:ask(store, "put", "b", "k", "v", nil)
    local slot = world:run(nodes[1], { "CLUSTER", "KEYSLOT", "{veloflux}:meta" })
    local from, at = owner_of(world, nodes, slot)
    local to = nodes[3 - at]
    world:run(to, { "CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(world, from) })
    world:run(from, { "CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(world, to) })
    local keys = world:run(from, { "CLUSTER", "GETKEYSINSLOT", slot, 100 })
    for _, key in ipairs(keys) do world:run(from, { "MIGRATE", "127.0.0.1", to.port, key, 0, 10000 }) end
    assert.equal("v", world:ask(store, "get", "b", "k")) -- by ASK
    local done = {} -- what needs several keys waits until they are all there
    for version = 4, 5 do
      store:commit(pair(version), function(err) done[version] = err and err.message or true end)
    end
    world:ask(world:open(nil, { cluster = { "127.0.0.1:" .. to.port } }), "get", "b", "k")
    world:drive(function() return store:status().error end, "a refusal")
    assert.matches("TRYAGAIN", store:status().error)
    world:run(to, { "CLUSTER", "SETSLOT", slot, "NODE", id_of(world, to) })
    world:run(from, { "CLUSTER", "SETSLOT", slot, "NODE", id_of(world, to) })
    world:drive(function() return done[4] and done[5] end, "the commits")
    assert.same({ [4] = true, [5] = true }, done)
    assert.equal(5, world:check_whole(store))
    assert.equal("v", world:ask(store, "get", "b", "k"))
  end))
end)

--- Several nodes that share a Redis act as one: what one takes all serve, one leads, and what was acknowledged survives
-- whatever happens to nodes, to Redis and to the wire between them.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local clusters = require "support.cluster"
local loop = require "support.loop"
local plugins = require "support.plugins"
local relays = require "support.relay"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"
local worlds = require "unit.store.redis.fixture"

local function route(name, body)
  return { name = name, path = "/" .. name, respond = { status = 200, body = body or name } }
end

local function create(node, name)
  local response = node:call("POST", "/api/routes", route(name))
  assert.equal(201, response.status, response.body)
  return tonumber(response:get "VeloFlux-Version")
end

local function names_of(node)
  local names = {}
  for _, each in ipairs(node:get "/api/routes") do names[each.name] = true end
  return names
end

local function note(...) io.stderr:write(("cluster: " .. select(1, ...)):format(select(2, ...)), "\n") end

local function describe_times(what, times)
  table.sort(times)
  note("%s: median %.0f ms, worst %.0f ms of %d", what, times[math.ceil(#times / 2)], times[#times], #times)
end

--- Awaits that all nodes have the same routes, and returns them.
local function converged(cluster)
  return children.eventually("all nodes to have the same", function()
    local first = names_of(cluster.nodes[1])
    for _, node in ipairs(cluster.nodes) do
      local names = names_of(node)
      for name in pairs(first) do
        if not names[name] then return nil end
      end
      for name in pairs(names) do
        if not first[name] then return nil end
      end
    end
    return first
  end)
end

local function assert_has_all(names, acknowledged)
  for _, name in ipairs(acknowledged) do assert.is_true(names[name], name .. " was acknowledged and is lost") end
end

--- Returns a writer that makes routes at a node until `stop.now`, and notes those that were acknowledged.
local function writer(node, prefix, stop, acknowledged)
  return function()
    local i = 0
    while not stop.now do
      i = i + 1
      local name = prefix .. i
      local response = node:call("POST", "/api/routes", route(name))
      if response.status == 201 or response.status == 202 then
        acknowledged[#acknowledged + 1] = name
      else
        assert.equal(503, response.status, response.body)
        assert.equal("unavailable", response.json.code)
        children.pause(20)
      end
    end
  end
end

--- Makes a route at the first node and awaits that all serve it.
local function arrives(cluster, name)
  create(cluster.nodes[1], name)
  for _, node in ipairs(cluster.nodes) do
    children.eventually(node.id .. " to serve " .. name, function() return node:serves("/" .. name) == name end)
  end
end

describe("a change at any node", function()
  it("is live at all of them, under one version", loop.spec(function()
    local cluster = clusters.start { lease = "20s" } -- nobody is missed for being slow
    local times = {}
    for round = 1, 5 do
      for _, node in ipairs(cluster.nodes) do
        local name = node.id .. round
        local began = uv.hrtime()
        local version = create(node, name)
        for _, other in ipairs(cluster.nodes) do
          children.eventually(other.id .. " to serve it", function() return other:serves("/" .. name) == name end)
        end
        times[#times + 1] = (uv.hrtime() - began) / 1e6
        cluster:await_version(version)
        for _, other in ipairs(cluster.nodes) do
          assert.equal(('"%d"'):format(version), other:call("GET", "/api/routes/" .. name):get "ETag")
        end
      end
    end
    describe_times("from POST to live at three nodes", times)
    local leader, seen = cluster:leader(), 0
    for _, node in ipairs(cluster.nodes) do
      local shown = node:get "/api/cluster"
      assert.is_true(shown.enabled)
      assert.equal(3, shown.node_count)
      assert.equal(leader.id, shown.leader)
      assert.equal(node.id, shown.local_node)
      seen = seen + (shown.is_leader and 1 or 0)
      for _, each in ipairs(shown.nodes) do
        assert.equal("healthy", each.status)
        assert.equal(each.id == leader.id and "leader" or "follower", each.role)
      end
      local health = node:get "/health"
      assert.is_true(health.components.cluster.ok, health.components.cluster.message)
      assert.equal("redis", health.components.store.driver)
      local metrics = clients.get(node.server.ports.admin, "/metrics").body
      assert.matches("\nveloflux_cluster_nodes_up 3\n", metrics)
      assert.matches("\nveloflux_store_up 1\n", metrics)
    end
    assert.equal(1, seen)
    cluster:stop()
  end))

  it("is answered when all serve it, for who waits for that", loop.spec(function()
    local cluster = clusters.start { lease = "20s", configure = function(node)
      if node.id == "c" then node.routes = { route("clash", "of the file") } end
    end }
    local a, c = cluster.nodes[1], cluster.nodes[3]
    local response = a:call("POST", "/api/routes?wait=cluster", route "w")
    assert.equal(201, response.status, response.body)
    for _, node in ipairs(cluster.nodes) do assert.equal("w", node:serves "/w") end
    local bulk = { operations = { { action = "add", kind = "routes", data = route "b1" } } }
    response = a:call("POST", "/api/bulk?wait=cluster", bulk)
    assert.equal(200, response.status, response.body)
    for _, node in ipairs(cluster.nodes) do assert.equal("b1", node:serves "/b1") end
    response = a:call("POST", "/api/config/import?wait=cluster", { routes = { route "i1" } })
    assert.equal(200, response.status, response.body)
    for _, node in ipairs(cluster.nodes) do assert.equal("i1", node:serves "/i1") end
    local back = ("/api/config/versions/%d/rollback?wait=cluster"):format(response:get "VeloFlux-Version" - 1)
    assert.equal(200, a:call("POST", back).status)
    for _, node in ipairs(cluster.nodes) do assert.is_nil(node:serves "/i1") end
    assert.equal(200, a:call("POST", "/api/reload?wait=cluster").status)
    local version = a:get("/api/cluster").store_version
    for _, node in ipairs(cluster.nodes) do assert.equal(version, node:get("/api/cluster").config_version) end
    assert.equal(400, a:call("POST", "/api/routes?wait=all", route "x").status)
    assert.equal(400, a:call("GET", "/api/routes?wait=cluster").status)
    -- one that a node cannot serve: it stays behind, and says so
    response = a:call("POST", "/api/routes?wait=cluster", route "clash")
    assert.equal(202, response.status)
    assert.equal("c", response:get "VeloFlux-Lagging-Nodes")
    assert.equal("of the file", c:serves "/clash")
    local component = c:get("/health").components.cluster
    assert.is_false(component.ok)
    assert.matches("already taken", component.message)
    children.eventually("a to hear that c is behind", function()
      local shown = a:get("/api/cluster").nodes[3]
      return shown.status == "behind" and shown.reason:find "already taken"
    end)
    assert.equal(409, c:call("POST", "/api/routes", route "y").status)
    response = c:call("DELETE", "/api/routes/clash?wait=cluster") -- of the file, for c
    assert.equal(409, response.status)
    response = a:call("DELETE", "/api/routes/clash?wait=cluster")
    assert.equal(204, response.status)
    assert.is_true(c:get("/health").components.cluster.ok)
    -- the same from the command line
    local file = tempdir.new() .. "/clash.json"
    local function ctl(...)
      return servers.command { "ctl", "--address", "127.0.0.1:" .. a.server.ports.admin, ... }
    end
    tempdir.write(file, cjson.encode { routes = { route "clash" } })
    local code, _, err = ctl("apply", "-f", file, "--wait")
    assert.equal(4, code)
    assert.equal("veloflux ctl: not served yet by c", err)
    local _, out = ctl "cluster"
    assert.matches("\nc +follower +behind ", out)
    assert.matches("\nc: api:routes/default/clash: .*already taken", out)
    assert.equal(0, (ctl("delete", "routes", "clash", "--wait")))
    create(c, "y")
    cluster:stop()
  end))

  it("holds against changes at others at the same time", loop.spec(function()
    local cluster = clusters.start { nodes = 2 }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    local before = a:get("/api/cluster").store_version
    local acknowledged = {}
    local function many(node, prefix)
      return function()
        for i = 1, 25 do
          create(node, prefix .. i)
          acknowledged[#acknowledged + 1] = prefix .. i
        end
      end
    end
    clients.together(many(a, "a"), many(b, "b"), many(a, "c"))
    assert.equal(75, #acknowledged)
    assert_has_all(converged(cluster), acknowledged)
    assert.equal(before + 75, a:get("/api/cluster").store_version)
    local rebased = 0
    for _, node in ipairs(cluster.nodes) do
      local metrics = clients.get(node.server.ports.admin, "/metrics").body
      rebased = rebased + tonumber(metrics:match "\nveloflux_cluster_rebased_total (%d+)")
    end
    note("75 changes at two nodes at once: %d were made anew", rebased)
    -- who names a version gets 412 when the other was first
    local statuses = {}
    local tag = a:call("GET", "/api/routes/a1"):get "ETag"
    local function put(node)
      return function()
        local response = node:call("PUT", "/api/routes/a1", { respond = { status = 200, body = node.id } },
          { ["If-Match"] = tag })
        table.insert(statuses, response.status)
      end
    end
    clients.together(put(a), put(b))
    table.sort(statuses)
    assert.same({ 200, 412 }, statuses)
    cluster:stop()
  end))
end)

describe("a node of several", function()
  it("goes on with the others through reloads, upgrades and the death of its control", loop.spec(function()
    local cluster = clusters.start { configure = function(node) node.routes = { route("own", node.id) } end }
    local a, b, c = unpack(cluster.nodes)
    arrives(cluster, "one")
    b.routes = { route("own", "b, reloaded") }
    b.server:write_conf(b:conf())
    assert.is_true(b.server:reload())
    assert.equal("b, reloaded", b:serves "/own")
    assert.equal("a", a:serves "/own")
    arrives(cluster, "two")
    c.server:signal "sigusr2"
    c.server:wait_log "upgrade%.done"
    arrives(cluster, "three")
    local from = #b.server:log_lines() + 1
    assert(uv.kill(children.of(b.server.pid).control[1], "sigkill"))
    b.server:wait_log("control%.started", from)
    arrives(cluster, "four")
    create(b, "five")
    create(c, "six")
    local names = converged(cluster)
    assert_has_all(names, { "own", "one", "two", "three", "four", "five", "six" })
    local shown = a:get "/api/cluster"
    cluster:await_version(shown.store_version)
    for _, node in ipairs(cluster.nodes) do
      assert.equal(shown.store_version, node:get("/api/cluster").config_version)
    end
    assert.is_not.equal(shown.nodes[1].file_digest, shown.nodes[2].file_digest)
    cluster:stop()
  end))

  it("stays behind when it has not the key of the others' secrets", loop.spec(function()
    local cluster = clusters.start { nodes = 2, configure = function(node)
      if node.id == "b" then node.key = ("another "):rep(4) end
    end }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    arrives(cluster, "before")
    local consumer = { name = "ann", credentials = { { type = "key-auth", key = "a-secret-key" } } }
    local response = a:call("POST", "/api/consumers?wait=cluster", consumer)
    assert.equal(202, response.status, response.body)
    assert.equal("b", response:get "VeloFlux-Lagging-Nodes")
    assert.matches("key", b:get("/health").components.cluster.message)
    assert.equal("before", b:serves "/before")
    assert.equal(204, a:call("DELETE", "/api/consumers/ann?wait=cluster").status)
    assert.is_true(b:get("/health").components.cluster.ok)
    cluster:stop()
  end))
end)

describe("an empty store", function()
  it("is filled once by nodes that start at the same time", loop.spec(function()
    local cluster = clusters.start { is_parallel = true, configure = function(node)
      node.entities, node.routes = "seed", { route("of-" .. node.id) }
    end }
    local names = converged(cluster)
    local seeds = 0
    for name in pairs(names) do seeds = seeds + (name:find "^of%-" and 1 or 0) end
    assert.equal(1, seeds)
    arrives(cluster, "more")
    cluster:stop()
  end))

  it("that was full gets back what nodes have", loop.spec(function()
    local cluster = clusters.start {}
    for _, node in ipairs(cluster.nodes) do create(node, "of-" .. node.id) end
    cluster:await_version(cluster.nodes[1]:get("/api/cluster").store_version)
    local version = cluster.nodes[3]:get("/api/cluster").store_version
    cluster:stop_redis()
    cluster.redis.dir = nil -- what it had on its disk is gone
    cluster:start_redis()
    for _, node in ipairs(cluster.nodes) do
      children.eventually("the store of " .. node.id, function() return node:get("/health").components.store.ok end)
    end
    arrives(cluster, "more")
    assert_has_all(converged(cluster), { "of-a", "of-b", "of-c", "more" })
    assert.is_true(cluster.nodes[1]:get("/api/cluster").store_version > version)
    cluster.nodes[2]:stop() -- one that starts finds it there
    cluster.nodes[2]:start()
    assert.equal("of-c", cluster.nodes[2]:serves "/of-c")
    cluster:stop()
  end))
end)

describe("the leader", function()
  it("is another soon after it was killed, under a higher token, and its own is refused", loop.spec(function()
    local cluster = clusters.start {}
    local function term_of(node)
      for _, each in ipairs(node:get("/api/cluster").nodes) do
        if each.id == node.id then return each.term end
      end
    end
    local old = cluster:leader()
    local term = term_of(old)
    local rest = {}
    for _, node in ipairs(cluster.nodes) do
      if node ~= old then rest[#rest + 1] = node end
    end
    old:kill()
    local began = uv.hrtime()
    local new = cluster:leader(rest, old.id)
    note("leader killed: another after %.0f ms, with leases of %s", (uv.hrtime() - began) / 1e6, cluster.lease)
    for _, node in ipairs(rest) do
      children.eventually("the dead to be missed", function()
        for _, each in ipairs(node:get("/api/cluster").nodes) do
          if each.id == old.id then return each.status == "unreachable" end
          if each.id == new.id then assert.is_true(each.term > term) end
        end
      end)
    end
    -- what the old one had begun is refused, what the new one does is not
    local world = worlds.new()
    local store = world:open(cluster.redis)
    local version = world:ask(store, "load").version + 1
    local function change(token)
      return { version = version, time_ms = 1, source = "api", fence = { name = "leader", token = token },
        puts = { { kind = "routes", key = "default/fenced", json = cjson.encode(route "fenced") } } }
    end
    assert.equal("fenced", world:call(store, "commit", change(term)).code)
    children.eventually("the leader's change to be taken", function() -- whoever leads now
      local held = term_of(cluster:leader(rest, old.id))
      assert.is_true(held > term)
      local refused = world:call(store, "commit", change(held))
      if refused then assert.equal("fenced", refused.code) end
      return not refused
    end)
    world:finish()
    cluster:await_version(version, rest)
    assert.equal("fenced", rest[1]:serves "/fenced")
    create(rest[1], "after")
    cluster:await_version(rest[1]:get("/api/cluster").store_version, rest)
    old:start()
    cluster:await_nodes(3)
    assert.equal("after", old:serves "/after")
    cluster:stop()
  end))

  it("gives its lease back when it ends in order, before it has drained", loop.spec(function()
    local cluster = clusters.start { nodes = 2, lease = "1m" }
    local silent = relays.start(cluster.redis.port)
    silent:freeze()
    local pool = { name = "silent", backends = { { address = "127.0.0.1:" .. silent.port } } }
    assert.equal(201, cluster.nodes[1]:call("POST", "/api/pools", pool).status)
    local hang = { name = "hang", path = "/hang", pool = "silent" }
    assert.equal(201, cluster.nodes[1]:call("POST", "/api/routes?wait=cluster", hang).status)
    local old = cluster:leader()
    local other = cluster.nodes[1] == old and cluster.nodes[2] or cluster.nodes[1]
    local slow = clients.connect(old.server.ports.http)
    slow:request("GET", "/hang") -- keeps it draining
    children.eventually("the request to be under way", function()
      return old:get("/api/status").traffic.exchanges > 0
    end)
    old.server:signal "sigterm"
    children.eventually("the other to hear that it drains", function()
      for _, each in ipairs(other:get("/api/cluster").nodes) do
        if each.id == old.id then return each.status == "draining" end
      end
    end)
    assert.equal(other, cluster:leader({ other }, old.id)) -- within the minute that a spec has
    assert.is_nil(old.server.process.exited)
    slow:close()
    old:stop()
    other:stop()
  end))

  it("alone runs the jobs of the cluster, and another goes on with them", loop.spec(function()
    local folder = plugins.write { x = {
      entities = "return { { kind = 'counters', schema = { n = { type = 'integer', default = 0 } } } }",
      jobs = [[
local pdk = require "veloflux.pdk"
return { { name = "count", every = 0.1, scope = "cluster", run = function()
  local it = pdk.model.find("counters", "one")
  if not it then return end
  local done, problem = pdk.transaction.apply { { op = "merge", kind = "counters", name = "one",
    value = { n = it.n + 1 } } }
  assert(done, problem and problem.detail)
end } }
]] } }
    local cluster = clusters.start { configure = function(node) node.plugin_path = { folder } end }
    local made = cluster.nodes[1]:call("POST", "/api/counters?wait=cluster", { name = "one" })
    assert.equal(201, made.status, made.body)
    local first = tonumber(made:get "VeloFlux-Version")
    local function count_at(node) return node:get("/api/counters/one").n end
    local function await_count(node, least)
      return children.eventually(node.id .. " to count", function()
        local n = count_at(node)
        return n >= least and n
      end)
    end
    for _, node in ipairs(cluster.nodes) do await_count(node, 3) end
    local old = cluster:leader()
    local rest = {}
    for _, node in ipairs(cluster.nodes) do
      if node ~= old then rest[#rest + 1] = node end
    end
    old.relay:freeze()
    local n = count_at(rest[1])
    cluster:leader(rest, old.id)
    for _, node in ipairs(rest) do await_count(node, n + 3) end
    old.relay:heal()
    cluster:await_nodes(3)
    await_count(old, n + 3)
    -- each version counted by one: nobody counted beside the leader (it goes on meanwhile)
    local least = count_at(rest[1])
    local last = rest[1]:get("/api/config/versions?limit=1")[1].version
    cluster:await_version(last, { rest[1] })
    assert.is_true(least <= last - first and last - first <= count_at(rest[1]), last - first .. " versions")
    cluster:stop()
  end))

  it("is no leader any more when another is, cut off or not", loop.spec(function()
    local cluster = clusters.start {}
    local old = cluster:leader()
    old.relay:freeze()
    local rest = {}
    for _, node in ipairs(cluster.nodes) do
      if node ~= old then rest[#rest + 1] = node end
    end
    cluster:leader(rest, old.id)
    assert.is_false(old:get("/api/cluster").is_leader)
    old.relay:heal()
    cluster:await_nodes(3)
    cluster:leader()
    cluster:stop()
  end))
end)

describe("a leader that stood still", function()
  it("does not lead when it goes on", loop.spec(function()
    local cluster = clusters.start { lease = "1s" }
    local old = cluster:leader()
    local rest = {}
    for _, node in ipairs(cluster.nodes) do
      if node ~= old then rest[#rest + 1] = node end
    end
    local pid = children.of(old.server.pid).control[1]
    assert(uv.kill(pid, "sigstop"))
    cluster:leader(rest, old.id)
    assert(uv.kill(pid, "sigcont"))
    assert.is_false(old:get("/api/cluster").is_leader)
    cluster:await_nodes(3)
    arrives(cluster, "after")
    cluster:stop()
  end))
end)

describe("a cluster to which everything happens", function()
  it("loses nothing that was acknowledged", loop.spec(function()
    local cluster = clusters.start { lease = "1s" }
    local a, b, c = unpack(cluster.nodes)
    local stop, acknowledged = {}, {}
    local function kill_control(node)
      local pid = children.of(node.server.pid).control[1]
      if pid then uv.kill(pid, "sigkill") end
    end
    local happens = {
      function() a.relay:freeze() end,
      function() kill_control(b) end,
      function() cluster:stop_redis() end,
      function() kill_control(c) end,
      function() a.relay:heal() end,
      function() cluster:start_redis() end,
      function() c.server:signal "sigusr2" end,
      function() b.relay:cut() end,
      function() a.server:signal "sighup" end,
      function() kill_control(b) end,
      function() b.relay:heal() end,
      function() a.server:signal "sigusr2" end,
      function() kill_control(c) end,
    }
    local n_asked = 0
    local function events()
      for _, event in ipairs(happens) do
        event()
        local n = n_asked
        children.eventually("some changes to be tried", function() return n_asked > n + 15 end)
      end
      stop.now = true
    end
    --- As `writer`, of a control that may die: then nobody knows.
    local function persistent(node, prefix)
      return function()
        local i = 0
        while not stop.now do
          i = i + 1
          local name = prefix .. i
          local ok, response = pcall(node.call, node, "POST", "/api/routes", route(name))
          n_asked = n_asked + 1
          if ok and (response.status == 201 or response.status == 202) then
            acknowledged[#acknowledged + 1] = name
          else
            children.pause(5)
          end
        end
      end
    end
    clients.together(events, persistent(a, "a"), persistent(b, "b"), persistent(c, "c"), persistent(c, "d"))
    children.eventually("all nodes to serve the same", function() return cluster:version() end)
    for _, node in ipairs(cluster.nodes) do assert_has_all(names_of(node), acknowledged) end
    note("%d changes acknowledged while everything happened: all there", #acknowledged)
    cluster:stop()
  end))
end)

describe("a node without its Redis", function()
  it("serves, refuses changes, and follows when it is back; nothing acknowledged is lost", loop.spec(function()
    local cluster = clusters.start {}
    local c = cluster.nodes[3]
    create(c, "before")
    local stop, acknowledged = {}, {}
    local function partition()
      for _, how in ipairs { "freeze", "cut" } do
        c.relay[how](c.relay)
        local refused = children.eventually("c to refuse", function()
          local response = c:call("POST", "/api/routes", route("while-" .. how))
          if response.status == 201 then table.insert(acknowledged, "while-" .. how) end
          return response.status == 503 and response
        end)
        assert.equal("application/problem+json", refused:get "Content-Type")
        assert.equal("unavailable", refused.json.code)
        assert.equal("before", c:serves "/before")
        assert.is_true(names_of(c).before)
        children.eventually("c to say that it is cut off", function()
          return not c:get("/health").components.store.ok and not c:get("/health").components.cluster.ok
        end)
        assert.equal(200, c:call("GET", "/ready").status)
        local n = #acknowledged
        children.eventually("the others to go on", function() return #acknowledged > n + 5 end)
        c.relay:heal()
        cluster:await_nodes(3)
      end
      stop.now = true
    end
    clients.together(partition, writer(cluster.nodes[1], "a", stop, acknowledged),
      writer(cluster.nodes[2], "b", stop, acknowledged), writer(c, "c", stop, acknowledged))
    assert_has_all(converged(cluster), acknowledged)
    note("%d changes acknowledged while a node was cut off twice: all there", #acknowledged)
    cluster:stop()
  end))

  it("starts with what it served last", loop.spec(function()
    local cluster = clusters.start { nodes = 2 }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    create(a, "one")
    cluster:await_version(a:get("/api/cluster").store_version)
    b:stop()
    b.relay:cut()
    create(a, "two")
    b:start()
    assert.equal("one", b:serves "/one")
    assert.is_nil(b:serves "/two")
    assert.equal(503, b:call("POST", "/api/routes", route "three").status)
    assert.is_false(b:get("/health").components.store.ok)
    b.relay:heal()
    children.eventually("b to follow", function() return b:serves "/two" == "two" end)
    create(b, "three")
    cluster:stop()
  end))

  it("is no reason to lose a request or a change when Redis itself ends and comes back", loop.spec(function()
    local cluster = clusters.start {}
    local stop, acknowledged = {}, {}
    create(cluster.nodes[1], "site")
    cluster:await_version(cluster.nodes[1]:get("/api/cluster").store_version)
    local function traffic()
      while not stop.now do
        for _, node in ipairs(cluster.nodes) do assert.equal("site", node:serves "/site") end
      end
    end
    local function redis()
      for _ = 1, 2 do
        local n = #acknowledged
        children.eventually("some changes", function() return #acknowledged > n + 5 end)
        cluster:stop_redis()
        for _, node in ipairs(cluster.nodes) do
          children.eventually("a node to notice", function() return not node:get("/health").components.store.ok end)
        end
        cluster:start_redis()
        cluster:await_nodes(3)
      end
      stop.now = true
    end
    local writers = {}
    for i, node in ipairs(cluster.nodes) do writers[i] = writer(node, node.id, stop, acknowledged) end
    clients.together(redis, traffic, unpack(writers))
    assert_has_all(converged(cluster), acknowledged)
    note("%d changes acknowledged while Redis was killed twice: all there", #acknowledged)
    cluster:stop()
  end))
end)

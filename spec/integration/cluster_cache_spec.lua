--- pdk.cache of the nodes of a cluster: what one invalidates the others forget, and when Redis is away each goes on.
local children = require "support.children"
local clusters = require "support.cluster"
local loop = require "support.loop"
local plugins = require "support.plugins"
local scripted = require "support.scripted"
local uv = require "luv"

local GET = [[ return pdk.cache:get("k", { ttl = 0 }, function() return pdk.shared:incr("n", 1, 0) end) ]]
local VOID = [[ pdk.cache:invalidate "k" ]]

--- Starts nodes of two workers whose route /script runs scripts.
local function start(n)
  local folder = plugins.write { script = scripted.plugin() }
  local cluster = clusters.start { nodes = n, configure = function(node)
    node.plugin_path, node.workers = { folder }, 2
    node.routes = { { name = "script", path_prefix = "/script", respond = { body = "none" },
      plugins = { { name = "script" } } } }
  end }
  return cluster
end

local function connect(node) return scripted.connect(node.server.ports.http, "/script") end

--- Returns a connection to each of the two workers of a node.
local function workers(node)
  local first = connect(node)
  return first, children.eventually("the other worker", function()
    local other = connect(node)
    if other.pid ~= first.pid then return other end
    other:close()
  end)
end

local function forgets(connection, known)
  return function() return connection:run(GET)[1] ~= known end
end

describe("pdk.cache in a cluster", function()
  it("forgets at all nodes what one invalidates", loop.spec(function()
    local cluster = start(3)
    local a, b, c = unpack(cluster.nodes)
    local of_a, of_c = connect(a), connect(c)
    local first, second = workers(b)
    assert.equal(1, of_a:run(GET)[1])
    assert.equal(1, first:run(GET)[1])
    assert.same({ 1, nil, 2 }, second:run(GET))
    assert.same({ 1, nil, 1 }, second:run(GET))
    assert.equal(1, of_c:run(GET)[1])
    of_a:run(VOID)
    assert.same({ 2, nil, 3 }, of_a:run(GET)) -- here at once
    children.eventually("b to forget", forgets(first, 1))
    assert.equal(2, second:run(GET)[1])
    children.eventually("c to forget", forgets(of_c, 1))
    assert.same({ 2, nil, 1 }, of_a:run(GET)) -- its own news do not come back
    of_c:run [[ pdk.cache:invalidate_local "k" ]]
    of_c:run [[ pdk.cache:invalidate "other" ]]
    of_c:run [[ pdk.cache:get("mark", nil, function() return 1 end) ]]
    of_a:run [[ pdk.cache:invalidate "mark" ]]
    children.eventually("c to hear what came after", function()
      return of_c:run [[ return pdk.cache:probe "mark" ]][1] == nil
    end)
    assert.same({ 2, nil, 1 }, of_a:run(GET)) -- invalidate_local stays where it is
    cluster:stop()
  end))

  it("goes on without Redis, says so once, and makes up for it", loop.spec(function()
    local cluster = start(2)
    local a, b = unpack(cluster.nodes)
    local of_a, of_b = connect(a), connect(b)
    assert.equal(1, of_a:run(GET)[1])
    assert.equal(1, of_b:run(GET)[1])
    cluster:stop_redis()
    for i = 2, 4 do
      of_a:run(VOID)
      assert.equal(i, of_a:run(GET)[1])
    end
    a.server:wait_log "cache%.unheard"
    assert.same({ 1, nil, 1 }, of_b:run(GET))
    cluster:start_redis()
    children.eventually("b to forget", forgets(of_b, 1))
    a.server:wait_log "cache%.heard"
    cluster:stop()
    local n = 0
    for _, line in ipairs(a.server:log_lines()) do n = n + (line:find "cache%.unheard" and 1 or 0) end
    assert.equal(1, n)
  end))

  it("forgets what was invalidated while its control was away", loop.spec(function()
    local cluster = start(3)
    local a, b, c = unpack(cluster.nodes)
    local of_a, of_b, of_c = connect(a), connect(b), connect(c)
    for _, each in ipairs { of_a, of_b, of_c } do assert.equal(1, each:run(GET)[1]) end
    b.relay:cut()
    of_a:run(VOID)
    children.eventually("c to forget", forgets(of_c, 1))
    uv.kill(children.of(b.server.pid).control[1], "sigkill")
    b.relay:heal()
    children.eventually("b to forget", forgets(of_b, 1))
    cluster:stop()
  end))
end)

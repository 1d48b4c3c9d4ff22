--- The promises under stress: nobody's request is lost to a change, no tunnel is cut, no count is lost.
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local servers = require "support.server"
local stream = require "support.stream"
local tempdir = require "support.tempdir"
local traffics = require "support.traffic"

local PATIENCE = { timeout_ms = 10 * loop.WATCHDOG_MS }

local function conf_for(origin, changes)
  local conf = {
    workers = 2,
    pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
    routes = { { name = "all", pool = "web" } },
    log = { level = "info", format = "text", access = { path = "off" } },
    -- long enough for a client between two requests: it is told to close instead of being cut off
    timeouts = { drain = "20s", drain_idle = "20s", drain_long = "1h" },
  }
  for key, value in pairs(changes or {}) do conf[key] = value end
  return conf
end

-- Reloads and awaits that it is live.
local function reload(server, conf)
  server:write_conf(conf)
  local from = #server:log_lines() + 1
  server:signal "sighup"
  local _, outcome = server:wait_log("reload%.(%a+)", from)
  assert.equal("done", outcome)
end

-- The sum over all samples of a metric whose labels match a pattern.
local function metric(server, name, labels)
  local sum = 0
  for line in clients.get(server.ports.admin, "/metrics").body:gmatch "[^\n]+" do
    local found, value = line:match "^([%w_]+)%b{} (%S+)$"
    found = found or line:match "^([%w_]+) "
    if found == name and line:find(labels or "") then sum = sum + tonumber(value or line:match " (%S+)$") end
  end
  return sum
end

-- A backend that switches to an echo of bytes when it is asked to.
local function echo(conn, request)
  if not request:get "upgrade" then return conn:write(origins.response(200)) end
  conn:write "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
  while true do
    local bytes = conn:read_some "tunnel bytes"
    if not bytes then return end
    conn:write(bytes)
  end
end

local function open_tunnel(port)
  local client = clients.connect(port)
  client:request("GET", "/", { Connection = "Upgrade", Upgrade = "echo" })
  assert.equal(101, client:read_head().status)
  return client
end

local function mapped_snapshots(pid)
  local inodes, count = {}, 0
  for line in (tempdir.read(("/proc/%d/maps"):format(pid)) or ""):gmatch "[^\n]+" do
    local inode = line:match "(%d+)%s+/memfd:[%w-]*snapshot"
    if inode and not inodes[inode] then
      inodes[inode] = true
      count = count + 1
    end
  end
  return count
end

describe("under load", function()
  it("500 reloads, with workers and listeners that come and go, fail no request", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_for(origin) }
    local traffic = traffics.start { port = server.ports.http, clients = 4 }
    for i = 1, 500 do
      local changes = { routes = { { name = "all", pool = "web" }, { name = "r" .. i, path = "/r", pool = "web" } } }
      changes.workers = i % 50 < 25 and 2 or 3
      if i % 20 < 10 then
        changes.listeners = { { name = "http", address = "127.0.0.1:0" }, { name = "b", address = "127.0.0.1:0" } }
      end
      reload(server, conf_for(origin, changes))
    end
    traffic:wait_answers(20)
    assert.same({}, traffic:stop())
    assert.is_true(traffic.answers > 500)
    server:stop()
  end, PATIENCE))

  it("an upgrade in place fails no request", loop.spec(function()
    local server = servers.start { conf = conf_for(origins.start()) }
    local traffic = traffics.start { port = server.ports.http, clients = 6 }
    for generation = 2, 6 do
      traffic:wait_answers(100)
      server:signal "sigusr2"
      server:wait_log("upgrade%.done.*generation=" .. generation)
      children.eventually("one generation", function() return children.of(server.pid).count == 4 end)
    end
    traffic:wait_answers(100)
    assert.same({}, traffic:stop())
    server:stop()
  end, PATIENCE))

  it("a killed worker costs its own requests and no more", loop.spec(function()
    local server = servers.start { conf = conf_for(origins.start(), { workers = 3 }) }
    local traffic = traffics.start { port = server.ports.http, clients = 6, per_connection = 1 }
    for _ = 1, 5 do
      traffic:wait_answers(50)
      local from = #server:log_lines() + 1
      uv.kill(children.of(server.pid).worker[1][1], "sigkill")
      server:wait_log("worker%.started.*slot=1", from)
    end
    traffic:wait_answers(50)
    local failures = traffic:stop()
    assert.is_true(#failures <= 5 * 6, #failures .. " failed")
    for _, failure in ipairs(failures) do assert.not_matches("cannot connect", failure) end
    server:stop()
  end, PATIENCE))
end)

-- Connects again and again, without a word, until told to stop or refused: the kernel keeps such clients to itself
-- until they say something (TCP_DEFER_ACCEPT).
local function gather(port)
  local crowd = { clients = {}, has_ended = false, changed = loop.condition() }
  local function visit()
    local connected, client = pcall(clients.connect, port)
    if not connected then return false end
    if crowd.is_enough then client:close() else table.insert(crowd.clients, client) end
    children.pause(#crowd.clients < 200 and 1 or 50) -- no more than can be answered in time
    return not crowd.is_enough
  end
  loop.spawn(function()
    while visit() do end
    crowd.has_ended = true
    crowd.changed:notify()
  end)
  children.eventually("some silent clients", function() return #crowd.clients > 20 end)
  return crowd
end

-- Lets everybody ask now. Returns the number of those who get no right answer, and of all.
local function ask_all(crowd)
  crowd.is_enough = true
  local n_failed = 0
  for _, client in ipairs(crowd.clients) do
    client:request("GET", "/")
    local response = client:read_response()
    if not response or response.status ~= 200 then n_failed = n_failed + 1 end
    client:close()
  end
  return n_failed, #crowd.clients
end

-- Awaits the last try to connect: its packets are dropped while a socket goes, so it may take some seconds.
local function disperse(crowd)
  crowd.changed:wait("the last client", function() return crowd.has_ended end)
end

local function await_refused(port)
  children.eventually("the closed listener", function()
    local conn = stream.connect(port)
    if conn then conn:close() end
    return not conn
  end)
end

describe("clients that have connected and not said a word yet", function()
  local PATIENT = { drain = "1m", drain_idle = "1m" }

  it("are answered when their worker leaves", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_for(origin, { workers = 4, timeouts = PATIENT }) }
    local crowd = gather(server.ports.http)
    reload(server, conf_for(origin, { workers = 1, timeouts = PATIENT }))
    children.eventually("three workers that leave", function()
      return metric(server, "veloflux_process_draining") == 3
    end)
    local n_failed, n_all = ask_all(crowd)
    assert.equal(0, n_failed, ("%d of %d failed"):format(n_failed, n_all))
    disperse(crowd)
    server:stop()
  end, PATIENCE))

  it("are answered when their listener is removed", loop.spec(function()
    local origin = origins.start()
    local http = { name = "http", address = "127.0.0.1:0" }
    local two = { http, { name = "more", address = "127.0.0.1:0" } }
    local server = servers.start { conf = conf_for(origin, { listeners = two }) }
    local port = server.ports.more
    local crowd = gather(port)
    reload(server, conf_for(origin, { listeners = { http } }))
    await_refused(port)
    local n_failed, n_all = ask_all(crowd)
    assert.equal(0, n_failed, ("%d of %d failed"):format(n_failed, n_all))
    disperse(crowd)
    server:stop()
  end, PATIENCE))

  it("are answered when all stops", loop.spec(function()
    local server = servers.start { conf = conf_for(origins.start(), { timeouts = PATIENT }) }
    local crowd = gather(server.ports.http)
    server:signal "sigterm"
    children.eventually("two workers that leave", function()
      return metric(server, "veloflux_process_draining") == 2
    end)
    local n_failed, n_all = ask_all(crowd)
    assert.equal(0, n_failed, ("%d of %d failed"):format(n_failed, n_all))
    assert.equal(0, server.process:wait_exit().code)
    disperse(crowd)
  end, PATIENCE))

  it("are answered by the next binary", loop.spec(function()
    local server = servers.start { conf = conf_for(origins.start(), { timeouts = PATIENT }) }
    local crowd = gather(server.ports.http)
    server:signal "sigusr2"
    server:wait_log "upgrade%.done"
    local n_failed, n_all = ask_all(crowd)
    assert.equal(0, n_failed, ("%d of %d failed"):format(n_failed, n_all))
    disperse(crowd)
    server:stop()
  end, PATIENCE))
end)

describe("control", function()
  it("may be killed in the middle of any reload, and the last one is done", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_for(origin) }
    local traffic = traffics.start { port = server.ports.http }
    for i = 1, 6 do -- each replacement comes later than the one before: it died young
      local answer = { name = "n", path = "/n", respond = { status = 200, body = "body " .. i } }
      server:write_conf(conf_for(origin, { routes = { { name = "all", pool = "web" }, answer } }))
      local from = #server:log_lines() + 1
      local victim = children.of(server.pid).control[1]
      server:signal "sighup"
      if i > 1 then children.pause(i) end
      uv.kill(victim, "sigkill")
      server:wait_log("control%.started", from)
      children.eventually("the new answer", function()
        return clients.get(server.ports.http, "/n").body == "body " .. i
      end)
    end
    assert.same({}, traffic:stop())
    server:stop()
  end, PATIENCE))
end)

describe("1,000 tunnels over 1,000 reloads", function()
  it("all stand, with at most three snapshots mapped", loop.spec(function()
    local origin = origins.start(echo)
    local server = servers.start { conf = conf_for(origin) }
    local tunnels = {}
    local most = 0
    for i = 1, 1000 do
      tunnels[i] = open_tunnel(server.ports.http) -- each begins with a version of its own
      local another = { name = "n" .. i, pool = "web", path = "/n" }
      reload(server, conf_for(origin, { routes = { { name = "all", pool = "web" }, another } }))
      if i % 50 == 0 then
        for _, pids in pairs(children.of(server.pid).worker) do most = math.max(most, mapped_snapshots(pids[1])) end
      end
    end
    assert.is_true(most >= 1 and most <= 3, ("%d snapshots were mapped"):format(most))
    for i, client in ipairs(tunnels) do
      client:send("ping" .. i)
      assert.equal("ping" .. i, client.stream:read_exact(#tostring(i) + 4))
      client:close()
    end
    server:stop()
  end, PATIENCE))
end)

describe("figures", function()
  it("survive kill -9: no count is lost and no gauge leaks", loop.spec(function()
    local has_request, changed = false, loop.condition()
    local origin = origins.start(function(conn, request)
      if request.target ~= "/hang" then return conn:write(origins.response(200)) end
      has_request = true
      changed:notify()
      conn:read_some "nothing"
    end)
    local server = servers.start { conf = conf_for(origin, { workers = 1 }) }
    for _ = 1, 50 do assert.equal(200, clients.get(server.ports.http, "/").status) end
    local hanging = clients.connect(server.ports.http)
    hanging:request("GET", "/hang")
    changed:wait("the hanging request", function() return has_request end)
    local function requests() return metric(server, "veloflux_requests_total") end
    children.eventually("the count of all requests", function() return requests() >= 50 end)
    local before = requests()
    assert.equal(1, metric(server, "veloflux_pool_in_flight"))
    for _ = 1, 3 do
      local from = #server:log_lines() + 1
      uv.kill(children.of(server.pid).worker[1][1], "sigkill")
      server:wait_log("worker%.started.*slot=1", from)
    end
    assert.is_true(requests() >= before)
    assert.equal(0, metric(server, "veloflux_pool_in_flight"))
    assert.equal(0, metric(server, "veloflux_active_connections"))
    assert.equal(200, clients.get(server.ports.http, "/").status)
    children.eventually("one more request", function() return requests() >= before + 1 end)
    server:stop()
  end))
end)

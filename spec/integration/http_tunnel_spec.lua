--- Tunnels behind an upgrade (RFC 9110 section 7.8), as WebSocket makes them.
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
  .. "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
local REQUEST = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
  .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
local LARGE = ("0123456789abcdef"):rep(256 * 1024) -- 4 MiB

-- An origin that switches protocols and hands the connection to `talk`.
local function switching(talk)
  return origins.start(function(conn, request)
    if request:get "upgrade" == nil then return origins.echo(conn, request) end
    conn:write(SWITCH)
    conn.keep_open = true
    talk(conn, request)
  end)
end

local function mirror(conn)
  while true do
    local data = conn:read_some "bytes of the tunnel"
    if not data or not conn:write(data) then break end
  end
  conn:shutdown()
end

local function open(server, ahead)
  local client = clients.connect(server.ports.http)
  client:send(REQUEST .. (ahead or ""))
  local response = client:read_head()
  assert.equal(101, response.status)
  return client, response
end

local function wait_end(conn)
  return conn.changed:wait("the end of " .. conn.name, function() return conn.ended end)
end

describe("a tunnel", function()
  it("is made when the backend agrees, and carries bytes both ways", loop.spec(function()
    local origin = switching(mirror)
    local server = rig.start { origin }
    local client, response = open(server)
    assert.same({ "websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" },
      { response:get "upgrade", response:get "sec-websocket-accept" })
    assert.equal("upgrade", response:get("connection"):lower())
    local request = origin.requests[1]
    assert.same({ "websocket", "13", "upgrade" },
      { request:get "upgrade", request:get "sec-websocket-version", request:get("connection"):lower() })
    for _, text in ipairs { "hello", "\0\255\r\n\r\n", "GET / HTTP/1.1\r\n\r\n" } do
      client:send(text)
      assert.equal(text, client.stream:read_exact(#text))
    end
    client:close()
    wait_end(origin.connections[1])
    local entry = server:wait_access_log(1)[1]
    assert.same({ 101, "/chat" }, { entry.status, entry.path })
    server:stop()
  end))

  it("carries what came together with the heads", loop.spec(function()
    local origin = origins.start(function(conn)
      conn.keep_open = true
      conn:write(SWITCH .. "early")
      mirror(conn)
    end)
    local server = rig.start { origin }
    local client = open(server, "ahead")
    assert.equal("earlyahead", client.stream:read_exact(10))
    client:close()
    server:stop()
  end))

  it("carries much at once, both ways, with back pressure", loop.spec(function()
    local origin = switching(mirror)
    local server = rig.start { origin }
    local client = open(server)
    local echoed
    clients.together(function() client:send(LARGE) end, function() echoed = client.stream:read_exact(#LARGE) end)
    assert.is_true(echoed == LARGE)
    client:close()
    server:stop()
  end))

  it("may be closed by the client for one direction", loop.spec(function()
    local seen
    local origin = switching(function(conn)
      seen = conn:read_rest()
      conn:write(LARGE)
      conn:shutdown()
    end)
    local server = rig.start { origin }
    local client = open(server)
    client:send "last words"
    client:shutdown()
    local rest, ended = client.stream:read_rest()
    assert.same({ "last words", "eof", #LARGE }, { seen, ended, #rest })
    client:close()
    server:stop()
  end))

  it("may be closed by the backend for one direction", loop.spec(function()
    local seen
    local origin = switching(function(conn)
      conn:write "bye"
      conn:shutdown()
      conn:pause()
      children.pause(50) -- the client has said all by then
      conn:resume()
      seen = conn:read_rest()
      conn.done = true
      conn.changed:notify()
    end)
    local server = rig.start { origin }
    local client = open(server)
    local rest, ended = client.stream:read_rest()
    assert.same({ "bye", "eof" }, { rest, ended })
    client:send(LARGE)
    client:shutdown()
    local conn = origin.connections[1]
    conn.changed:wait("the backend's reading", function() return conn.done end)
    assert.is_true(seen == LARGE)
    client:close()
    server:stop()
  end))

  it("ends for both when one of them is gone", loop.spec(function()
    local origin = switching(function(conn) conn:read_rest() end)
    local server = rig.start { origin }
    local client = open(server)
    client:reset()
    wait_end(origin.connections[1])
    client = open(server)
    origin.connections[2]:reset()
    client:expect_end()
    assert.equal(2, #server:wait_access_log(2))
    server:stop()
  end))

  it("ends when nothing passes for `tunnel`, and not while something does", loop.spec(function()
    local origin = switching(mirror)
    local server = rig.start({ origin }, { pool = { timeouts = { tunnel = "1s" } } })
    local client = open(server)
    for _ = 1, 6 do
      children.pause(200)
      client:send "x"
      assert.equal("x", client.stream:read_exact(1))
    end
    assert.equal("eof", (client:expect_end()))
    wait_end(origin.connections[1])
    client:close()
    assert.equal("tunnel_idle", server:wait_access_log(1)[1].reason)
    server:stop()
  end))

  it("may rest longer than an answer may take", loop.spec(function()
    local server = rig.start({ switching(mirror) }, { conf = { timeouts = {
      client_header = "1s", client_body = "1s", client_idle = "1s", response = "1s", response_body = "1s",
    } } })
    local client = open(server)
    children.pause(1300)
    client:send "still there"
    assert.equal("still there", client.stream:read_exact(11))
    client:close()
    server:stop()
  end))

  it("outlives a reload", loop.spec(function()
    local origin = switching(mirror)
    local server, conf = rig.start { origin }
    local client = open(server)
    for i = 1, 3 do
      conf.routes[1].headers = { request = { set = { ["X-Version"] = tostring(i) } } }
      server:write_conf(conf)
      assert.is_true(server:reload())
      client:send "still"
      assert.equal("still", client.stream:read_exact(5))
    end
    assert.equal("3", rig.seen(clients.get(server.ports.http, "/")).get "x-version")
    client:close()
    server:stop()
  end))

  it("leaves the gauges of its backend alone that came after its own", loop.spec(function()
    local origin, other = switching(mirror), origins.start()
    local server = rig.start({ origin }, { conf = { workers = 1 } })
    local client = open(server)
    for _, used in ipairs { { other }, { other, "127.0.0.1:1" }, { other, "127.0.0.1:1", "127.0.0.1:2" } } do
      server:write_conf(rig.conf(used, { conf = { workers = 1 } })) -- its backend goes, and others come
      assert.is_true(server:reload())
    end
    local function in_flight()
      local metrics = clients.get(server.ports.admin, "/metrics").body
      return assert(metrics:match 'veloflux_pool_in_flight{pool="web"[^}]*} (%S+)'), metrics
    end
    assert.equal("0", (in_flight()))
    client:close()
    children.eventually("the end of the tunnel", function()
      return clients.get(server.ports.admin, "/metrics").body:find '\nveloflux_process_tunnels{[^}]*"worker[^}]*} 0\n'
    end)
    assert.equal("0", (in_flight()))
    server:stop()
  end))

  it("is cut by a drain after drain_long", loop.spec(function()
    local origin = switching(mirror)
    local server = rig.start({ origin },
      { conf = { timeouts = { drain = "20ms", drain_idle = "10ms", drain_long = "1s" } } })
    local client = open(server)
    server:signal "sigterm"
    client:send "going"
    assert.equal("going", client.stream:read_exact(5))
    client:expect_end()
    assert.equal(0, server.process:wait_exit().code)
  end))
end)

describe("an upgrade", function()
  it("that the backend does not want is an ordinary exchange", loop.spec(function()
    local origin = origins.start()
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    for i = 1, 2 do
      client:send(REQUEST)
      local seen = rig.seen(client:read_response())
      assert.same({ "/chat", i }, { seen.target, seen.request })
    end
    client:close()
    server:stop()
  end))

  it("that nobody asked for makes 502", loop.spec(function()
    local origin = origins.start(function(conn) conn:write(SWITCH) end)
    local server = rig.start { origin }
    assert.equal(502, clients.get(server.ports.http, "/").status)
    server:stop()
  end))
end)

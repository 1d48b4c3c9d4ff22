--- Listeners in mode tcp: bytes both ways, with the pool's balancing, failover, limits and health.
local bytes = require "support.bytes"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
local stream = require "support.stream"
local cjson = require "cjson"

local LARGE = ("0123456789abcdef"):rep(256 * 1024) -- 4 MiB

--- A conf whose listener `tcp` passes connections on to `backends` (servers or addresses).
-- @param more table or nil: listener, pool, conf (fields added to each)
local function conf_of(backends, more)
  more = more or {}
  local listener = { name = "tcp", address = "127.0.0.1:0", mode = "tcp", pool = "echo" }
  local pool = { name = "echo", backends = {} }
  local conf = { listeners = { listener }, pools = { pool },
    timeouts = { drain = "1m", drain_idle = "10ms", drain_long = "50ms" } } -- stop() cuts what still stands
  for i, each in ipairs(backends) do
    pool.backends[i] = { address = type(each) == "string" and each or each.address }
  end
  for key, value in pairs(more.listener or {}) do listener[key] = value end
  for key, value in pairs(more.pool or {}) do pool[key] = value end
  for key, value in pairs(more.conf or {}) do conf[key] = value end
  return conf
end

local function start(backends, more)
  local conf = conf_of(backends, more)
  return servers.start { conf = conf }, conf
end

local function exchange(client, text)
  client:send(text)
  assert.equal(text, client.stream:read_exact(#text))
end

local function wait_end(conn)
  return conn.changed:wait("the end of " .. conn.name, function() return conn.ended end)
end

--- A connection that is refused by a reset. Returns how it ended.
local function refused(port)
  local conn, err = stream.connect(port)
  if not conn then return err == "ECONNRESET" and "reset" or err end
  return select(2, conn:read_rest())
end

--- The first sample of a metric whose labels match a pattern.
local function metric(server, name, labels)
  local body = clients.get(server.ports.admin, "/metrics").body
  return tonumber(body:match(("\n%s{[^}]*%s[^}]*} (%%S+)"):format(name, labels)))
end

describe("a listener in mode tcp", function()
  it("carries bytes both ways, counts them and logs the connection", loop.spec(function()
    local echo = bytes.start(bytes.mirror)
    local server = start { echo }
    local client = clients.connect(server.ports.tcp)
    for _, text in ipairs { "hello", "\0\255\r\n\r\n", "GET / HTTP/1.1\r\n\r\n" } do exchange(client, text) end
    assert.equal(1, metric(server, "veloflux_process_tunnels", 'process="worker'))
    assert.equal(1, metric(server, "veloflux_listener_connections", 'listener="tcp"'))
    client:shutdown()
    assert.equal("eof", (client:expect_end()))
    local entry = server:wait_access_log(1)[1]
    assert.same({ "tcp", "TCP", "echo", echo.address, 29, 29, 1, "default", cjson.null, cjson.null },
      { entry.listener, entry.method, entry.pool, entry.backend, entry.bytes_in, entry.bytes_out, entry.tries,
        entry.tenant, entry.reason, entry.status })
    assert.equal("127.0.0.1", entry.client)
    assert.equal(0, metric(server, "veloflux_process_tunnels", 'process="worker'))
    assert.equal(1, metric(server, "veloflux_listener_requests_total", 'listener="tcp"'))
    assert.equal(29, metric(server, "veloflux_pool_received_bytes_total", 'pool="echo"'))
    assert.equal(1, metric(server, "veloflux_backend_requests_total", 'pool="echo"'))
    server:stop()
  end))

  it("lets the backend speak first", loop.spec(function()
    local server = start { bytes.start(function(conn)
      conn:write "220 ready\r\n"
      bytes.mirror(conn)
    end) }
    local client = clients.connect(server.ports.tcp)
    assert.equal("220 ready\r\n", client.stream:read_exact(11))
    exchange(client, "HELO a\r\n")
    client:close()
    server:stop()
  end))

  it("carries much at once, both ways, with back pressure", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { conf = { limits = { buffer_memory = "1m" } } })
    local client = clients.connect(server.ports.tcp)
    local echoed
    clients.together(function() client:send(LARGE) end, function() echoed = client.stream:read_exact(#LARGE) end)
    assert.is_true(echoed == LARGE)
    client:close()
    server:stop()
  end))

  it("waits for a client that reads slowly", loop.spec(function()
    local server = start { bytes.start(function(conn)
      conn:write(LARGE)
      conn:shutdown()
    end) }
    local client, read = clients.connect(server.ports.tcp, { paused = true }), 0
    for _ = 1, 4 do
      children.pause(30)
      client.stream:resume()
      read = read + #client.stream:read_exact(256 * 1024)
      client.stream:pause()
    end
    client.stream:resume()
    local rest, ended = client.stream:read_rest()
    assert.same({ #LARGE, "eof" }, { read + #rest, ended })
    server:stop()
  end))

  it("may be closed by the client for one direction", loop.spec(function()
    local seen
    local server = start { bytes.start(function(conn)
      seen = conn:read_rest()
      conn:write(LARGE)
      conn:shutdown()
    end) }
    local client = clients.connect(server.ports.tcp)
    client:send "last words"
    client:shutdown()
    local rest, ended = client.stream:read_rest()
    assert.same({ "last words", "eof", #LARGE }, { seen, ended, #rest })
    server:stop()
  end))

  it("may be closed by the backend for one direction", loop.spec(function()
    local echo = bytes.start(function(conn)
      conn:write "bye"
      conn:shutdown()
      conn.all = conn:read_rest()
      conn.changed:notify()
    end)
    local server = start { echo }
    local client = clients.connect(server.ports.tcp)
    assert.same({ "bye", "eof" }, { client.stream:read_rest() })
    client:send(LARGE)
    client:shutdown()
    local conn = echo.connections[1]
    conn.changed:wait("the backend's reading", function() return conn.all end)
    assert.is_true(conn.all == LARGE)
    server:stop()
  end))

  it("may end before a byte", loop.spec(function()
    local echo = bytes.start(bytes.mirror)
    local server = start { echo }
    local client = clients.connect(server.ports.tcp)
    client:shutdown()
    assert.same({ "eof", "" }, { client:expect_end() })
    assert.same({ 0, 0 }, { server:wait_access_log(1)[1].bytes_in, server:wait_access_log(1)[1].bytes_out })
    server:stop()
  end))

  it("ends for both when one of them breaks off", loop.spec(function()
    local echo = bytes.start(bytes.mirror)
    local server = start { echo }
    local client = clients.connect(server.ports.tcp)
    exchange(client, "x")
    client:reset()
    wait_end(echo.connections[1])
    assert.equal("client_reset", server:wait_access_log(1)[1].reason)
    client = clients.connect(server.ports.tcp)
    exchange(client, "x")
    echo.connections[2]:reset()
    assert.equal("reset", (client:expect_end()))
    assert.equal("upstream_cut", server:wait_access_log(2)[2].reason)
    server:stop()
  end))

  it("goes to another backend when one does not answer, with every byte", loop.spec(function()
    local echo = bytes.start(bytes.mirror)
    local server = start({ bytes.nobody(), bytes.nobody(), echo }, { pool = { passive_health = false } })
    local most = 0
    for _ = 1, 6 do
      local client = clients.connect(server.ports.tcp)
      exchange(client, ("some bytes that have to wait "):rep(1000))
      client:shutdown()
      client:expect_end()
    end
    for _, entry in ipairs(server:wait_access_log(6)) do
      most = math.max(most, entry.tries)
      assert.equal(echo.address, entry.backend)
    end
    assert.is_true(most >= 2)
    server:stop()
  end))

  it("is reset when there is no backend, and says why", loop.spec(function()
    local server, conf = start { bytes.nobody() }
    assert.equal("reset", refused(server.ports.tcp))
    assert.equal("backend_unreachable", server:wait_access_log(1)[1].reason)
    conf.pools[1].backends[1].weight = 0
    server:write_conf(conf)
    assert.is_true(server:reload())
    assert.equal("reset", refused(server.ports.tcp))
    assert.equal("no_backend", server:wait_access_log(2)[2].reason)
    server:stop()
  end))

  it("keeps to max_connections", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { pool = { max_connections = 1 } })
    local first = clients.connect(server.ports.tcp)
    exchange(first, "x")
    assert.equal("reset", refused(server.ports.tcp))
    assert.equal("pool_full", server:wait_access_log(1)[1].reason)
    first:shutdown()
    first:expect_end()
    server:wait_access_log(2)
    exchange(clients.connect(server.ports.tcp), "y")
    server:stop()
  end))

  it("ends when nothing passes for `tunnel`, and not while something does", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { pool = { timeouts = { tunnel = "1s" } },
      listener = { timeouts = { client_header = "50ms", response = "50ms" } } })
    local client = clients.connect(server.ports.tcp)
    for _ = 1, 6 do
      children.pause(200)
      exchange(client, "x")
    end
    assert.equal("eof", (client:expect_end()))
    assert.equal("tunnel_idle", server:wait_access_log(1)[1].reason)
    server:stop()
  end))

  it("ends after `total`", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { listener = { timeouts = { total = "1s" } } })
    local client = clients.connect(server.ports.tcp)
    exchange(client, "x")
    client:expect_end()
    assert.equal("total_timeout", server:wait_access_log(1)[1].reason)
    server:stop()
  end))

  it("takes PROXY headers, and sends them on", loop.spec(function()
    local heads = {}
    local echo = bytes.start(function(conn)
      heads[#heads + 1] = conn:read_until "\r\n"
      bytes.mirror(conn)
    end)
    local server = start({ echo }, { listener = { proxy_protocol = true }, pool = { proxy_protocol = "v1" } })
    local client = clients.connect(server.ports.tcp)
    client:send "PROXY TCP4 192.0.2.7 198.51.100.1 1234 25\r\n" -- and nothing else, as before the server's greeting
    echo:wait_connections(1)
    exchange(client, "behind the header")
    assert.matches("^PROXY TCP4 192%.0%.2%.7 ", heads[1])
    client:close()
    assert.equal("192.0.2.7", server:wait_access_log(1)[1].client)
    client = clients.connect(server.ports.tcp)
    client:send "PROXY TCP4 192.0.2.8 198.51.100.1 1234 25\r\ntogether"
    assert.equal("together", client.stream:read_exact(8))
    client:close()
    client = clients.connect(server.ports.tcp)
    client:send "hello, no header\r\n"
    client:expect_end()
    assert.equal(2, #echo.connections)
    server:stop()
  end))

  it("outlives reloads, also of its listener and pool", loop.spec(function()
    local old, new = bytes.start(bytes.mirror), bytes.start(function(conn) conn:write "new" end)
    local server, conf = start { old }
    local client = clients.connect(server.ports.tcp)
    exchange(client, "before")
    conf.pools[1].backends = { { address = new.address } }
    server:write_conf(conf)
    assert.is_true(server:reload())
    exchange(client, "after")
    assert.equal("new", clients.connect(server.ports.tcp).stream:read_exact(3))
    conf.listeners = { { name = "http", address = "127.0.0.1:0" } }
    conf.pools = nil
    server:write_conf(conf)
    assert.is_true(server:reload())
    exchange(client, "without it all")
    client:shutdown()
    assert.equal("eof", (client:expect_end()))
    server:stop()
  end))

  it("becomes one of http and back by a reload", loop.spec(function()
    local echo = bytes.start(bytes.mirror)
    local server, conf = start { echo }
    local client = clients.connect(server.ports.tcp)
    exchange(client, "bytes")
    conf.listeners = { { name = "tcp", address = "127.0.0.1:" .. server.ports.tcp } }
    conf.routes = { { name = "all", respond = { body = "http" } } }
    server:write_conf(conf)
    assert.is_true(server:reload())
    assert.equal("http", clients.get(server.ports.tcp, "/").body)
    exchange(client, "more bytes")
    local kept = clients.connect(server.ports.tcp)
    kept:request("GET", "/")
    assert.equal("http", kept:read_response().body)
    conf.listeners[1].mode, conf.listeners[1].pool = "tcp", "echo"
    server:write_conf(conf)
    assert.is_true(server:reload())
    kept:request("GET", "/") -- it began with http, and stays with it
    assert.equal("http", kept:read_response().body)
    exchange(clients.connect(server.ports.tcp), "bytes again")
    exchange(client, "still the first")
    server:stop()
  end))

  it("is drained within drain_long", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) },
      { conf = { timeouts = { drain = "20ms", drain_idle = "10ms", drain_long = "1s" } } })
    local client = clients.connect(server.ports.tcp)
    exchange(client, "x")
    server:signal "sigterm"
    exchange(client, "going")
    client:expect_end()
    assert.equal(0, server.process:wait_exit().code)
    assert.equal("drained", server:wait_access_log(1)[1].reason)
  end))

  it("shares its pool with routes, but no connections", loop.spec(function()
    local origin = origins.start()
    local server = start({ origin }, { conf = { routes = { { name = "site", pool = "echo" } }, listeners = {
      { name = "http", address = "127.0.0.1:0" },
      { name = "tcp", address = "127.0.0.1:0", mode = "tcp", pool = "echo" },
    } } })
    assert.equal(200, clients.get(server.ports.http, "/a").status)
    assert.equal(200, clients.get(server.ports.tcp, "/b").status)
    assert.equal(200, clients.get(server.ports.http, "/c").status)
    assert.equal(2, origin.accepted)
    assert.same({ "/a", "/b", "/c" },
      { origin.requests[1].target, origin.requests[2].target, origin.requests[3].target })
    server:stop()
  end))

  it("says nothing of its own to a backend, whatever its pool's protocol", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { pool = { protocol = "h2" } })
    local client = clients.connect(server.ports.tcp)
    exchange(client, "not a word of HTTP")
    exchange(clients.connect(server.ports.tcp), "on a connection of its own")
    client:close()
    server:stop()
  end))

  it("keeps the API from deleting its pool", loop.spec(function()
    local server = start({ bytes.start(bytes.mirror) }, { conf = { entities = "seed" } })
    local answer = clients.request(server.ports.admin, "DELETE", "/api/pools/echo")
    assert.is_true(answer.status >= 400 and answer.status < 500)
    assert.matches("listeners%[0%]%.pool", answer.body)
    exchange(clients.connect(server.ports.tcp), "still there")
    server:stop()
  end))

  it("leaves backends alone that fail their health checks", loop.spec(function()
    local good, bad = bytes.start(bytes.mirror), bytes.nobody()
    local server = start({ bad, good }, { pool = { passive_health = false,
      health_check = { type = "tcp", interval = "100ms", timeout = "1m", rise = 1, fall = 1 } } })
    server:wait_log("backend.*" .. bad:gsub("%p", "%%%0"))
    for _ = 1, 4 do
      local client = clients.connect(server.ports.tcp)
      exchange(client, "x")
      client:shutdown()
      client:expect_end()
    end
    for _, entry in ipairs(server:wait_access_log(4)) do
      assert.same({ 1, good.address }, { entry.tries, entry.backend })
    end
    server:stop()
  end))
end)

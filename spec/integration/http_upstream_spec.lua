--- Connections to backends: kept, retried, limited, refused, found by name.
local clients = require "support.client"
local dns = require "unit.net.dns_server"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local function get(server, path) return clients.get(server.ports.http, path or "/") end

-- An origin that holds requests for /hold until release() is called.
local function holding(name)
  local gate, is_open = loop.condition(), false
  local origin = origins.start(function(conn, request)
    if request.target == "/hold" then gate:wait("the gate", function() return is_open end) end
    conn:write(origins.response(200, nil, request.origin.name))
  end, { name = name })
  function origin.release()
    is_open = true
    gate:notify()
  end
  return origin
end

describe("kept connections", function()
  it("serve one request after the other, of any client", loop.spec(function()
    local origin = rig.named "a"
    local server = rig.start { origin }
    for _ = 1, 5 do assert.equal(200, get(server).status) end
    assert.same({ 1, 5 }, { origin.accepted, #origin.requests })
    server:stop()
  end))

  it("are as many as there are requests at a time", loop.spec(function()
    local origin = holding "a"
    local server = rig.start { origin }
    local function ask() assert.equal(200, get(server, "/hold").status) end
    clients.together(ask, ask, ask, function()
      origin:wait_requests(3)
      origin.release()
    end)
    assert.equal(3, origin.accepted)
    for _ = 1, 6 do get(server) end
    assert.equal(3, origin.accepted)
    server:stop()
  end))

  it("end with an answer that says close, or comes by HTTP/1.0", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(request.target == "/old" and "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
        or "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    end)
    local server = rig.start { origin }
    for _ = 1, 2 do
      assert.equal("ok", get(server).body)
      assert.equal("ok", get(server, "/old").body)
    end
    assert.equal(4, origin.accepted)
    server:stop()
  end))

  it("are closed after upstream_idle", loop.spec(function()
    local origin = rig.named "a"
    local server = rig.start({ origin }, { pool = { timeouts = { upstream_idle = "50ms" } } })
    get(server)
    local conn = origin.connections[1]
    conn.changed:wait("the end of the kept connection", function() return conn.ended == "eof" end)
    assert.equal(200, get(server).status)
    assert.equal(2, origin.accepted)
    server:stop()
  end))

  it("are at most upstream_keepalive, the oldest goes", loop.spec(function()
    local origin = holding "a"
    local server = rig.start({ origin }, { conf = { limits = { upstream_keepalive = 1 } } })
    local function ask() assert.equal(200, get(server, "/hold").status) end
    clients.together(ask, ask, function()
      origin:wait_requests(2)
      origin.release()
    end)
    local function open()
      local n = 0
      for _, conn in pairs(origin.connections) do n = n + (conn.ended and 0 or 1) end
      return n
    end
    origin.changed:wait("one of two to be closed", function() return open() == 1 end)
    get(server)
    assert.equal(2, origin.accepted)
    server:stop()
  end))

  it("that a backend closed are not used", loop.spec(function()
    local origin = origins.start()
    local server = rig.start { origin }
    for _ = 1, 3 do
      local response = clients.request(server.ports.http, "POST", "/", nil, "body")
      assert.equal("body", rig.seen(response).body)
      origin:retire_connections()
    end
    assert.equal(3, #origin.requests)
    server:stop()
  end))
end)

describe("a kept connection that dies under a request", function()
  local BODY = ("0123456789"):rep(1000)

  -- Its connections serve one request and end, without an answer, at the next.
  local function fragile(ending)
    return origins.start(function(conn, request)
      if request.number > 1 then return conn[ending](conn) end
      origins.echo(conn, request)
    end)
  end

  for _, ending in ipairs { "close", "reset" } do
    it("by " .. ending .. " is replaced when the method is idempotent", loop.spec(function()
      local origin = fragile(ending)
      local server = rig.start { origin }
      get(server)
      local seen = rig.seen(get(server, "/second"))
      assert.same({ "/second", 2, 1 }, { seen.target, seen.connection, seen.request })
      seen = rig.seen(clients.request(server.ports.http, "PUT", "/third", nil, BODY))
      assert.same({ "PUT", BODY, 3 }, { seen.method, seen.body, seen.connection })
      assert.equal(5, #origin.requests)
      server:stop()
    end))

    it("by " .. ending .. " is not, when the request may have been acted on", loop.spec(function()
      local origin = fragile(ending)
      local server = rig.start { origin }
      get(server)
      local response = clients.request(server.ports.http, "POST", "/", nil, "pay")
      assert.same({ 502, "upstream_closed" }, { response.status, rig.code(response) })
      assert.equal(2, #origin.requests)
      assert.equal(200, get(server).status)
      server:stop()
    end))
  end

  it("is not replaced when its content is gone already", loop.spec(function()
    local origin = fragile "close"
    local server = rig.start { origin }
    get(server)
    local client = clients.connect(server.ports.http)
    client:send "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert.equal(502, client:read_response("PUT").status)
    client:close()
    assert.equal(2, #origin.requests)
    server:stop()
  end))

  it("is replaced once: a fresh one that dies too is the backend's fault", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request.target == "/die" then return conn:close() end
      origins.echo(conn, request)
    end)
    local server = rig.start { origin }
    get(server)
    local response = get(server, "/die")
    assert.same({ 502, "upstream_closed" }, { response.status, rig.code(response) })
    assert.equal(3, #origin.requests)
    server:stop()
  end))
end)

describe("backends that take a request and close", function()
  local function pair()
    local closing = origins.start(function(conn) conn:close() end)
    return closing, rig.named "good"
  end
  local function ask(server, method, body)
    local statuses = {}
    for i = 1, 4 do statuses[i] = clients.request(server.ports.http, method, "/", nil, body).status end
    table.sort(statuses)
    return statuses
  end

  it("are passed over where twice does no harm", loop.spec(function()
    local closing, good = pair()
    local server = rig.start { closing, good }
    assert.same({ 200, 200, 200, 200 }, ask(server, "GET"))
    assert.same({ 2, 4 }, { closing.accepted, #good.requests })
    local tries = {}
    for i, entry in ipairs(server:wait_access_log(4)) do tries[i] = entry.tries end
    table.sort(tries)
    assert.same({ 1, 1, 2, 2 }, tries)
    server:stop()
  end))

  it("are the end of what may have been acted on, or has content", loop.spec(function()
    for method, body in pairs { POST = "", PUT = "x", BREW = "" } do
      local closing, good = pair()
      local server = rig.start { closing, good }
      assert.same({ 200, 200, 502, 502 }, ask(server, method, body))
      assert.equal(2, #good.requests)
      server:stop()
    end
  end))

  it("are two at most for one request", loop.spec(function()
    local closing = { (pair()), (pair()), (pair()) }
    local server = rig.start(closing)
    assert.equal(502, get(server).status)
    assert.equal(2, closing[1].accepted + closing[2].accepted + closing[3].accepted)
    local entry = server:wait_access_log(1)[1]
    assert.same({ "upstream_closed", 2 }, { entry.reason, entry.tries })
    server:stop()
  end))
end)

describe("backends that cannot be reached", function()
  local function refusing()
    local origin = rig.named "dead"
    origin:refuse()
    return origin
  end

  it("are passed over, with the content of the request", loop.spec(function()
    local alive = origins.start()
    local server = rig.start { refusing(), refusing(), alive }
    for _ = 1, 6 do
      assert.equal("body", rig.seen(clients.request(server.ports.http, "POST", "/", nil, "body")).body)
    end
    server:stop()
  end))

  it("make 502 when there is no other", loop.spec(function()
    local server = rig.start { refusing(), refusing() }
    local response = get(server)
    assert.same({ 502, "backend_unreachable" }, { response.status, rig.code(response) })
    server:stop()
  end))

  it("make 503 when all have weight 0", loop.spec(function()
    local conf = rig.conf { rig.named "a" }
    conf.pools[1].backends[1].weight = 0
    local server = servers.start { conf = conf }
    local response = get(server)
    assert.same({ 503, "no_backend", "1" }, { response.status, rig.code(response), response:get "retry-after" })
    server:stop()
  end))
end)

describe("max_connections", function()
  it("sends what is too much elsewhere, or answers 503 while it lasts", loop.spec(function()
    local a, b = holding "a", holding "b"
    local server = rig.start({ a, b }, { pool = { max_connections = 1 } })
    local first, second
    local function ask_first() first = get(server, "/hold") end
    local function ask_second() second = get(server, "/hold") end
    clients.together(ask_first, ask_second, function()
      a:wait_requests(1)
      b:wait_requests(1)
      local third = get(server)
      assert.same({ 503, "pool_full", "1" }, { third.status, rig.code(third), third:get "retry-after" })
      a.release()
      b.release()
    end)
    assert.same({ 200, 200, true }, { first.status, second.status, first.body ~= second.body })
    for _ = 1, 4 do assert.equal(200, get(server).status) end
    assert.same({ 1, 1 }, { a.accepted, b.accepted })
    server:stop()
  end))
end)

describe("backends with names", function()
  it("are found from the first request on", loop.spec(function()
    local origin = rig.named "a"
    local server = rig.start { "localhost:" .. origin.port }
    for _ = 1, 3 do assert.equal("a", get(server).body) end
    server:stop()
  end))

  it("that have no address are passed over", loop.spec(function()
    local origin = rig.named "a"
    local names = dns.start {}
    loop.defer(function() names:close() end)
    local server = servers.start { conf = rig.conf { "nowhere.invalid:80", origin },
      env = { VF_DNS_SERVERS = names.address } }
    for _ = 1, 4 do assert.equal("a", get(server).body) end
    server:stop()
  end))
end)

describe("sticky sessions", function()
  it("hold over a restart", loop.spec(function()
    local used = { rig.named "a", rig.named "b", rig.named "c" }
    local options = { pool = { sticky_sessions = true }, conf = { data_dir = tempdir.new() .. "/data" } }
    local server = rig.start(used, options)
    local first = get(server)
    local cookie = first:get("set-cookie"):match "^[^;]+"
    server:stop()
    server = rig.start(used, options)
    for _ = 1, 6 do
      local response = clients.get(server.ports.http, "/", { Cookie = "x=y; " .. cookie })
      assert.same({ first.body, nil }, { response.body, response:get "set-cookie" })
    end
    server:stop()
  end))
end)

--- Exchanges that end early, and connections that carry many.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local LARGE = ("x"):rep(1024 * 1024)

local function wait_end(conn)
  return conn.changed:wait("the end of " .. conn.name, function() return conn.ended end)
end

describe("a client that goes away", function()
  for name, ending in pairs { ["with a reset"] = "reset", ["with a close"] = "close" } do
    it("within its content ends the request at the backend, " .. name, loop.spec(function()
      local origin = origins.start()
      local server = rig.start { origin }
      local client = clients.connect(server.ports.http)
      client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
      origin:wait_requests(1)
      client[ending](client)
      assert.is_truthy(wait_end(origin.connections[1]))
      assert.is_falsy(origin.requests[1].complete)
      assert.equal(ending == "reset" and "client_reset" or "incomplete_request", server:wait_access_log(1)[1].reason)
      assert.equal(200, clients.get(server.ports.http, "/").status)
      server:stop()
    end))

    for framing, head in pairs { length = "Content-Length: 100000000", chunks = "Transfer-Encoding: chunked" } do
      it(("within an answer by %s stops the backend, %s"):format(framing, name), loop.spec(function()
        local origin = origins.start(function(conn)
          conn:write("HTTP/1.1 200 OK\r\n" .. head .. "\r\n\r\n")
          local piece = framing == "length" and LARGE or ("100000\r\n%s\r\n"):format(LARGE)
          repeat until not conn:write(piece)
        end)
        local server = rig.start { origin }
        local client = clients.connect(server.ports.http)
        client:request("GET", "/")
        assert.equal(200, client:read_head().status)
        client.stream:read_exact(3000000)
        client[ending](client)
        assert.is_truthy(wait_end(origin.connections[1]))
        local entry = server:wait_access_log(1)[1]
        assert.same({ 200, "client_reset" }, { entry.status, entry.reason })
        server:stop()
      end))
    end
  end

  it("before its answer ends the request at the backend", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request.target == "/" then return origins.echo(conn, request) end
      conn:read_rest()
    end)
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    client:request("GET", "/silent")
    origin:wait_requests(1)
    client:reset()
    assert.is_truthy(wait_end(origin.connections[1]))
    local entry = server:wait_access_log(1)[1]
    assert.same({ cjson.null, "client_reset" }, { entry.status, entry.reason })
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("only half, after its request, is answered", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn, request)
      gate:wait("the client's half-close", function() return is_open end)
      origins.echo(conn, request)
    end)
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    client:request("POST", "/half", nil, "body")
    origin:wait_requests(1)
    client:shutdown()
    is_open = true
    gate:notify()
    local response = client:read_response "POST"
    assert.same({ "/half", "body" }, { rig.seen(response).target, rig.seen(response).body })
    assert.equal("eof", (client:expect_end()))
    server:stop()
  end))
end)

describe("a client that is slow to take the last of an answer", function()
  it("gets it whole, also when the connection ends with it", loop.spec(function()
    local origin = origins.start(function(conn, request)
      local size = tonumber(request.target:match "%d+")
      conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. ("%x\r\n"):format(size) .. LARGE:rep(5):sub(1, size) .. "\r\n0\r\n\r\n")
    end)
    local server = rig.start({ origin }, { conf = { timeouts = { client_header = "100ms" } } })
    local tasks = {}
    for i = 1, 40 do -- of some of them the end waits in the worker, whatever the kernel buffers
      local size, fields = 1000000 + i * 100000, i % 2 == 0 and "Connection: keep-alive\r\n" or ""
      tasks[i] = function()
        local client = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
        client:send(("GET /%d HTTP/1.0\r\nHost: a\r\n%s\r\n"):format(size, fields))
        children.pause(4000) -- a connection that is being closed is waited for half as long
        client.stream:resume()
        local response = client:read_response()
        assert.same({ true, size }, { response.complete, #response.body })
        client:close()
      end
    end
    clients.together(unpack(tasks))
    server:stop()
  end))
end)

describe("a backend that goes away", function()
  local HEADS = {
    ["a length"] = { "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", LARGE },
    ["a short length"] = { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "hello" },
    chunks = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n" },
  }
  for framing, parts in pairs(HEADS) do
    for _, ending in ipairs { "close", "reset" } do
      it(("within an answer of %s is shown to the client: %s"):format(framing, ending), loop.spec(function()
        local origin = origins.start(function(conn)
          conn:write(parts[1])
          conn:write(parts[2])
          conn[ending](conn)
        end)
        local server = rig.start { origin }
        local response = clients.get(server.ports.http, "/")
        assert.same({ 200, false }, { response.status, response.complete or false })
        assert.matches("^cut short", response.fault)
        assert.equal("upstream_cut", server:wait_access_log(1)[1].reason)
        server:stop()
      end))
    end
  end

  it("within the head of its answer makes 502", loop.spec(function()
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 200 OK\r\nContent-Le"
      conn:close()
    end)
    local server = rig.start { origin }
    local response = clients.get(server.ports.http, "/")
    assert.same({ 502, "upstream_cut" }, { response.status, rig.code(response) })
    server:stop()
  end))

  it("without reading the request still has its answer delivered", loop.spec(function()
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge"
      conn:shutdown()
      conn:read_rest()
    end, { eager = false })
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    client:send(LARGE)
    local response = client:read_response "POST"
    assert.same({ 413, "large", "close" }, { response.status, response.body, response:get "connection" })
    client:close()
    server:stop()
  end))
end)

describe("pipelining", function()
  it("answers 1,000 requests of one connection in order", loop.spec(function()
    local origin = origins.start()
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    local pieces = {}
    for i = 1, 1000 do
      pieces[i] = i % 3 == 0 and ("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d"):format(i, i)
        or ("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i)
    end
    local all = table.concat(pieces)
    clients.together(function()
      for from = 1, #all, 7001 do client:send(all:sub(from, from + 7000)) end -- cut anywhere
    end, function()
      for i = 1, 1000 do
        local seen = cjson.decode(client:read_response(i % 3 == 0 and "POST" or "GET").body)
        assert.same({ "/" .. i, i % 3 == 0 and ("%04d"):format(i) or "" }, { seen.target, seen.body })
      end
    end)
    assert.equal(1000, #origin.requests)
    client:close()
    server:stop()
  end))

  it("stops at a request that says close", loop.spec(function()
    local origin = origins.start()
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    client:send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
      .. "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("/1", rig.seen(client:read_response()).target)
    assert.equal("/2", rig.seen(client:read_response()).target)
    local ended, rest = client:expect_end()
    assert.same({ "eof", "", 2 }, { ended, rest, #origin.requests })
    client:close()
    server:stop()
  end))

  it("of a client that does not read asks backends for no more than fits", loop.spec(function()
    local origin = origins.start(function(conn) conn:write(origins.response(200, nil, LARGE)) end)
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
    client:send(("GET / HTTP/1.1\r\nHost: a\r\n\r\n"):rep(50))
    origin:wait_requests(1)
    for _ = 1, 10 do clients.request(server.ports.http, "HEAD", "/") end
    assert.is_true(#origin.requests < 10 + 12, #origin.requests .. " requests")
    client.stream:resume()
    for _ = 1, 50 do assert.equal(#LARGE, #client:read_response().body) end
    client:close()
    server:stop()
  end))
end)

describe("a drain", function()
  it("answers what was asked on connections that an answer under way promised to keep", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn, request)
      if request.target ~= "/slow" then return origins.echo(conn, request) end
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"
      gate:wait("the drain", function() return is_open end)
      conn:write "lf"
    end)
    local server = rig.start({ origin }, { conf = { timeouts = { drain = "1m", drain_idle = "2s" } } })
    local idle, busy = clients.connect(server.ports.http), clients.connect(server.ports.http)
    idle:request("GET", "/idle")
    assert.equal(200, idle:read_response().status)
    busy:request("GET", "/slow")
    assert.is_nil(busy:read_head():get "connection")
    server:signal "sigterm"
    assert.equal("eof", (idle:expect_end())) -- it drains
    idle:close()
    is_open = true
    gate:notify()
    assert.equal("half", busy.stream:read_exact(4))
    busy:request("POST", "/next", nil, "body")
    local response = busy:read_response "POST"
    assert.same({ "/next", "close" }, { rig.seen(response).target, response:get "connection" })
    assert.equal("eof", (busy:expect_end()))
    busy:close()
    assert.equal(0, server.process:wait_exit().code)
  end))

  it("closes such a connection when nothing more is asked", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"
      gate:wait("the drain", function() return is_open end)
      conn:write "lf"
    end)
    local server = rig.start({ origin }, { conf = { timeouts = { drain = "1m", drain_idle = "50ms" } } })
    local idle, busy = clients.connect(server.ports.http), clients.connect(server.ports.http)
    busy:request("GET", "/slow")
    busy:read_head()
    server:signal "sigterm"
    idle:expect_end()
    idle:close()
    is_open = true
    gate:notify()
    assert.equal("half", busy.stream:read_exact(4))
    assert.equal("eof", (busy:expect_end()))
    busy:close()
    assert.equal(0, server.process:wait_exit().code)
  end))
end)

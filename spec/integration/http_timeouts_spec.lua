--- Every timeout of the conf file, towards clients and towards backends, and what each makes of an exchange.
local ffi = require "ffi"
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

ffi.cdef "int listen(int fd, int backlog);"

-- The address of a listening socket whose queue is full and stays so: connections to it are neither made nor refused.
local function black_hole()
  local tcp = uv.new_tcp()
  assert(tcp:bind("127.0.0.1", 0))
  assert(ffi.C.listen(tcp:fileno(), 0) == 0)
  loop.defer(function() tcp:close() end)
  local port = tcp:getsockname().port
  clients.connect(port)
  return "127.0.0.1:" .. port
end

-- Sends `byte` every few milliseconds until the peer ends the connection.
local function trickle(client, byte)
  loop.spawn(function()
    while not client.stream.ended and client:send(byte) do children.pause(5) end
  end)
end

local function assert_problem(status, code, response)
  assert.same({ status, code }, { response.status, rig.code(response) })
end

describe("a backend that", function()
  it("takes no connection makes 504 after connect", loop.spec(function()
    local server = rig.start({ black_hole() }, { pool = { timeouts = { connect = "50ms" } } })
    assert_problem(504, "connect_timeout", clients.get(server.ports.http, "/"))
    server:stop()
  end))

  it("takes no connection is passed over after connect, content included", loop.spec(function()
    local server = rig.start({ black_hole(), origins.start() }, { pool = { timeouts = { connect = "250ms" } } })
    for _ = 1, 4 do
      local response = clients.request(server.ports.http, "POST", "/", nil, "body")
      assert.equal("body", rig.seen(response).body)
    end
    server:stop()
  end))

  it("does not answer makes 504 after response", loop.spec(function()
    local origin = origins.start(function(conn) conn:read_rest() end)
    local server = rig.start({ origin }, { pool = { timeouts = { response = "100ms" } } })
    local client = clients.connect(server.ports.http)
    for i = 1, 2 do
      client:request("GET", "/")
      assert_problem(504, "upstream_timeout", client:read_response())
      local conn = origin:wait_connections(i)
      conn.changed:wait("the end of the late connection", function() return conn.ended end)
    end
    client:close()
    server:stop()
  end))

  it("does not answer does so in its own time: that of a slow request does not count", loop.spec(function()
    local origin = origins.start()
    local server = rig.start({ origin }, { pool = { timeouts = { response = "1s" } } })
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    for byte in ("abcdef"):gmatch "." do
      children.pause(200)
      client:send(byte)
    end
    assert.equal("abcdef", rig.seen(client:read_response "POST").body)
    client:close()
    server:stop()
  end))

  it("takes content slowly is waited for, as long as it takes any", loop.spec(function()
    local size, response_ms = 32 * 1024 * 1024, 2000 -- more than all buffers on the way hold
    local origin = origins.start(function(conn, request)
      local left, begun = size, uv.hrtime()
      while left > 0 do
        local piece = conn:read_some()
        if not piece then return end
        left = left - #piece
        if uv.hrtime() - begun < response_ms * 1.2e6 then
          conn:pause()
          children.pause(20)
          conn:resume()
        end
      end
      request.complete = true
      conn:write(origins.response(200, nil, "taken"))
    end, { eager = false })
    local server = rig.start({ origin }, { pool = { timeouts = { response = response_ms .. "ms" } } })
    local response = clients.request(server.ports.http, "POST", "/", nil, ("x"):rep(size))
    assert.same({ 200, "taken" }, { response.status, response.body })
    server:stop()
  end))

  it("stops taking content makes 504 after response", loop.spec(function()
    local origin = origins.start(nil, { eager = false, paused = true })
    local server = rig.start({ origin }, { pool = { timeouts = { response = "100ms" } } })
    local client = clients.connect(server.ports.http)
    loop.spawn(function() client:request("POST", "/", nil, ("x"):rep(32 * 1024 * 1024)) end)
    assert_problem(504, "upstream_timeout", client:read_response "POST")
    client:close()
    server:stop()
  end))

  it("stops within its answer has it cut after response_body", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write("HTTP/1.1 200 OK\r\n" .. (request.target == "/length" and "Content-Length: 10\r\n\r\nhello"
        or "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
      conn:read_rest()
    end)
    local server = rig.start({ origin }, { route = { timeouts = { response_body = "100ms" } } })
    for _, path in ipairs { "/length", "/chunked" } do
      local response = clients.get(server.ports.http, path)
      assert.same({ 200, "hello" }, { response.status, response.body })
      assert.matches("^cut short", response.fault)
    end
    for _, entry in ipairs(server:wait_access_log(2)) do assert.equal("upstream_timeout", entry.reason) end
    server:stop()
  end))

  it("is slow but goes on is waited for", loop.spec(function()
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
      for byte in ("abcdef"):gmatch "." do
        children.pause(200)
        conn:write(byte)
      end
    end)
    local server = rig.start({ origin }, { pool = { timeouts = { response = "1s", response_body = "1s" } } })
    assert.equal("abcdef", clients.get(server.ports.http, "/").body)
    server:stop()
  end))

  it("takes too long altogether makes 504, or a cut answer", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request.target == "/silent" then return conn:read_rest() end
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
      while conn:write "x" do children.pause(5) end
    end)
    local server = rig.start({ origin }, { pool = { timeouts = { total = "1s" } } })
    assert_problem(504, "total_timeout", clients.get(server.ports.http, "/silent"))
    local response = clients.get(server.ports.http, "/trickle")
    assert.equal(200, response.status)
    assert.matches("^cut short", response.fault)
    assert.equal("total_timeout", server:wait_access_log(2)[2].reason)
    server:stop()
  end))
end)

describe("a client that", function()
  it("sends nothing is closed after client_header", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { timeouts = { client_header = "50ms" } } })
    local ended, rest = clients.connect(server.ports.http):expect_end()
    assert.same({ "eof", "" }, { ended, rest })
    server:stop()
  end))

  it("does not end its head gets 408, however often it sends a byte", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { timeouts = { client_header = "150ms" } } })
    local client = clients.connect(server.ports.http)
    client:send "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
    trickle(client, "a")
    local response = client:read_response()
    assert_problem(408, "client_timeout", response)
    assert.equal("close", response:get "connection")
    client:close()
    server:stop()
  end))

  it("does not end its second head gets 408 too", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { timeouts = { client_header = "100ms" } } })
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    assert.equal(200, client:read_response().status)
    client:send "GET / HT"
    assert_problem(408, "client_timeout", client:read_response())
    client:close()
    server:stop()
  end))

  it("does not end a head that it has begun behind a whole request gets 408 too", loop.spec(function()
    local timeouts = { client_header = "1s", client_idle = "1h" }
    local server = rig.start({ origins.start() }, { conf = { timeouts = timeouts } })
    local client = clients.connect(server.ports.http)
    client:send "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"
    assert.equal(200, client:read_response().status)
    assert_problem(408, "client_timeout", client:read_response())
    client:close()
    server:stop()
  end))

  for level, options in pairs {
    everything = { conf = { timeouts = { client_body = "100ms" } } },
    pool = { pool = { timeouts = { client_body = "100ms" } } },
    route = { route = { timeouts = { client_body = "100ms" } } },
  } do
    it("stops within its content gets 408 after client_body of the " .. level, loop.spec(function()
      local origin = origins.start()
      local server = rig.start({ origin }, options)
      local client = clients.connect(server.ports.http)
      client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"
      local response = client:read_response "POST"
      assert_problem(408, "client_timeout", response)
      assert.equal("close", response:get "connection")
      assert.is_truthy(origin:wait_requests(1))
      local conn = origin.connections[1]
      conn.changed:wait("the end of the request", function() return conn.ended end)
      client:close()
      server:stop()
    end))
  end

  it("sends its content slowly is waited for", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { timeouts = { client_body = "1s" } } })
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    for byte in ("abcdef"):gmatch "." do
      children.pause(200)
      client:send(byte)
    end
    assert.equal("abcdef", rig.seen(client:read_response "POST").body)
    client:close()
    server:stop()
  end))

  it("asks nothing more is closed after client_idle", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { timeouts = { client_idle = "50ms" } } })
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    assert.equal(200, client:read_response().status)
    local ended, rest = client:expect_end()
    assert.same({ "eof", "" }, { ended, rest })
    server:stop()
  end))

  it("does not take its answer is closed after response_body", loop.spec(function()
    local origin = origins.start(function(conn)
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
      for _ = 1, 500 do
        if not conn:write(("x"):rep(100000)) then break end
      end
    end)
    local server = rig.start({ origin }, { conf = { timeouts = { client_header = "100ms", response_body = "1s" } } })
    local client = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
    client:request("GET", "/")
    assert.equal("client_stalled", server:wait_access_log(1)[1].reason)
    client:close()
    server:stop()
  end))
end)

--- HTTP/2 to clients, over the real binary: real clients, streams side by side, back pressure, WebSocket in a stream,
-- time limits, draining. Single rules are in spec/conformance/http2_cases.lua.
local h2 = require "support.http2"
local loop = require "support.loop"
local message = require "support.message"
local origins = require "support.origin"
local pki = require "support.pki"
local process = require "support.process"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local ENDS = { ends = true }
local get = h2.get

--- Runs a program to its end. Returns what it printed.
local function run(program, ...)
  local _, out = process.run(program, { ... })
  return out
end

describe("a client of HTTP/2", function()
  it("gets a route's own answer, and an origin's, on one connection", loop.spec(function()
    local origin = origins.start(origins.echo)
    local server = rig.start({ origin }, { conf = { routes = {
      { name = "own", path = "/own", respond = { status = 200, body = "mine" } },
      { name = "site", path_prefix = "/", pool = "web" } } } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, get "/own", ENDS), h2.headers(3, get("/a?b=c", { { "x-y", "z" } }), ENDS))
    assert.equal("mine", client:answer(1).body)
    local seen = rig.seen(client:answer(3))
    assert.same({ "GET", "/a?b=c", "z", "localhost", "2 veloflux" },
      { seen.method, seen.target, seen.get "x-y", seen.get "host", seen.get "via" })
    client:close()
  end))

  it("may have 100 streams at once, each with its own answer", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, nil, request.target:rep(50)))
    end)
    local client = h2.open(rig.start({ origin }).ports.http)
    local out = {}
    for i = 0, 99 do out[#out + 1] = h2.headers(1 + 2 * i, get("/n" .. i), ENDS) end
    client:send(table.concat(out))
    for i = 99, 0, -1 do assert.equal(("/n" .. i):rep(50), client:answer(1 + 2 * i).body) end
    client:close()
  end))

  it("uploads more than its window, and the backend's pace is its own", loop.spec(function()
    local body, go = ("0123456789abcdef"):rep(64 * 1024), loop.condition() -- 1 MiB
    local origin = origins.start(function(conn, request)
      go:wait("the start", function() return go.open end)
      message.read_body(conn, request)
      conn:write(origins.response(200, nil, tostring(#request.body)))
    end, { eager = false })
    local client = h2.open(rig.start({ origin }).ports.http)
    client:send(h2.headers(1, h2.request("POST", "/up")))
    local sent, whole_left = 0, 65535
    client:read_until(function(c) return c.has_settings end)
    local stream_left = 262144 -- what our settings say
    local function pump()
      while sent < #body and stream_left > 0 and whole_left > 0 do
        local n = math.min(16384, #body - sent, stream_left, whole_left)
        client:send(h2.data(1, body:sub(sent + 1, sent + n), sent + n == #body))
        sent, stream_left, whole_left = sent + n, stream_left - n, whole_left - n
      end
    end
    local seen = 0
    local function take_windows()
      for i = seen + 1, #client.frames do
        local frame = client.frames[i]
        if frame.kind == h2.WINDOW_UPDATE then
          local by = 0
          for k = 1, 4 do by = by * 256 + frame.payload:byte(k) end
          if frame.id == 0 then whole_left = whole_left + by else stream_left = stream_left + by end
        end
      end
      seen = #client.frames
    end
    take_windows()
    pump()
    go.open = true
    go:notify()
    while sent < #body do
      assert.is_truthy(client:read_frame())
      take_windows()
      pump()
    end
    assert.equal(tostring(#body), client:answer(1).body)
    client:close()
  end))

  it("that does not read one stream gets the others", loop.spec(function()
    local large = ("x"):rep(1024 * 1024)
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, nil, request.target == "/large" and large or "small"))
    end)
    local server = rig.start({ origin })
    local client = h2.open(server.ports.http)
    client:send(h2.window(0, 10 * 1024 * 1024), h2.headers(1, get "/large", ENDS)) -- the stream's window is 64 KiB
    client:read_until(function(c) return c.streams[1] and #table.concat(c.streams[1].body) == 65535 end)
    for i = 1, 20 do
      client:send(h2.headers(1 + 2 * i, get "/small", ENDS))
      assert.equal("small", client:answer(1 + 2 * i).body)
    end
    client:send(h2.window(1, 10 * 1024 * 1024))
    assert.equal(#large, #client:answer(1).body)
    client:close()
  end))

  it("that stops reading gets the rest of one stream behind the end of another", loop.spec(function()
    local piece, pieces, written = ("x"):rep(65536), 400, 0 -- more than all sockets on the way hold
    local origin = origins.start(function(conn, request)
      if request.target == "/quick" then return conn:write(origins.response(200, nil, "ok")) end
      conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(#piece * pieces))
      for i = 1, pieces do
        conn:write(piece)
        written = i
      end
    end)
    local server = rig.start({ origin }, { conf = { workers = 1, routes = {
      { name = "own", path = "/own", respond = { status = 200, body = "mine" } },
      { name = "site", path_prefix = "/", pool = "web" } } } })
    local client, other = h2.open(server.ports.http, { settings = { { 4, 2 ^ 30 } } }), h2.open(server.ports.http)
    local id = 1
    local function ask_others()
      for _ = 1, 50 do
        other:send(h2.headers(id, get "/quick", ENDS))
        assert.equal("ok", other:answer(id).body)
        id = id + 2
      end
    end
    client.stream:pause()
    client:send(h2.window(0, 2 ^ 30), h2.headers(1, get "/large", ENDS))
    local before
    repeat -- until nothing moves any more
      before = written
      ask_others()
    until written > 0 and written == before
    client:send(h2.headers(3, get "/own", ENDS)) -- answered at once, and kept: its frames are the next that leave
    ask_others()
    client.stream:resume()
    assert.equal("mine", client:answer(3).body)
    assert.equal(#piece * pieces, #client:answer(1).body)
    client:close()
    other:close()
  end))

  it("whose stream is reset lets the others be, and the backend's request is given up", loop.spec(function()
    local gone = loop.condition()
    local origin = origins.start(function(conn, request)
      if request.target ~= "/hang" then return conn:write(origins.response(200, nil, "ok")) end
      conn:read_rest "the end of the request that was given up"
      gone.happened = true
      gone:notify()
    end)
    local client = h2.open(rig.start({ origin }).ports.http)
    client:send(h2.headers(1, get "/hang", ENDS))
    origin:wait_requests(1)
    client:send(h2.rst(1, h2.CODES.CANCEL), h2.headers(3, get "/ok", ENDS))
    assert.equal("ok", client:answer(3).body)
    gone:wait("the end of the request", function() return gone.happened end)
    client:close()
  end))

  it("sees an answer that breaks off as a reset stream", loop.spec(function()
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive"
      conn:close()
    end)
    local client = h2.open(rig.start({ origin }).ports.http)
    client:send(h2.headers(1, get "/", ENDS))
    assert.equal(h2.CODES.INTERNAL_ERROR, client:answer(1).reset)
    client:send(h2.ping())
    assert.equal(1, client:expect_frame(h2.PING).flags)
    client:close()
  end))

  it("gets an answer before its content is complete, and is told that the rest is not wanted", loop.spec(function()
    local server = rig.start({ "127.0.0.1:1" }, { conf = { routes = {
      { name = "own", path_prefix = "/", respond = { status = 200, body = "early" } } } } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, h2.request("POST", "/")), h2.data(1, "some"))
    local answer = client:answer(1)
    assert.same({ 200, "early" }, { answer.status, answer.body })
    client:read_until(function(c) return c.streams[1].reset end)
    assert.equal(h2.CODES.NO_ERROR, client.streams[1].reset)
    client:close()
  end))

  it("is answered 408 when its content does not come", loop.spec(function()
    local origin = origins.start(function(conn, request) message.read_body(conn, request) end)
    local server = rig.start({ origin }, { conf = { timeouts = { client_body = "100ms" } } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, h2.request("POST", "/", { { "content-length", "10" } })), h2.data(1, "abc"))
    assert.equal(408, client:answer(1).status)
    client:close()
  end))

  it("loses a stream that it does not read for too long, not its connection", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, nil, request.target == "/large" and ("x"):rep(300000) or "ok"))
    end)
    local server = rig.start({ origin }, { conf = { timeouts = { response_body = "1s" } } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, get "/large", ENDS))
    assert.equal(h2.CODES.CANCEL, client:answer(1).reset)
    client:send(h2.window(0, 1000000), h2.headers(3, get "/ok", ENDS))
    assert.equal("ok", client:answer(3).body)
    client:close()
  end))

  it("that does not end a head in time is let go, whatever it sends meanwhile", loop.spec(function()
    local origin = origins.start(function(conn) conn:read_rest "the end of the request" end)
    local server = rig.start({ origin }, { conf = { timeouts = { client_header = "2s" } } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, get "/hang", ENDS))
    client:read_until(function(c) return c.has_settings end)
    client:send(h2.headers(3, get "/", { open = true }), h2.continuation(3, ""))
    assert.equal(h2.CODES.NO_ERROR, (client:expect_end()))
    client:close()
  end))

  it("that reads fast is no flood, however often it gives its window back", loop.spec(function()
    local body = ("x"):rep(1024 * 1024)
    local origin = origins.start(function(conn) conn:write(origins.response(200, nil, body)) end)
    local client = h2.open(rig.start({ origin }).ports.http, { settings = { { 4, 2 ^ 30 } } })
    client:send(h2.window(0, 2 ^ 30))
    for i = 0, 24 do
      client:send(h2.headers(1 + 2 * i, get "/", ENDS), (h2.window(0, 1)):rep(1000))
      assert.equal(#body, #client:answer(1 + 2 * i).body)
    end
    client:close()
  end))

  it("whose trailers grow by compression gets some of them passed on", loop.spec(function()
    local seen
    local origin = origins.start(function(conn, request)
      message.read_body(conn, request)
      seen = request.trailers
      conn:write(origins.response(200))
    end)
    local client = h2.open(rig.start({ origin }).ports.http)
    local value = ("v"):rep(3000)
    local first = "\64" .. h2.integer(3, 7, 0) .. "x-t" .. h2.integer(#value, 7, 0) .. value -- is remembered
    client:send(h2.headers(1, h2.request("POST", "/")), h2.data(1, "some"),
      h2.headers(1, first .. ("\190"):rep(99), ENDS)) -- again and again
    assert.equal(200, client:answer(1).status)
    local n = 0
    for _ in pairs(seen) do n = n + 1 end
    assert.is_true(n >= 1 and n <= 11, n .. " trailers of 3000 bytes")
    client:close()
  end))

  it("that says nothing is let go with GOAWAY", loop.spec(function()
    local server = rig.start({ "127.0.0.1:1" }, { conf = { timeouts = { client_idle = "100ms" } } })
    local client = h2.open(server.ports.http)
    assert.equal(h2.CODES.NO_ERROR, (client:expect_end()))
    client:close()
  end))

  it("that does not acknowledge our settings is let go", loop.spec(function()
    local server = rig.start({ "127.0.0.1:1" }, { conf = { timeouts = { client_header = "100ms" } } })
    local client = h2.open(server.ports.http, { bare = true })
    client.note = function(self, frame)
      if frame.kind == h2.GOAWAY then self.goaway = { code = frame.payload:byte(8) } end
    end
    client:send(h2.PREFACE .. h2.settings())
    assert.equal(h2.CODES.SETTINGS_TIMEOUT, (client:expect_end()))
    client:close()
  end))

  it("gets GOAWAY when the configuration drops its listener, and its request still ends", loop.spec(function()
    local hold = loop.condition()
    local origin = origins.start(function(conn)
      hold:wait("the end of the hold", function() return hold.open end)
      conn:write(origins.response(200, nil, "late"))
    end)
    local server = rig.start({ origin })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, get "/slow", ENDS))
    origin:wait_requests(1)
    server:signal "sigterm"
    assert.is_truthy(client:expect_frame(h2.GOAWAY))
    hold.open = true
    hold:notify()
    assert.equal("late", client:answer(1).body)
    assert.equal(h2.CODES.NO_ERROR, (client:expect_end()))
    client:close()
    server.process:wait_exit()
  end))

  it("has a WebSocket in a stream (RFC 8441)", loop.spec(function()
    local origin = origins.start(function(conn, request)
      local key
      for _, field in ipairs(request.fields) do
        if field.name:lower() == "sec-websocket-key" then key = field.value end
      end
      conn:write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        .. "Sec-WebSocket-Accept: " .. tostring(key) .. "\r\n\r\n")
      conn:write("got " .. conn:read_exact(4))
      conn:write(conn:read_rest "the client's end" .. " and goodbye")
      conn:close()
    end)
    local client = h2.open(rig.start({ origin }).ports.http)
    client:send(h2.headers(1, { { ":method", "CONNECT" }, { ":scheme", "http" }, { ":authority", "localhost" },
      { ":path", "/chat" }, { ":protocol", "websocket" }, { "sec-websocket-version", "13" } }), h2.data(1, "ping"))
    client:read_until(function(c) return c.streams[1] and table.concat(c.streams[1].body) == "got ping" end)
    assert.equal(200, client.streams[1].status)
    client:send(h2.data(1, "more", true))
    assert.equal("got pingmore and goodbye", client:answer(1).body)
    local request = origin.requests[1]
    assert.same({ "GET", "/chat" }, { request.method, request.target })
    client:close()
  end))

  it("whose WebSocket the backend does not want is not told that there is one", loop.spec(function()
    local origin = origins.start(function(conn) conn:write(origins.response(200, nil, "no")) end)
    local client = h2.open(rig.start({ origin }).ports.http)
    client:send(h2.headers(1, { { ":method", "CONNECT" }, { ":scheme", "http" }, { ":authority", "localhost" },
      { ":path", "/chat" }, { ":protocol", "websocket" } }))
    assert.equal(502, client:answer(1).status)
    client:close()
  end))

  it("that ends its connection in the middle leaves nothing behind", loop.spec(function()
    local origin = origins.start(function(conn) conn:read_rest "the end" end)
    local server = rig.start({ origin })
    for round = 1, 5 do
      local client = h2.open(server.ports.http)
      for i = 0, 9 do client:send(h2.headers(1 + 2 * i, get "/", ENDS)) end
      origin:wait_requests(round * 10)
      client:close()
    end
    for _, line in ipairs(server:wait_access_log(50)) do assert.equal("client_closed", line.reason) end
  end))
end)

describe("real clients of HTTP/2", function()
  local shared, server, origin, site = loop.scope()
  setup(shared:spec(function()
    local dir = tempdir.new()
    site = pki.self_signed(dir, "site", { names = { "localhost" } })
    origin = origins.start(function(conn, request)
      conn:write(origins.response(200, nil, ("y"):rep(request.target == "/small" and 100 or 100000)))
    end)
    server = servers.start { conf = { listeners = { { name = "http", address = "127.0.0.1:0" },
      { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } } },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "site", path_prefix = "/", pool = "web" } } } }
  end))
  teardown(shared:closer())

  it("curl, with prior knowledge and by ALPN", loop.spec(function()
    for _, url in ipairs { ("--http2-prior-knowledge http://localhost:%d/x"):format(server.ports.http),
      ("--http2 -k https://localhost:%d/x"):format(server.ports.https) } do
      local out = run("sh", "-c", "curl -s -o /dev/null -w '%{http_version} %{http_code} %{size_download}' " .. url)
      assert.equal("2 200 100000", out)
    end
    assert.equal("1.1 200", run("sh", "-c", ("curl -s -k --http1.1 -o /dev/null -w '%%{http_version} %%{http_code}' "
      .. "https://localhost:%d/x"):format(server.ports.https)))
  end))

  it("h2load, 20 connections with 50 streams each", loop.spec(function()
    local out = run("h2load", "-n", "2000", "-c", "20", "-m", "50",
      ("https://localhost:%d/small"):format(server.ports.https))
    assert.matches("2000 succeeded, 0 failed", out)
    assert.matches("Application protocol: h2", out)
  end))

  it("nghttp, with priorities and padding", loop.spec(function()
    local out = run("nghttp", "-nv", "-b", "8", "-m", "10", ("http://localhost:%d/x"):format(server.ports.http))
    local _, n = out:gsub(":status: 200", "")
    assert.equal(10, n)
  end))
end)

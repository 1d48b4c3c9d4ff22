--- HTTP/2 to backends: streams on few connections, what they end by, limits, translation from and to HTTP/1.1.
local cjson = require "cjson"
local clients = require "support.client"
local h2 = require "support.h2_origin"
local loop = require "support.loop"
local rig = require "support.rig"

local OPTIONS = { pool = { protocol = "h2" } }
local NO_ERROR, INTERNAL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 6, 7, 8

local function get(server, path) return clients.get(server.ports.http, path or "/") end

local function with(pool, conf)
  pool.protocol = "h2"
  return { pool = pool, conf = conf }
end

-- Answers with what it was asked.
local function echo(call)
  local body = call:body()
  local seen = { fields = call.fields, trailers = call.trailing or {}, body = body, stream = call.stream }
  call:head(200, { { "content-type", "application/json" } })
  call:data(cjson.encode(seen), true)
end

local function seen_of(response)
  assert.equal(200, response.status)
  local seen = cjson.decode(response.body)
  function seen.get(name)
    for _, field in ipairs(seen.fields) do
      if field[1] == name then return field[2] end
    end
  end
  return seen
end

local function code_of(response) return { response.status, rig.code(response) } end

-- Holds each call until release().
local function holding()
  local gate, is_open = loop.condition(), false
  local origin = h2.start(function(call)
    gate:wait("the gate", function() return is_open end)
    echo(call)
  end)
  function origin.release()
    is_open = true
    gate:notify()
  end
  return origin
end

local function together(n, ask)
  local asks = {}
  for i = 1, n do asks[i] = function() ask(i) end end
  return asks
end

describe("a request to a backend of HTTP/2", function()
  it("has pseudo-header fields, lower case names, and no field of a connection", loop.spec(function()
    local origin = h2.start(echo)
    local server = rig.start({ origin }, OPTIONS)
    local seen = seen_of(clients.request(server.ports.http, "GET", "/a?b=c", { ["X-Yz"] = "1",
      Connection = "close, x-hop", ["X-Hop"] = "2", ["Keep-Alive"] = "3" }))
    assert.same({ "GET", "http", "localhost", "/a?b=c", "1" }, { seen.get ":method", seen.get ":scheme",
      seen.get ":authority", seen.get ":path", seen.get "x-yz" })
    for _, name in ipairs { "connection", "x-hop", "keep-alive", "host", "transfer-encoding" } do
      assert.is_nil(seen.get(name))
    end
    server:stop()
  end))

  it("has its content, with a length or in chunks, and its trailers", loop.spec(function()
    local origin = h2.start(echo)
    local server = rig.start({ origin }, OPTIONS)
    local seen = seen_of(clients.request(server.ports.http, "POST", "/", nil, "body"))
    assert.same({ "body", "4" }, { seen.body, seen.get "content-length" })
    local client = clients.connect(server.ports.http)
    client:send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n"
      .. "Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
    seen = seen_of(client:read_response("POST"))
    assert.same({ "abc", "trailers" }, { seen.body, seen.get "te" })
    assert.is_nil(seen.get "content-length")
    assert.same({ { "x-sum", "6" } }, seen.trailers)
    client:close()
    server:stop()
  end))

  it("may be large: the backend's windows are heeded", loop.spec(function()
    local body = ("0123456789abcdef"):rep(40000)
    local origin = h2.start(function(call)
      call:head(200)
      call:data(tostring(#call:body()), true)
    end)
    local server = rig.start({ origin }, OPTIONS)
    assert.equal(tostring(#body), clients.request(server.ports.http, "PUT", "/", nil, body).body)
    server:stop()
  end))

  it("waits, and then fails, at a window that stays shut", loop.spec(function()
    local origin = h2.start(function() end, { is_stingy = true })
    local server = rig.start({ origin }, with { timeouts = { response = "1s" } })
    local response = clients.request(server.ports.http, "PUT", "/", nil, ("x"):rep(200000))
    assert.same({ 504, "upstream_timeout" }, code_of(response))
    assert.equal(CANCEL, origin.calls[1]:wait_reset())
    assert.equal(65535, #table.concat(origin.calls[1].pieces))
    server:stop()
  end))
end)

describe("an answer of HTTP/2", function()
  it("is chunked to a client of HTTP/1.1 when it has no length, with trailers", loop.spec(function()
    local origin = h2.start(function(call)
      call:head(103, { { "link", "</a>" } })
      call:head(200, { { "trailer", "x-sum" } })
      call:data "abc"
      call:data "def"
      call:trailers { { "x-sum", "6" } }
    end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http)
    client:request("GET", "/", { TE = "trailers", Connection = "te" })
    local interim = client:read_head()
    assert.same({ 103, "</a>" }, { interim.status, interim:get "link" })
    local response = client:read_response()
    assert.same({ 200, "chunked", "abcdef" }, { response.status, response:get "transfer-encoding", response.body })
    assert.same({ "x-sum", "6" }, { response.trailers[1].name:lower(), response.trailers[1].value })
    client:close()
    server:stop()
  end))

  it("keeps its length, also to HEAD, and may have no content", loop.spec(function()
    local origin = h2.start(function(call)
      if call:get ":path" == "/none" then return call:head(204, nil, true) end
      if call:get ":path" == "/empty" then return call:head(200, nil, true) end
      call:head(200, { { "content-length", "5" } }, call:get ":method" == "HEAD")
      if call:get ":method" ~= "HEAD" then call:data("hello", true) end
    end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http)
    local function ask(method, path)
      client:request(method, path)
      return client:read_response(method)
    end
    local response = ask("GET", "/")
    assert.same({ "5", "hello" }, { response:get "content-length", response.body })
    assert.equal("5", ask("HEAD", "/"):get "content-length")
    assert.equal(204, ask("GET", "/none").status)
    response = ask("GET", "/empty")
    assert.same({ 200, "0" }, { response.status, response:get "content-length" })
    client:close()
    server:stop()
  end))

  it("says in Via how it came", loop.spec(function()
    local server = rig.start({ h2.start(echo) }, with { via = true })
    local response = get(server)
    assert.same({ "2 veloflux", "1.1 veloflux" }, { response:get "via", seen_of(response).get "via" })
    server:stop()
  end))

  it("waits for a slow client, and stops no other", loop.spec(function()
    local sent = 0
    local origin = h2.start(function(call)
      call:head(200)
      if call:get ":path" ~= "/large" then return call:data("small", true) end
      for _ = 1, 16 do -- as much as the proxy's window allows
        call:data(("x"):rep(16384))
        sent = sent + 16384
      end
    end)
    local server = rig.start({ origin }, OPTIONS)
    local slow = {}
    for i = 1, 8 do
      slow[i] = clients.connect(server.ports.http, { paused = true })
      slow[i]:request("GET", "/large")
    end
    origin:wait_calls(8)
    origin:wait("all that was sent", function() return sent == 8 * 16 * 16384 end)
    assert.equal("small", get(server).body)
    assert.equal(1, #origin.links)
    for i = 1, 8 do slow[i]:close() end
    server:stop()
  end))

  it("goes on when a slow client reads", loop.spec(function()
    local body = ("0123456789abcdef"):rep(1024 * 1024 / 16)
    local origin = h2.start(function(call)
      call:head(200, { { "content-length", tostring(#body) } })
      call:data(body, true)
    end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http, { paused = true })
    client:request("GET", "/")
    origin:wait_calls(1)
    client.stream:resume()
    assert.equal(body, client:read_response().body)
    client:close()
    server:stop()
  end))
end)

describe("connections of HTTP/2", function()
  it("are shared by requests at the same time", loop.spec(function()
    local origin = holding()
    local server = rig.start({ origin }, OPTIONS)
    local asks = together(20, function(i) assert.equal("/" .. i, seen_of(get(server, "/" .. i)).get ":path") end)
    asks[#asks + 1] = function()
      origin:wait_calls(20)
      origin.release()
    end
    clients.together(unpack(asks))
    assert.equal(1, #origin.links)
    server:stop()
  end))

  it("are more when the backend takes fewer streams at once", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = h2.start(function(call)
      if call:get ":path" ~= "/first" then gate:wait("the gate", function() return is_open end) end
      echo(call)
    end, { settings = { [3] = 2 } })
    local server = rig.start({ origin }, OPTIONS)
    get(server, "/first") -- its settings are known now
    local asks = together(6, function() assert.equal(200, get(server).status) end)
    asks[#asks + 1] = function()
      origin:wait_calls(7)
      is_open = true
      gate:notify()
    end
    clients.together(unpack(asks))
    assert.equal(3, #origin.links)
    server:stop()
  end))

  it("are at most max_connections", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = h2.start(function(call)
      if call:get ":path" == "/hold" then gate:wait("the gate", function() return is_open end) end
      echo(call)
    end, { settings = { [3] = 1 } })
    local server = rig.start({ origin }, with { max_connections = 1 })
    get(server)
    clients.together(function() assert.equal(200, get(server, "/hold").status) end, function()
      origin:wait_calls(2)
      assert.same({ 503, "pool_full" }, code_of(get(server)))
      is_open = true
      gate:notify()
    end)
    server:stop()
  end))

  it("close after upstream_idle, and say so", loop.spec(function()
    local origin = h2.start(echo)
    local server = rig.start({ origin }, with { timeouts = { upstream_idle = "50ms" } })
    get(server)
    origin:wait("the end of the connection", function() return origin.links[1].ended end)
    assert.equal(NO_ERROR, origin.links[1].goaway)
    assert.equal(200, get(server).status)
    assert.equal(2, #origin.links)
    server:stop()
  end))

  it("are kept up to upstream_keepalive", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = h2.start(function(call)
      if call:get ":path" ~= "/first" then gate:wait("the gate", function() return is_open end) end
      echo(call)
    end, { settings = { [3] = 1 } })
    local server = rig.start({ origin }, with({}, { limits = { upstream_keepalive = 1 } }))
    get(server, "/first")
    clients.together(function() get(server) end, function() get(server) end, function()
      origin:wait_calls(3)
      is_open = true
      gate:notify()
    end)
    origin:wait("one of two to be closed", function() return origin.links[1].ended ~= origin.links[2].ended end)
    assert.equal(200, get(server).status)
    assert.equal(2, #origin.links)
    server:stop()
  end))

  it("are asked for a sign of life, and given up without one", loop.spec(function()
    local origin = h2.start(function(call)
      call:head(200)
      if call:get ":path" == "/alive" then
        call.origin:wait("two PINGs", function() return call.origin.pings >= 2 end)
        call:data("alive", true)
        call.origin.is_mute = true
      end
    end)
    local server = rig.start({ origin }, with { timeouts = { upstream_idle = "50ms", connect = "2s" } })
    assert.equal("alive", get(server, "/alive").body)
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    assert.is_false(client:read_response().complete)
    client:close()
    server:stop()
  end))

  it("end when the backend does not say hello in time", loop.spec(function()
    local origin = h2.start(function() end, { is_silent = true })
    local server = rig.start({ origin }, with { timeouts = { connect = "100ms" } })
    assert.same({ 504, "upstream_timeout" }, code_of(get(server)))
    server:stop()
  end))

  it("are private with a PROXY header", loop.spec(function()
    local origin = h2.start(echo)
    local heads = {}
    local preface = origin.inner.preface
    origin.inner.preface = function(conn)
      heads[#heads + 1] = conn:read_until("\r\n", "a PROXY header")
      preface(conn)
    end
    local server = rig.start({ origin }, with { proxy_protocol = "v1" })
    for _ = 1, 2 do assert.equal(200, get(server).status) end
    assert.equal(2, #heads)
    assert.matches("^PROXY TCP4 127.0.0.1 127.0.0.1 ", heads[1])
    server:stop()
  end))

  it("stand or fall with the backend: refused, gone, another", loop.spec(function()
    local dead = h2.start(echo)
    dead.inner:close()
    local origin = h2.start(echo)
    local server = rig.start({ dead, origin }, OPTIONS)
    for _ = 1, 4 do
      assert.equal("body", seen_of(clients.request(server.ports.http, "POST", "/", nil, "body")).body)
    end
    server:stop()
  end))
end)

describe("a backend that refuses", function()
  it("a stream gets the request once more, whatever its method", loop.spec(function()
    local n = 0
    local origin = h2.start(function(call)
      n = n + 1
      call:body()
      if n == 1 then return call:reset(REFUSED_STREAM) end
      echo(call)
    end)
    local server = rig.start({ origin }, OPTIONS)
    assert.equal("pay", seen_of(clients.request(server.ports.http, "POST", "/", nil, "pay")).body)
    assert.equal(2, #origin.calls)
    server:stop()
  end))

  it("again makes another do it", loop.spec(function()
    local refusing = h2.start(function(call) call:reset(REFUSED_STREAM) end)
    local origin = h2.start(echo)
    local server = rig.start({ refusing, origin }, OPTIONS)
    for _ = 1, 4 do
      assert.equal("pay", seen_of(clients.request(server.ports.http, "POST", "/", nil, "pay")).body)
    end
    server:stop()
  end))

  it("always, alone, makes 503", loop.spec(function()
    local server = rig.start({ h2.start(function(call) call:reset(REFUSED_STREAM) end) }, OPTIONS)
    assert.same({ 503, "upstream_refused" }, code_of(get(server)))
    server:stop()
  end))

  it("by GOAWAY: what it will not do goes elsewhere, the rest goes on", loop.spec(function()
    local origin
    origin = h2.start(function(call)
      local link = call.link
      if #origin.links > 1 then return echo(call) end
      if call.stream == 1 then
        origin:wait("the second", function() return link.calls[3] end)
        link.conn:write(h2.goaway(1, NO_ERROR))
        origin:wait_calls(3)
        echo(call)
      end
    end)
    local server = rig.start({ origin }, OPTIONS)
    clients.together(function() assert.equal(1, seen_of(get(server, "/a")).stream) end, function()
      origin:wait_calls(1)
      local seen = seen_of(clients.request(server.ports.http, "POST", "/b", nil, "pay"))
      assert.same({ "pay", 1 }, { seen.body, seen.stream })
    end)
    origin:wait("the end of the first connection", function() return origin.links[1].ended end)
    assert.equal(2, #origin.links)
    server:stop()
  end))
end)

describe("a stream that ends early", function()
  it("before the answer makes 502", loop.spec(function()
    local server = rig.start({ h2.start(function(call) call:reset(INTERNAL_ERROR) end) }, OPTIONS)
    assert.same({ 502, "upstream_reset" }, code_of(get(server)))
    server:stop()
  end))

  it("within the answer cuts it, and nothing else", loop.spec(function()
    local origin = h2.start(function(call)
      if call:get ":path" == "/whole" then return echo(call) end
      call:head(200, { { "content-length", "10" } })
      call:data "12345"
      call:reset(INTERNAL_ERROR)
    end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    assert.equal("12345", client:read_head() and client.stream:read_rest("the rest"))
    assert.equal(200, get(server, "/whole").status)
    assert.equal(1, #origin.links)
    server:stop()
  end))

  it("by a connection that ends, makes 502; a kept one is replaced", loop.spec(function()
    local n = 0
    local origin = h2.start(function(call)
      n = n + 1
      if n == 2 or call:get ":path" == "/die" then return call.conn:close() end
      echo(call)
    end)
    local server = rig.start({ origin }, OPTIONS)
    for _ = 1, 2 do assert.equal(200, get(server).status) end
    assert.equal(2, #origin.links)
    assert.same({ 502, "upstream_closed" }, code_of(clients.request(server.ports.http, "POST", "/die", nil, "pay")))
    server:stop()
  end))

  it("behind the answer: the rest of the request is not wanted", loop.spec(function()
    local origin = h2.start(function(call)
      if call:get ":method" ~= "POST" then return echo(call) end
      call:head(403, { { "content-length", "2" } })
      call:data("no", true)
      call:reset(NO_ERROR)
    end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"
    local response = client:read_response("POST")
    assert.same({ 403, "no" }, { response.status, response.body })
    client:close()
    assert.equal(200, get(server).status)
    server:stop()
  end))

  it("because the client has gone", loop.spec(function()
    local origin = h2.start(function(call) call:body() end)
    local server = rig.start({ origin }, OPTIONS)
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    origin:wait_calls(1)
    client.stream:reset()
    assert.equal(CANCEL, origin.calls[1]:wait_reset())
    server:stop()
  end))

  it("because no answer came in time, or it stopped", loop.spec(function()
    local origin = h2.start(function(call)
      if call:get ":path" == "/half" then
        call:head(200, { { "content-length", "10" } })
        call:data "12345"
      end
    end)
    local server = rig.start({ origin }, with { timeouts = { response = "100ms" } })
    assert.same({ 504, "upstream_timeout" }, code_of(get(server)))
    assert.equal(CANCEL, origin.calls[1]:wait_reset())
    server:stop()
    server = rig.start({ origin }, with { timeouts = { response_body = "1s" } })
    local client = clients.connect(server.ports.http)
    client:request("GET", "/half")
    client:read_head()
    assert.equal("12345", client.stream:read_rest("the rest"))
    assert.equal(CANCEL, origin.calls[2]:wait_reset())
    server:stop()
  end))
end)

describe("answers that break HTTP/2", function()
  local function head(call, fields) call:frame("HEADERS", h2.END_HEADERS + h2.END_STREAM, h2.block(fields)) end
  local cases = {
    ["no status"] = function(call) head(call, { { "a", "b" } }) end,
    ["a status that is none"] = function(call) head(call, { { ":status", "2x0" } }) end,
    ["101"] = function(call) head(call, { { ":status", "101" } }) end,
    ["two statuses"] = function(call) head(call, { { ":status", "200" }, { ":status", "200" } }) end,
    ["an upper case name"] = function(call) head(call, { { ":status", "200" }, { "X-A", "1" } }) end,
    ["a field of a connection"] = function(call) head(call, { { ":status", "200" }, { "connection", "close" } }) end,
    ["transfer-encoding"] = function(call) head(call, { { ":status", "200" }, { "transfer-encoding", "chunked" } }) end,
    ["a request's pseudo-header"] = function(call) head(call, { { ":status", "200" }, { ":path", "/" } }) end,
    ["a pseudo-header behind fields"] = function(call) head(call, { { "a", "b" }, { ":status", "200" } }) end,
    ["a line end in a value"] = function(call) head(call, { { ":status", "200" }, { "a", "b\r\nc: d" } }) end,
    ["content-length that is no number"] = function(call)
      head(call, { { ":status", "200" }, { "content-length", "+1" } })
    end,
    ["less content than announced"] = function(call)
      head(call, { { ":status", "200" }, { "content-length", "5" } })
    end,
    ["an interim answer that ends"] = function(call) head(call, { { ":status", "100" } }) end,
    ["content before a head"] = function(call) call:data("x", true) end,
    ["a large head"] = function(call) head(call, { { ":status", "200" }, { "a", ("b"):rep(20000) },
      { "c", ("d"):rep(20000) } }) end,
    ["many fields"] = function(call)
      local fields = { { ":status", "200" } }
      for i = 1, 200 do fields[#fields + 1] = { "x-" .. i, "1" } end
      head(call, fields)
    end,
  }
  local names = {}
  for name in pairs(cases) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it("make 502: " .. name, loop.spec(function()
      local origin = h2.start(function(call)
        if call:get ":path" == "/good" then return echo(call) end
        cases[name](call)
      end)
      local server = rig.start({ origin }, OPTIONS)
      assert.same({ 502, "malformed_response" }, code_of(get(server)))
      assert.equal(200, get(server, "/good").status)
      server:stop()
    end))
  end

  it("make 502: frames that are none, and HTTP/1.1", loop.spec(function()
    local garbage = "\0\0\0\0\0\0\0\0\0\0\0\0"
    local origin = h2.start(function(call) call.conn:write(garbage) end)
    local server = rig.start({ origin }, OPTIONS)
    assert.same({ 502, "malformed_response" }, code_of(get(server)))
    garbage = h2.frame("PING", 0, 0, "short")
    assert.same({ 502, "malformed_response" }, code_of(get(server)))
    origin.inner.preface = function(conn)
      conn:read_some "anything"
      conn:write "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    end
    assert.same({ 502, "malformed_response" }, code_of(get(server)))
    server:stop()
  end))

  it("end the connection with a code", loop.spec(function()
    local origin = h2.start(function(call) call.conn:write(h2.frame("PING", 0, 0, "short")) end)
    local server = rig.start({ origin }, OPTIONS)
    get(server)
    origin:wait("the end", function() return origin.links[1].ended end)
    assert.equal(FRAME_SIZE_ERROR, origin.links[1].goaway)
    server:stop()
  end))
end)

describe("floods of frames by a backend", function()
  local function answer_with(frames)
    return function(call)
      if call:get ":path" == "/good" then return echo(call) end
      local head = h2.block { { ":status", "200" } }
      call.conn:write(h2.frame("HEADERS", h2.END_HEADERS, call.stream, head) .. frames(call))
    end
  end
  local cases = {
    ping_flood = function() return h2.frame("PING", 0, 0, "12345678"):rep(2000) end,
    settings_flood = function() return h2.settings({ [3] = 100 }):rep(2000) end,
    empty_frame_flood = function(call) return h2.frame("DATA", 0, call.stream, ""):rep(2000) end,
    priority_flood = function(call) return h2.frame("PRIORITY", 0, call.stream, "\0\0\0\0\1"):rep(2000) end,
    window_update_flood = function() return h2.window(0, 1):rep(30000) end,
    continuation_flood = function(call)
      return h2.frame("HEADERS", 0, call.stream, "") .. h2.frame("CONTINUATION", 0, call.stream, ""):rep(20)
    end,
  }
  for kind, frames in pairs(cases) do
    it("end its connection: " .. kind, loop.spec(function()
      local origin = h2.start(answer_with(frames))
      local server = rig.start({ origin }, OPTIONS)
      get(server)
      origin:wait("the end", function() return origin.links[1].ended end)
      assert.equal(200, get(server, "/good").status)
      server:wait_log("backend%.flood.*kind=" .. kind)
      local metrics = clients.get(server.ports.admin, "/metrics").body
      assert.equal("1", metrics:match "veloflux_backend_http2_floods_total{[^}]*} (%d+)")
      server:stop()
    end))
  end

  it("are none where requests earn them: windows for uploads, resets of refused requests", loop.spec(function()
    local origin = h2.start(function(call)
      if call:get ":path" == "/refused" then return call:reset(CANCEL) end
      call:body()
      call:head(200, {}, true)
    end)
    local server = rig.start({ origin }, OPTIONS)
    for _ = 1, 600 do assert.equal(502, get(server, "/refused").status) end
    assert.equal(1, #origin.links)
    server:stop()
  end))
end)

--- The HTTP client of plugins against origins that behave and peers that do not.
local cjson = require "cjson"
local uv = require "luv"
local harness = require "unit.pdk.harness"
local loop = require "support.loop"
local origins = require "support.origin"
local peers = require "unit.pdk.peer"
local http = require "veloflux.pdk.http"
local tempdir = require "support.tempdir"

-- A spec whose body runs as a task of its own; `h` is the harness.
local function task(fn, options)
  return loop.spec(function()
    local h = harness.new(options)
    fn(h)
    h:drop_kept()
    assert.equal(0, h.n_held, "connections left open")
    assert.equal(0, h:n_open(), "connections that still count")
    h:close()
  end)
end

-- A peer that reads a request head and answers with bytes, then closes.
local function saying(...)
  local answers = { ... }
  return peers.tcp(function(conn, number)
    if not conn:read_until "\r\n\r\n" then return end
    conn:write(answers[number] or answers[#answers])
  end)
end

local function url_of(peer, path) return ("http://127.0.0.1:%d%s"):format(peer.port, path or "/") end

describe("pdk.http", function()
  it("asks and reads the answer", task(function(h)
    local origin = origins.start()
    h:run(function()
      local fields_sent = { ["X-One"] = "1", x_two = { "2", 3 } }
      local res = assert(http.get(url_of(origin, "/a%20b?c=d#e"), { headers = fields_sent }))
      local seen = cjson.decode(res.body)
      assert.same({ 200, "X", "application/json" }, { res.status, res.reason, res.headers["Content-Type"] })
      assert.equal("application/json", res.headers.content_type)
      assert.is_nil(res.headers.missing)
      assert.same({ "GET", "/a%20b?c=d", "none" }, { seen.method, seen.target, seen.framing })
      local fields = {}
      for _, field in ipairs(seen.fields) do fields[#fields + 1] = field[1] .. "=" .. field[2] end
      table.sort(fields)
      assert.same({ "Accept=*/*", "Host=127.0.0.1:" .. origin.port, "User-Agent=VeloFlux", "X-One=1", "x_two=2",
        "x_two=3" }, fields)
    end)
    assert.same({}, origin.faults)
  end))

  it("sends content with its length, and POST without content with length 0", task(function(h)
    local origin = origins.start()
    local text = ("0123456789"):rep(60000)
    h:run(function()
      local seen = cjson.decode(http.post(url_of(origin), "hello").body)
      assert.same({ "POST", "length", "hello" }, { seen.method, seen.framing, seen.body })
      seen = cjson.decode(http.request(url_of(origin), { method = "PUT", body = text,
        max_body_bytes = 2 ^ 21 }).body)
      assert.equal(text, seen.body)
      seen = cjson.decode(http.request(url_of(origin), { method = "POST" }).body)
      assert.same({ "length", "" }, { seen.framing, seen.body or "" })
      assert.equal(1, seen.connection) -- all on one
    end)
    assert.same({}, origin.faults)
  end))

  it("sends the pieces of an iterator as chunks", task(function(h)
    local origin = origins.start()
    local pieces = { "one,", "", ("x"):rep(300000), ",end" }
    local i = 0
    h:run(function()
      local res = assert(http.post(url_of(origin), function()
        i = i + 1
        return pieces[i]
      end, { max_body_bytes = 2 ^ 20 }))
      local seen = cjson.decode(res.body)
      assert.same({ "chunked", table.concat(pieces) }, { seen.framing, seen.body })
      local _, err, code = http.post(url_of(origin), function() return nil, "no more milk" end)
      assert.same({ "POST " .. url_of(origin) .. ": request content: no more milk", "aborted" }, { err, code })
      assert.has_error(function() http.post(url_of(origin), function() return 7 end) end)
    end)
  end))

  it("reads content piece by piece", task(function(h)
    local go
    local peer = peers.tcp(function(conn)
      conn:read_until "\r\n\r\n"
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
      loop.await("the first piece to be read", function(settle) go = settle end)
      conn:write "3;x=y\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n"
      conn:read_some()
    end)
    h:run(function()
      local res = assert(http.get(url_of(peer), { stream = true }))
      assert.is_nil(res.body)
      assert.equal("one", res.pieces())
      go()
      assert.equal("two", res.pieces())
      assert.is_nil(res.pieces())
      assert.is_nil(res.pieces())
      assert.is_nil(res.err)
      assert.equal("6", res.trailers.x_sum)
      assert.equal(1, h:n_kept())
      res:close()
    end)
  end))

  it("holds a sender back while nobody reads", task(function(h)
    local size, written = 2 ^ 25, 0
    local peer = peers.tcp(function(conn)
      conn:read_until "\r\n\r\n"
      conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(size))
      while written < size and conn:write(("x"):rep(2 ^ 20)) do written = written + 2 ^ 20 end
    end)
    h:run(function()
      local res = assert(http.get(url_of(peer), { stream = true }))
      assert.is_string(res.pieces())
      harness.sleep(50)
      assert.is_true(written < size)
      local got = 0
      for piece in res.pieces do got = got + #piece end
      assert.is_true(got > size - 2 ^ 20)
      assert.is_nil(res.err)
    end)
  end))

  it("knows how each kind of answer ends", task(function(h)
    h:run(function()
      for _, case in ipairs {
        { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "" },
        { "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "" },
        { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "" },
        { "GET", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
          .. "Content-Length: 2\r\n\r\nhi", 200, "hi" },
        { "GET", "HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end" },
        { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi" },
      } do
        local res, err = http.request(url_of(saying(case[2])), { method = case[1] })
        assert.same({ case[3], case[4] }, { res and res.status, res and res.body }, err)
      end
    end)
  end))

  it("refuses answers that two parsers could read differently, and those that are cut short", task(function(h)
    h:run(function()
      for _, case in ipairs {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "malformed" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed" },
        { "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "malformed" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "malformed" },
        { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "malformed" },
        { ("HTTP/1.1 100 Continue\r\n\r\n"):rep(40), "malformed" },
        { "\21\3\1\0\2\2\40", "malformed" },
        { "SSH-2.0-OpenSSH_9\r\n", "malformed" },
        { "HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(70000), "too_large" },
        { "HTTP/1.1 200 OK\r\n" .. ("X: y\r\n"):rep(300) .. "\r\n", "malformed" },
        { "HTTP/1.1 200 OK\r\nX: y", "malformed" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "closed" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", "closed" },
        { "", "closed" },
      } do
        local peer = saying(case[1])
        local res, err, code = http.get(url_of(peer))
        assert.same({ nil, case[2] }, { res, code }, case[1]:sub(1, 60))
        assert.is_string(err)
        assert.equal(1, peer.accepted)
      end
    end)
  end))

  it("limits content", task(function(h)
    h:run(function()
      local function get(answer) return http.get(url_of(saying(answer)), { max_body_bytes = 4 }) end
      assert.equal("1234", get("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234").body)
      for _, answer in ipairs {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n3\r\n123\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n12345",
      } do
        local res, err, code = get(answer)
        assert.same({ nil, "too_large" }, { res, code })
        assert.matches("response content: larger than 4 bytes", err, 1, true)
      end
    end)
  end))

  it("gives up on servers that trickle or say nothing", task(function(h)
    local peer = peers.tcp(function(conn)
      local head = conn:read_until "\r\n\r\n"
      if head:find "^GET /head" then conn:write "HTTP/1.1 2" end
      if head:find "^GET /body" then conn:write "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi" end
      if head:find "^GET /trickle" then
        conn:write "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        local timer = uv.new_timer()
        loop.defer(function() timer:close() end)
        timer:start(5, 5, function() conn:post "x" end)
      end
      return true
    end)
    h:run(function()
      for path, options in pairs {
        ["/silent"] = { response_timeout = 0.05 }, ["/silent2"] = { timeout = 0.05 },
        ["/head"] = { response_timeout = 0.05 }, ["/body"] = { read_timeout = 0.05 },
        ["/trickle"] = { timeout = 0.1 },
      } do
        local res, err, code = http.get(url_of(peer, path), options)
        assert.same({ nil, "timeout" }, { res, code }, path)
        assert.matches(": timed out$", err)
      end
    end)
    peer.conns[#peer.conns]:close()
  end))

  it("repeats an idempotent request when a kept connection turns out to be closed", task(function(h)
    local peer = peers.tcp(function(conn, number)
      conn:read_until "\r\n\r\n"
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
      if number % 2 == 1 then conn:read_until "\r\n\r\n" end -- the second request is read and not answered
      if number % 2 == 0 then return conn:read_rest() and false end
    end)
    h:run(function()
      assert.equal(200, http.get(url_of(peer)).status)
      assert.equal(200, http.get(url_of(peer)).status)
      assert.equal(2, peer.accepted)
      h:drop_kept()
      assert.equal(200, http.get(url_of(peer)).status)
      local res, err, code = http.post(url_of(peer), "x")
      assert.same({ nil, "POST " .. url_of(peer) .. ": response: the server closed the connection", "closed" },
        { res, err, code })
      assert.equal(3, peer.accepted)
    end)
  end))

  it("reads an answer that comes before the request is complete", task(function(h)
    local peer = peers.tcp(function(conn)
      conn:read_until "\r\n\r\n"
      conn:pause()
      conn:write "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
      return true
    end)
    h:run(function()
      local res = assert(http.post(url_of(peer), ("x"):rep(2 ^ 25)))
      assert.same({ 413, "no" }, { res.status, res.body })
      local n = 0
      res = assert(http.post(url_of(peer), function()
        n = n + 1
        return n <= 1000 and ("x"):rep(2 ^ 20) or nil
      end))
      assert.same({ 413, "no" }, { res.status, res.body })
      assert.is_true(n < 1000)
      assert.equal(0, h:n_kept()) -- nobody else may speak on these
    end)
    for _, conn in ipairs(peer.conns) do conn:close() end
  end))

  it("asks over a unix socket, and as another host", task(function(h)
    local path = tempdir.new() .. "/http.sock"
    local listener, asked = uv.new_pipe(false), ""
    assert(listener:bind(path))
    listener:listen(8, function()
      local conn = uv.new_pipe(false)
      listener:accept(conn)
      conn:read_start(function(_, data)
        if not data then return conn:close() end
        asked = asked .. data
        conn:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
      end)
    end)
    loop.defer(function() listener:close() end)
    h:run(function()
      local options = { unix_socket = path, headers = { host = "app.test:81" } }
      assert.equal("hi", http.get("http://ignored.test/x", options).body)
      assert.equal("hi", http.get("http://ignored.test/y", options).body)
      local _, err, code = http.get("http://ignored.test/", { unix_socket = path .. "x" })
      assert.same({ "GET http://ignored.test/: unix:" .. path .. "x: no such file or directory", "refused" },
        { err, code })
    end)
    assert.matches("^GET /x HTTP/1.1\r\nHost: app.test:81\r\n", asked)
    assert.equal(1, h:n_kept())
    h:drop_kept()
    assert.equal(0, h:n_kept())
  end))

  it("keeps as many connections as the proxy may, the newest first", task(function(h)
    local origin = origins.start()
    h:run(function()
      local answers = {}
      for i = 1, 4 do answers[i] = assert(http.get(url_of(origin), { stream = true })) end
      assert.equal(4, h:n_open())
      for i = 1, 4 do
        for _ in answers[i].pieces do assert.is_nil(answers[i].err) end
      end
      assert.same({ 2, 2 }, { h:n_kept(), h:n_open() })
      assert.equal(4, cjson.decode(http.get(url_of(origin)).body).connection)
      assert.equal(1, h:n_reused())
    end)
  end, { keepalive = 2 }))

  it("gives up connections that it keeps when there is no room for another", task(function(h)
    local list = { origins.start(), origins.start(), origins.start() }
    h:run(function()
      for _, origin in ipairs(list) do assert.equal(200, http.get(url_of(origin)).status) end
      assert.same({ 2, 2 }, { h:n_kept(), h:n_open() })
      local streamed = { http.get(url_of(list[1]), { stream = true }), http.get(url_of(list[2]), { stream = true }) }
      local _, err, code = http.get(url_of(list[3]))
      assert.matches("too many sockets are open$", err)
      assert.equal("too_many", code)
      for _, res in ipairs(streamed) do res:close() end
    end)
  end, { max_sockets = 2 }))

  it("notices that a kept connection was closed", task(function(h)
    local peer = saying "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    h:run(function() assert.equal(200, http.get(url_of(peer)).status) end)
    h:drive(function() return h:n_kept() == 0 end, "the end of the kept one")
    assert.equal(0, h:n_open())
  end))

  it("takes a URL or a pool, and says what is wrong", task(function(h)
    h:run(function()
      assert.has_error(function() http.get("http://a.test/", { pool = "web" }) end,
        "http: a pool is asked without a URL: see path")
      assert.has_error(function() http.get { path = "/" } end, "http: expected a URL, got nil")
      assert.has_error(function() http.request { pool = 5 } end, "http: pool: expected a string, got number")
      assert.has_error(function() http.post({ pool = "web", path = 5 }, "x") end,
        "http: path: expected a string, got number")
      assert.same({ nil, "invalid name of a pool", "invalid_url" }, { http.get { pool = "a b" } })
      local _, err, code = http.get { pool = "web", path = "/a b" }
      assert.matches("^URL http://web/a b: its path has a space", err)
      assert.equal("invalid_url", code)
    end)
  end))

  it("closes when told to", task(function(h)
    local origin = origins.start()
    h:run(function()
      http.get(url_of(origin), { keepalive = false })
      assert.equal(0, h:n_kept())
      http.get(url_of(saying "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
      assert.equal(0, h:n_kept())
      local res = http.get(url_of(origin), { stream = true })
      res:close()
      res:close()
      assert.is_nil(res.pieces())
      assert.equal(0, h:n_kept())
    end)
  end))

  it("follows redirects when asked, without secrets to others", task(function(h)
    local other = origins.start()
    local origin = origins.start(function(conn, request)
      local to = ({
        ["/a"] = "/b/../c?x", ["/c?x"] = "http://127.0.0.1:" .. other.port .. "/end", ["/loop"] = "loop",
        ["/tls"] = "https://example.test/", ["/bad"] = "ftp://x/", ["/post"] = "/echo", ["/keep"] = "/echo",
      })[request.target]
      if not to then return origins.echo(conn, request) end
      local status = request.target == "/keep" and 307 or 302
      conn:write(origins.response(status, { Location = to }, "moved"))
    end)
    h:run(function()
      local secret = { Authorization = "x", Cookie = "y", ["Content-Type"] = "z", ["X-Other"] = "1" }
      assert.equal(302, http.get(url_of(origin, "/a")).status)
      local res = assert(http.get(url_of(origin, "/a"), { max_redirects = 2, headers = secret }))
      local seen = cjson.decode(res.body)
      assert.same({ url_of(other, "/end"), "/end" }, { res.url, seen.target })
      local names = {}
      for _, field in ipairs(seen.fields) do names[field[1]] = field[2] end
      assert.same({ Host = "127.0.0.1:" .. other.port, ["X-Other"] = "1", Accept = "*/*", ["User-Agent"] = "VeloFlux" },
        names)
      assert.equal("too_many_redirects", select(3, http.get(url_of(origin, "/a"), { max_redirects = 1 })))
      assert.equal("too_many_redirects", select(3, http.get(url_of(origin, "/loop"), { max_redirects = 5 })))
      assert.equal("resolve", select(3, http.get(url_of(origin, "/tls"), { max_redirects = 5 }))) -- by https, then
      assert.equal("invalid_url", select(3, http.get(url_of(origin, "/bad"), { max_redirects = 5 })))
      seen = cjson.decode(http.post(url_of(origin, "/post"), "hello", { max_redirects = 1 }).body)
      assert.same({ "GET", "/echo", "none" }, { seen.method, seen.target, seen.framing })
      seen = cjson.decode(http.post(url_of(origin, "/keep"), "hello", { max_redirects = 1, headers = secret }).body)
      assert.same({ "POST", "hello" }, { seen.method, seen.body })
    end)
  end))

  it("refuses what would break the protocol, before it connects", task(function(h)
    local origin = origins.start()
    h:run(function()
      for _, case in ipairs {
        { "ftp://example.test/", nil, "invalid_url" }, { "example.test", nil, "invalid_url" },
        { "http://", nil, "invalid_url" }, { "http://a:0/", nil, "invalid_url" },
        { "http://a:99999/", nil, "invalid_url" }, { "http://u:p@a/", nil, "invalid_url" },
        { "http://a/b c", nil, "invalid_url" }, { "http://a/\r\nX: y", nil, "invalid_url" },
        { url_of(origin), { headers = { X = "y\r\nZ: z" } }, "invalid" },
        { url_of(origin), { headers = { ["X\r\nY"] = "z" } }, "invalid" },
        { url_of(origin), { headers = { ["Transfer-Encoding"] = "chunked" } }, "invalid" },
        { url_of(origin), { headers = { Connection = "close" } }, "invalid" },
        { url_of(origin), { headers = { Host = "a b" } }, "invalid" },
        { url_of(origin), { method = "GET /x HTTP/1.1\r\n" }, "invalid" },
        { url_of(origin), { method = "CONNECT" }, "invalid" },
      } do
        local res, err, code = http.request(case[1], case[2])
        assert.same({ nil, case[3] }, { res, code }, case[1])
        assert.is_string(err)
        assert.is_nil(err:find "[\r\n]" )
      end
      assert.has_error(function() http.get(7) end, "http: expected a URL, got number")
      assert.has_error(function() http.get(url_of(origin), { headers = { X = true } }) end)
      assert.has_error(function() http.get(url_of(origin), { timeout = -1 }) end)
      assert.has_error(function() http.post(url_of(origin), true) end)
    end)
    assert.equal(0, origin.accepted)
  end))

  it("says why it could not connect", task(function(h)
    local peer = peers.tcp(function() end)
    peer.refuse()
    h:run(function()
      local address = "127.0.0.1:" .. peer.port
      local res, err, code = http.get(url_of(peer, "/x"))
      assert.same({ nil, "GET http://" .. address .. "/x: " .. address .. ": connection refused", "refused" },
        { res, err, code })
    end)
  end))
end)

--- Sockets of plugins against peers that close, trickle, reset, say too much or nothing at all.
local uv = require "luv"
local harness = require "unit.pdk.harness"
local library = require "support.library"
local dns = require "unit.net.dns_server"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local tempdir = require "support.tempdir"
local socket = require "veloflux.pdk.socket"
local pool = require "veloflux.runtime.stream_pool"

-- A spec whose body runs as a task; `h` is the harness.
local function task(fn, options)
  return loop.spec(function()
    local h = harness.new(options)
    local before = h.n_held
    fn(h)
    pool.close_all()
    assert.equal(before, h.n_held, "sockets left open")
    h:close()
  end)
end

local function connected(port, ...)
  local sock = assert(socket.tcp())
  assert(sock:connect("127.0.0.1", port, ...))
  return sock
end

describe("pdk.socket", function()
  it("connects, sends and receives lines, bytes, pieces and the rest", task(function(h)
    local peer = peers.tcp(function(conn)
      assert(conn:read_until "\n" == "hello\n")
      conn:write "one\r\ntwo\n12345rest of "
      conn:write "it"
    end)
    h:run(function()
      local sock = connected(peer.port)
      assert.equal(6, sock:send { "hel", "lo", "\n" })
      assert.equal("one", sock:receive())
      assert.equal("two", sock:receive "*l")
      assert.equal("12345", sock:receive(5))
      assert.equal("", sock:receive(0))
      assert.equal("re", sock:receive_any(2))
      assert.equal("st of it", sock:receive "*a")
      assert.same({ nil, "end of file", "closed", "" }, { sock:receive(1) })
      sock:close()
      assert.same({ nil, "the socket is not connected", "closed" }, { sock:send "x" })
    end)
  end))

  it("receives up to a delimiter that arrives byte by byte", task(function(h)
    local peer = peers.tcp(function(conn)
      for byte in ("ab--\r-\r\n+\r\n-x"):gmatch "." do conn:write(byte) end
    end)
    h:run(function()
      local sock = connected(peer.port)
      assert.equal("ab--\r-\r\n+", sock:receive_until "\r\n-")
      assert.equal("x", sock:receive "*a")
      sock:close()
    end)
  end))

  it("says what a receive got before the peer closed, was reset or was silent for too long", task(function(h)
    local peer = peers.tcp(function(conn, number)
      conn:write "part"
      if number == 2 then
        conn:read_until "now"
        conn:reset()
      end
      return number == 3
    end)
    h:run(function()
      local sock = connected(peer.port)
      assert.same({ nil, "end of file", "closed", "part" }, { sock:receive(10) })
      sock:close()
      sock = connected(peer.port)
      assert.equal("pa", sock:receive(2))
      sock:send "now"
      assert.same({ nil, "connection reset by peer", "reset", "rt" }, { sock:receive "*l" })
      sock:close()
      sock = connected(peer.port)
      sock:set_timeouts(nil, nil, 0.5)
      assert.same({ nil, "connection timed out", "timeout", "part" }, { sock:receive(10) })
      sock:close()
    end)
  end))

  it("bounds what a receive gathers", task(function(h)
    local peer = peers.tcp(function(conn)
      conn:write(("x"):rep(100000))
      conn:read_some()
    end)
    h:run(function()
      local sock = connected(peer.port)
      sock:set_max_input(5000)
      local line, err, code, partial = sock:receive "*l"
      assert.same({ nil, "larger than allowed", "too_large", 5000 }, { line, err, code, #partial })
      assert.same({ nil, "larger than allowed", "too_large", "" }, { sock:receive(5001) })
      assert.equal(5000, #sock:receive(5000))
      sock:close()
    end)
  end))

  it("tells refused, unresolved and invalid peers apart", task(function(h)
    local peer = peers.tcp(function() end)
    peer.refuse()
    h:run(function()
      local sock = assert(socket.tcp())
      local address = "127.0.0.1:" .. peer.port
      assert.same({ nil, address .. ": connection refused", "refused" }, { sock:connect("127.0.0.1", peer.port) })
      assert.same({ nil, "unix:/nonexistent/x: no such file or directory", "refused" },
        { sock:connect "unix:/nonexistent/x" })
      assert.same({ nil, "unix:" .. ("x"):rep(200) .. ": name too long", "failed" },
        { sock:connect("unix:" .. ("x"):rep(200)) })
      local ok, err, code = sock:connect("nowhere.test", 80)
      assert.same({ nil, "resolve" }, { ok, code })
      assert.matches("^nowhere.test:80: %u", err)
      assert.has_error(function() sock:connect("127.0.0.1") end, "connect: expected a port from 1 to 65535, got nil")
      assert.has_error(function() sock:connect(1) end, "connect: expected a string, got number")
      assert.has_error(function() sock:set_timeout(0) end,
        "set_timeouts: expected a number of seconds above 0, got 0")
      sock:close()
    end)
  end))

  it("tries the other addresses of a name and remembers which one failed", loop.spec(function()
    local server = dns.start { ["web.test"] = { A = { "127.0.0.1", "127.0.0.2" } } }
    loop.defer(function() server:close() end)
    local h = harness.new { servers = server.address }
    local peer = peers.tcp(function(conn) conn:read_some() end) -- on 127.0.0.1 only
    h:run(function()
      for _ = 1, 3 do
        local sock = assert(socket.tcp())
        assert(sock:connect("web.test", peer.port))
        assert.same({ "127.0.0.1", peer.port }, { sock:get_peer() })
        sock:close()
      end
      assert.equal(2, #server.queries) -- A and AAAA, once
    end)
    server.silent = true
    h:run(function()
      local sock = assert(socket.tcp())
      sock:set_timeouts(0.05)
      assert.same({ nil, "other.test:80: connection timed out", "timeout" }, { sock:connect("other.test", 80) })
      sock:close()
    end)
    assert.equal(0, h.n_held)
    h:close()
  end))

  it("meets the back pressure of a peer that does not read", task(function(h)
    local total = 0
    local peer = peers.tcp(function(conn)
      conn:read_exact(1)
      conn:pause()
      loop.await("a signal", function(settle) h.resume_peer = settle end)
      conn:resume()
      local rest = conn:read_rest()
      total = 1 + #rest
    end)
    h:run(function()
      local sock = connected(peer.port)
      sock:set_timeouts(nil, 0.05, nil)
      sock:send "x"
      local sent, err, code = sock:send(("y"):rep(2 ^ 25))
      assert.same({ nil, "connection timed out", "timeout" }, { sent, err, code })
      h.resume_peer()
      sock:close()
    end)
    h:drive(function() return peer.conns[1].closed end, "the peer")
    assert.is_true(total < 2 ^ 25)
  end))

  it("sends much to a slow reader, whole and in order", task(function(h)
    local text = {}
    for i = 1, 200000 do text[i] = ("%d,"):format(i) end
    text = table.concat(text)
    local got
    local peer = peers.tcp(function(conn)
      got = conn:read_rest()
    end)
    h:run(function()
      local sock = connected(peer.port)
      assert.equal(#text + 1, sock:send { text, "." })
      assert.is_true(sock:shutdown())
      assert.same({ nil, "broken pipe", "closed" }, { sock:send "more" })
      assert.equal("", sock:receive "*a")
      sock:close()
    end)
    assert.equal(text .. ".", got)
  end))

  it("keeps connections for reuse and drops those that do not keep still", task(function(h)
    local peer = peers.tcp(function(conn, number)
      while conn:read_until "\n" do
        conn:write "ok\n"
        if number == 3 then conn:write "more" end
      end
    end)
    local function ask(expected)
      local sock = connected(peer.port)
      sock:send "hello\n"
      assert.equal("ok", sock:receive())
      assert.equal(expected, sock:get_reused_times())
      return sock
    end
    local first, second
    h:run(function()
      first, second = ask(0), ask(0)
      assert.is_true(first:set_keepalive())
      assert.is_true(second:set_keepalive(10, 2))
      assert.equal(2, pool.count())
      local sock = ask(1)
      assert.equal(1, pool.count())
      sock:close()
    end)
    peer.conns[1]:close()
    h:drive(function() return pool.count() == 0 end, "the kept one to close")
    h:run(function()
      local sock = ask(0)
      sock:receive(1)
      assert.same({ nil, "the connection is not fit for reuse", "closed" }, { sock:set_keepalive() })
      assert.same({ nil, "the socket is not connected", "closed" }, { sock:set_keepalive() })
      sock:close()
      first:close()
      second:close()
      sock = ask(0)
      sock:set_keepalive(0.02)
      sock:close()
    end)
    h:drive(function() return pool.count() == 0 end, "the idle time")
  end))

  it("bounds how many are kept, the newest first", task(function(h)
    local peer = peers.tcp(function(conn) return conn:read_rest() and false end)
    h:run(function()
      local socks = {}
      for i = 1, 5 do socks[i] = connected(peer.port) end
      for i = 1, 5 do
        socks[i]:set_keepalive(10, 3)
        socks[i]:close()
      end
      assert.equal(3, pool.count())
    end)
  end))

  it("ends a wait when another task closes the socket", task(function(h)
    local peer = peers.tcp(function(conn) conn:read_some() end)
    local sock, result
    h:spawn(function()
      sock = connected(peer.port)
      result = { sock:receive() }
    end)
    h:drive(function() return sock and sock.stream:is_open() end)
    h:run(function()
      assert.same({ nil, "resource busy or locked", "busy", "" }, { sock:receive() })
      sock:close()
    end)
    h:drive(function() return result end)
    assert.same({ nil, "the socket was closed meanwhile", "cancelled" }, result)
  end))

  it("says that it was closed when that came after the bytes and before the task ran on", task(function(h)
    local peer = peers.tcp(function(conn, number)
      conn:write(number == 1 and "line\r\n" or "again")
      conn:read_some()
    end)
    local sock, result
    h:spawn(function()
      sock = connected(peer.port)
      result = { sock:receive_until "\r\n" }
      assert(sock:connect("127.0.0.1", peer.port))
      result[#result + 1] = sock:receive_any(100)
      sock:close()
    end)
    h:drive(function() return sock end)
    h.loop:drive(function() return #h.ready > 0 end, "the line")
    library.vf_socket_close(sock.stream.socket) -- as the end of the task does that has it
    h:drive(function() return result and result[5] end, "the second connection")
    assert.same({ nil, "operation canceled", "cancelled", "", "again" }, result)
  end))

  it("bounds the number of sockets", task(function(h)
    h:run(function()
      local a, b = socket.tcp(), socket.udp()
      assert.same({ nil, "too many sockets are open", "too_many" }, { socket.tcp() })
      assert.same({ nil, "too many sockets are open", "too_many" }, { socket.udp() })
      a:close()
      b:close()
    end)
  end, { max_sockets = 2 }))

  it("speaks to unix sockets", task(function(h)
    local path = tempdir.new() .. "/s"
    local listener = uv.new_pipe(false)
    assert(listener:bind(path))
    listener:listen(8, function()
      local conn = uv.new_pipe(false)
      listener:accept(conn)
      conn:read_start(function(_, data)
        if data then conn:write(data:upper()) else conn:close() end
      end)
    end)
    loop.defer(function() listener:close() end)
    h:run(function()
      local sock = assert(socket.tcp())
      assert(sock:connect("unix:" .. path))
      sock:send "hello\n"
      assert.equal("HELLO", sock:receive())
      assert.same({ "unix", 0 }, { sock:get_peer() })
      sock:close()
    end)
  end))

  it("takes no address for a part of a name", task(function(h)
    local peer = peers.tcp(function() end)
    h:run(function()
      local sock = assert(socket.tcp())
      local ok, _, code = sock:connect("127.0.0.1\0.example.com", peer.port)
      assert.same({ nil, "invalid" }, { ok, code })
    end)
    assert.equal(0, peer.accepted)
  end))

  it("has no peer by the late answer for a name that was given up", loop.spec(function()
    local names = dns.start { ["late.test"] = { A = { "127.0.0.1" } } }
    loop.defer(function() names:close() end)
    local server = uv.new_udp()
    server:bind("127.0.0.1", 0)
    local port = server:getsockname().port
    server:recv_start(function(_, data, from)
      if data then server:send(data:upper(), from.ip, from.port) end
    end)
    loop.defer(function() server:close() end)
    local h = harness.new { servers = names.address }
    names.held = {}
    h:run(function()
      local sock, other = assert(socket.udp()), assert(socket.udp())
      sock:set_timeouts(0.001)
      other:set_timeouts(60)
      assert.same({ nil, "late.test:9: connection timed out", "timeout" }, { sock:set_peer("late.test", 9) })
      names:release()
      assert(other:set_peer("late.test", port)) -- the answer has come
      assert(sock:set_peer("127.0.0.1", port))
      sock:send "hello"
      assert.equal("HELLO", sock:receive())
      sock:close()
      other:close()
    end)
    h:close()
  end))

  it("sends and receives datagrams", task(function(h)
    local server = uv.new_udp()
    server:bind("127.0.0.1", 0)
    local port = server:getsockname().port
    server:recv_start(function(_, data, from)
      if data and data ~= "silence" then server:send(data:upper(), from.ip, from.port) end
    end)
    loop.defer(function() server:close() end)
    h:run(function()
      local sock = assert(socket.udp())
      assert.same({ nil, "socket is not connected", "closed" }, { sock:send "x" })
      assert(sock:set_peer("127.0.0.1", port))
      assert.is_true(sock:send "hello")
      assert.equal("HELLO", sock:receive())
      assert.is_true(sock:send "")
      assert.equal("", sock:receive())
      assert.same({ nil, "message too long", "too_large" }, { sock:send(("x"):rep(70000)) })
      sock:send "silence"
      sock:set_timeouts(nil, 0.05)
      assert.same({ nil, "connection timed out", "timeout" }, { sock:receive() })
      sock:close()
      assert.same({ nil, "the socket is closed", "closed" }, { sock:receive() })
    end)
  end))
end)

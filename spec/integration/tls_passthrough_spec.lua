--- Listeners in mode tls_passthrough: the name in the ClientHello says where to, TLS stays between client and backend.
local bytes = require "support.bytes"
local clients = require "support.client"
local hello = require "support.hello"
local loop = require "support.loop"
local pki = require "support.pki"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"

local ALERT = "\21\3\1\0\2\2"
local REFUSED = "tls.hello_refused.*listener=%s.* name=(%%S+) reason=(%%S+)"

--- Starts `openssl s_server`, which answers a GET with a page about the connection. Returns its address.
local function s_server(dir, name)
  local site = pki.self_signed(dir, name, { names = { name .. ".test" } })
  local server = process.spawn("/bin/sh", { "-c",
    ("exec stdbuf -oL openssl s_server -accept 127.0.0.1:0 -www -cert %s -key %s"):format(site.cert, site.key) })
  local found = server:wait_line(server.stdout, "^ACCEPT 127%.0%.0%.1:(%d+)")
  return "127.0.0.1:" .. found[2], server
end

--- Awaits the line of the access log whose field is `value`.
local function wait_entry(server, field, value)
  local count = 1
  while true do
    local entries = server:wait_access_log(count)
    for _, entry in ipairs(entries) do
      if entry[field] == value then return entry end
    end
    count = #entries + 1
  end
end

describe("a listener in mode tls_passthrough", function()
  local shared, server = loop.scope()
  local first, echo
  setup(shared:spec(function()
    local dir = tempdir.new()
    first = s_server(dir, "first")
    local second = s_server(dir, "second")
    echo = bytes.start(bytes.mirror)
    local function pool(name, address, more)
      more = more or {}
      more.name, more.backends = name, { { address = address } }
      return more
    end
    local function listener(name, more)
      more.name, more.address, more.mode = name, "127.0.0.1:0", "tls_passthrough"
      return more
    end
    local names = { { hosts = { "a.test", "x.b.test" }, pool = "first" }, { hosts = { "*.b.test" }, pool = "second" } }
    server = servers.start { conf = {
      pools = { pool("first", first), pool("second", second), pool("echo", echo.address),
        pool("wrapped", first, { tls = { verify = false } }), pool("dead", bytes.nobody()),
        pool("told", echo.address, { proxy_protocol = "v1" }) },
      listeners = {
        listener("names", { names = names }),
        listener("all", { names = names, pool = "echo" }),
        listener("told", { pool = "told", proxy_protocol = true }),
        listener("dead", { pool = "dead" }),
        { name = "wrapping", address = "127.0.0.1:0", mode = "tcp", pool = "wrapped" },
        listener("hasty", { pool = "echo", timeouts = { client_header = "1s" } }),
      },
      timeouts = { drain = "5s", drain_idle = "10ms", drain_long = "50ms" },
    } }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  for name, subject in pairs { ["a.test"] = "first", ["A.TEST"] = "first", ["x.b.test"] = "first",
    ["y.b.test"] = "second" } do
    it("lets OpenSSL talk to the backend of " .. name, loop.spec(function()
      for _, version in ipairs { "-tls1_3", "-tls1_2" } do
        local seen = tls.shake(server.ports.names, { name = name, args = { version } })
        assert.equal("CN = " .. subject, seen.subject)
        assert.matches("Secure Renegotiation", seen.output) -- the page of s_server came
      end
    end))
  end

  it("logs the connection with its name", loop.spec(function()
    tls.shake(server.ports.names, { name = "z.b.test" })
    local entry = wait_entry(server, "host", "z.b.test")
    assert.same({ "names", "TLS", "second", 1 }, { entry.listener, entry.method, entry.pool, entry.tries })
    assert.is_true(entry.bytes_in > 100 and entry.bytes_out > 100)
  end))

  it("refuses names that it does not know, and hellos without one, by an alert", loop.spec(function()
    for _, case in ipairs { { "c.test", "unknown_name" }, { "b.test", "unknown_name" },
      { "y.x.b.test", "unknown_name" }, { false, "no_name" }, { "192.0.2.1", "no_name" } } do
      local from = #server:log_lines() + 1
      local seen = tls.shake(server.ports.names, { name = case[1] })
      assert.equal(112, seen.alert)
      local _, name, reason = server:wait_log(REFUSED:format "names", from)
      assert.same({ case[2] == "no_name" and "-" or case[1], case[2] }, { name, reason })
    end
  end))

  it("has a pool for all other names, and passes on every byte as it came", loop.spec(function()
    for _, sent in ipairs { hello.make { extensions = hello.server_name "c.test" }, hello.make { extensions = false },
      hello.fragments(hello.message { extensions = hello.server_name "c.test" }, 3) } do
      local client = clients.connect(server.ports.all)
      for at = 1, #sent do client:send(sent:sub(at, at)) end
      assert.equal(sent, client.stream:read_exact(#sent))
      client:send "whatever follows"
      client:shutdown()
      assert.same({ "whatever follows", "eof" }, { client.stream:read_rest() })
    end
    local client = clients.connect(server.ports.all)
    local together = hello.make { extensions = hello.server_name "c.test" } .. ("early data"):rep(10000)
    client:send(together)
    assert.is_true(client.stream:read_exact(#together) == together)
    client:close()
  end))

  it("refuses what is no hello with an alert and a reason", loop.spec(function()
    for _, case in ipairs {
      { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "not_a_handshake", 10 },
      { "\22\3\1\0\0", "record_length", 50 },
      { hello.make { extensions = hello.server_name "a b" }, "name_bytes", 47 },
      { hello.make { type = 2 } .. ("x"):rep(100000), "not_a_client_hello", 10 },
    } do
      local from = #server:log_lines() + 1
      local client = clients.connect(server.ports.all)
      client:send(case[1])
      assert.same({ ALERT .. string.char(case[3]), "eof" }, { client.stream:read_rest() })
      client:close()
      local _, _, reason = server:wait_log(REFUSED:format "all", from)
      assert.equal(case[2], reason)
    end
  end))

  it("does not wait long for a hello", loop.spec(function()
    local sent = hello.make()
    local from = #server:log_lines() + 1
    local client = clients.connect(server.ports.hasty)
    client:send(sent:sub(1, 20))
    assert.equal("", (client.stream:read_rest()))
    local _, _, reason = server:wait_log(REFUSED:format "hasty", from)
    assert.equal("timeout", reason)
    from = #server:log_lines() + 1
    client = clients.connect(server.ports.hasty)
    client:send(sent:sub(1, 20))
    client:shutdown()
    client:expect_end()
    assert.equal("closed", select(3, server:wait_log(REFUSED:format "hasty", from)))
    client = clients.connect(server.ports.hasty) -- in time, the limit is that of the hello alone
    client:send(sent)
    assert.equal(sent, client.stream:read_exact(#sent))
    client:close()
  end))

  it("passes PROXY headers on in front of the hello", loop.spec(function()
    local client = clients.connect(server.ports.told)
    local sent = hello.make()
    client:send("PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n" .. sent:sub(1, 7))
    client:send(sent:sub(8))
    assert.matches("^PROXY TCP4 192%.0%.2%.7 %S+ 1234 %d+\r\n$", client.stream:read_until "\r\n")
    assert.equal(sent, client.stream:read_exact(#sent))
    client:close()
  end))

  it("breaks off when no backend can be reached", loop.spec(function()
    local client = clients.connect(server.ports.dead)
    client:send(hello.make())
    assert.equal("reset", (client:expect_end()))
    local entry = wait_entry(server, "listener", "dead")
    assert.same({ "backend_unreachable", "a.test" }, { entry.reason, entry.host })
  end))

  it("is not needed for TLS to the backends of a pool in mode tcp", loop.spec(function()
    local client = clients.connect(server.ports.wrapping)
    client:send "GET / HTTP/1.0\r\n\r\n"
    assert.matches("^HTTP/1.0 200 ", (client.stream:read_rest()))
    client:close()
  end))

  it("is shown with its mode and pools", loop.spec(function()
    local listed = clients.get(server.ports.admin, "/api/listeners?mode=tls_passthrough").body
    assert.is_nil(listed:find("wrapping", 1, true))
    assert.matches('"mode":"tls_passthrough"', listed)
    assert.matches('"hosts":%["%*.b.test"%]', listed)
  end))
end)

--- What a TLS listener bears: slow, cut and many handshakes; and how plain clients get there.
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local process = require "support.process"
local servers = require "support.server"
local stream = require "support.stream"
local tempdir = require "support.tempdir"
local tls = require "support.tls"
local uv = require "luv"

local HANDSHAKE_FAILED = "tls.handshake_failed.* reason=(%S+)"
local ROUTES = { { name = "hi", path_prefix = "/", respond = { status = 200, body = "hello" } } }

--- Returns the ClientHello that OpenSSL sends.
local function hello_of(args)
  local listener, hello = uv.new_tcp(), loop.condition()
  local got
  listener:bind("127.0.0.1", 0)
  listener:listen(8, function()
    local tcp = uv.new_tcp()
    listener:accept(tcp)
    tcp:read_start(function(_, data)
      if data and not got then got = data end
      if not tcp:is_closing() then tcp:close() end
      hello:notify()
    end)
  end)
  process.run("/bin/sh", { "-c", ("openssl s_client -connect 127.0.0.1:%d -servername a.test %s </dev/null"):format(
    listener:getsockname().port, args or "") })
  hello:wait("the hello", function() return got end)
  listener:close()
  return got
end

describe("a TLS listener", function()
  local shared, server = loop.scope()
  setup(shared:spec(function()
    local dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "a.test" } })
    local function listener(name, more)
      more.certificates = { site }
      return { name = name, address = "127.0.0.1:0", tls = more }
    end
    server = servers.start { conf = { routes = ROUTES, listeners = {
      { name = "http", address = "127.0.0.1:0", redirect_https = 8443 },
      { name = "usual", address = "127.0.0.1:0", redirect_https = 443 },
      listener("https", { hsts = { max_age = "1d", subdomains = true } }),
      listener("slow", { handshake_timeout = "200ms" }),
      listener("few", { handshake_rate = 1, handshake_burst = 2 }),
      listener("modern", { profile = "modern" }),
    } } }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  it("takes a hello byte by byte, and with more behind it", loop.spec(function()
    local hello = hello_of "-tls1_3"
    local client = clients.connect(server.ports.https)
    for at = 1, #hello do client:send(hello:sub(at, at)) end
    assert.equal("\22\3\3", client.stream:read_exact(3))
    local from = #server:log_lines() + 1
    client:send("\23\3\3\0\32" .. ("x"):rep(32)) -- no record of this handshake
    local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
    assert.equal("bad_record_mac", reason)
    client.stream:read_rest()
    client:close()
  end))

  it("ends a handshake that takes too long", loop.spec(function()
    local client = clients.connect(server.ports.slow)
    client:send(hello_of():sub(1, 50))
    local from = 1
    assert.equal("", client.stream:read_rest())
    local _, reason = server:wait_log("tls.handshake_failed.*listener=slow.* reason=(%S+)", from)
    assert.equal("timeout", reason)
  end))

  it("refuses hellos that say more than they hold", loop.spec(function()
    local hello = hello_of()
    for _, cut in ipairs { 10, 44, 80, #hello - 1 } do -- the length of the record is that of what is left
      local body = hello:sub(6, cut)
      local client = clients.connect(server.ports.https)
      client:send(hello:sub(1, 3) .. string.char(math.floor(#body / 256), #body % 256) .. body)
      client:shutdown()
      client.stream:read_rest()
      client:close()
    end
    assert.equal("200", tls.shake(server.ports.https).answer)
  end))

  it("gives each address its share of handshakes", loop.spec(function()
    local hello = hello_of()
    for _ = 1, 2 do assert.equal("200", tls.shake(server.ports.few).answer) end
    local n_refused, asking = 0, {} -- in less time than shares for all of them take
    for i = 1, 30 do
      asking[i] = clients.connect(server.ports.few)
      asking[i]:send(hello)
    end
    for _, client in ipairs(asking) do
      if not client.stream:read_exact(1) then n_refused = n_refused + 1 end
      client:close()
    end
    assert.is_true(n_refused >= 1)
    local text = clients.get(server.ports.admin, "/metrics").body
    assert.equal(n_refused, tonumber(text:match 'veloflux_listener_tls_limited_total{listener="few"} (%d+)'))
  end))

  it("has profiles", loop.spec(function()
    assert.equal("TLSv1.3", tls.shake(server.ports.modern).version)
    assert.equal(70, tls.shake(server.ports.modern, { args = { "-tls1_2" } }).alert)
  end))

  it("tells clients to stay with https", loop.spec(function()
    local answer = tls.get(server.ports.https)
    assert.truthy(answer.head:lower():find("strict-transport-security: max-age=86400; includesubdomains", 1, true))
    assert.is_nil(tls.get(server.ports.modern).head:lower():find("strict-transport-security", 1, true))
  end))

  it("is where plain clients are sent", loop.spec(function()
    local function location(port, method, path, host)
      local client = clients.connect(port)
      client:request(method, path, { Host = host })
      local answer = client:read_response()
      client:close()
      return answer.status, answer:get "location"
    end
    assert.same({ 301, "https://a.test:8443/x?y=1" }, { location(server.ports.http, "GET", "/x?y=1", "a.test:80") })
    assert.same({ 301, "https://a.test/" }, { location(server.ports.usual, "GET", "/", "a.test") })
    assert.same({ 308, "https://[::1]:8443/form" }, { location(server.ports.http, "DELETE", "/form", "[::1]:8000") })
  end))

  it("speaks with GnuTLS", loop.spec(function()
    for _, priority in ipairs { "NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
      "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP256R1", "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305" } do
      local script = 'printf "GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n" | '
        .. "gnutls-cli --insecure --priority %s --alpn http/1.1 -p %d 127.0.0.1"
      local code, out = process.run("/bin/sh", { "-c", script:format(priority, server.ports.https) })
      assert.equal(0, code)
      assert.truthy(out:find("HTTP/1.1 200 OK", 1, true), out)
    end
  end))

  it("closes idle connections with close_notify when it drains", loop.spec(function()
    local other = servers.start { conf = { routes = ROUTES, listeners = { { name = "https", address = "127.0.0.1:0",
      tls = { certificates = { pki.self_signed(tempdir.new(), "idle") } } } } } }
    local client = process.spawn("/bin/sh", { "-c", ('(printf "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"; exec cat) | '
      .. "openssl s_client -connect 127.0.0.1:%d -msg 2>&1"):format(other.ports.https) })
    client:wait_line(client.stdout, "^hello")
    other:signal "sigterm"
    client:wait_line(client.stdout, "close_notify")
    other:stop()
    client:kill()
  end))
end)

describe("a broken TLS connection", function()
  it("takes no worker with it", loop.spec(function()
    local site = pki.self_signed(tempdir.new(), "site", { names = { "a.test" } })
    local server = servers.start { conf = { routes = ROUTES, listeners = { { name = "https", address = "127.0.0.1:0",
      tls = { certificates = { site } } } } } }
    local hello = hello_of()
    math.randomseed(7)
    for round = 1, 60 do -- hellos with a byte changed, cut, or doubled
      local at = math.random(6, #hello)
      local changed = round % 3 == 0 and hello:sub(1, at)
        or round % 3 == 1 and hello:sub(1, at - 1) .. string.char(math.random(0, 255)) .. hello:sub(at + 1)
        or hello .. hello:sub(1, at)
      local conn = assert(stream.connect(server.ports.https))
      conn:write(changed)
      conn:shutdown()
      conn:read_rest()
      conn:close()
    end
    assert.equal("200", tls.shake(server.ports.https).answer)
    local text = clients.get(server.ports.admin, "/metrics").body
    assert.is_nil(text:match 'veloflux_restarts_total{[^}]*worker[^}]*} [1-9]')
    server:stop()
  end))
end)

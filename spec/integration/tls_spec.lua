--- TLS listeners of the real binary, as OpenSSL and curl see them.
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"

local HANDSHAKE_FAILED = "tls.handshake_failed.* reason=(%S+)"
local ROUTES = { { name = "hi", path = "/hi", respond = { status = 200, body = "hello" } },
  { name = "large", path = "/large", respond = { status = 200, body = ("0123456789abcdef"):rep(20000) } } }

--- A conf with a TLS listener, beside the plain one.
local function conf(listener, more)
  local full = { listeners = { { name = "http", address = "127.0.0.1:0" },
    { name = "https", address = "127.0.0.1:0", tls = listener } }, routes = ROUTES }
  for key, value in pairs(more or {}) do full[key] = value end
  return full
end

describe("a TLS listener", function()
  local shared, server = loop.scope()
  local site, other, wild
  setup(shared:spec(function()
    local dir = tempdir.new()
    site = pki.self_signed(dir, "site", { names = { "a.test" } })
    other = pki.self_signed(dir, "other", { names = { "a.test", "b.test" }, key = "rsa" })
    wild = pki.self_signed(dir, "wild", { names = { "*.w.test" } })
    server = servers.start { conf = conf({ certificates = { site } }, { workers = 2, certificates = {
      { name = "other", cert = other.cert, key = pki.read(other.key) },
      { name = "wild", cert = pki.read(wild.cert), key = wild.key } } }) }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  local function shake(options) return tls.shake(server.ports.https, options) end

  it("speaks TLS 1.3 and 1.2", loop.spec(function()
    local new, old = shake { args = { "-tls1_3" }, path = "/hi" }, shake { args = { "-tls1_2" }, path = "/hi" }
    assert.same({ "TLSv1.3", "200" }, { new.version, new.answer })
    assert.same({ "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "200" }, { old.version, old.cipher, old.answer })
  end))

  it("refuses TLS 1.1 and suites without forward secrecy", loop.spec(function()
    local from = #server:log_lines() + 1
    assert.equal(70, shake { args = { "-tls1_1", "-cipher", "ALL:@SECLEVEL=0" } }.alert)
    local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
    assert.equal("protocol_version", reason)
    assert.equal(40, shake { args = { "-tls1_2", "-cipher", "AES128-SHA256" } }.alert)
  end))

  it("agrees on a protocol", loop.spec(function()
    assert.equal("h2", shake { args = { "-alpn", "http/1.1,h2" } }.alpn)
    assert.equal("http/1.1", shake { args = { "-alpn", "http/1.1,spdy/3" } }.alpn)
    assert.equal(120, shake { args = { "-alpn", "spdy/3" } }.alert)
    assert.is_nil(shake().alpn)
  end))

  it("shows the certificate of the name", loop.spec(function()
    assert.equal("CN = site", shake { name = "a.test" }.subject)
    assert.equal("CN = other", shake { name = "b.test" }.subject)
    assert.equal("CN = wild", shake { name = "x.w.test" }.subject)
    assert.equal("CN = wild", shake { name = "X.W.TEST" }.subject)
    assert.equal("CN = site", shake { name = "x.y.w.test" }.subject)
    assert.equal("CN = site", shake { name = "unknown.test" }.subject)
    assert.equal("CN = site", shake { name = false }.subject)
  end))

  it("shows certificates of tenants for the tenants' hosts only", loop.spec(function()
    local dir = tempdir.new()
    local all = pki.self_signed(dir, "all", { names = { "a.test", "one.test", "*.two.test", "x.three.test" } })
    local tenants = { { name = "one", hosts = { "one.test", "a.two.test" } },
      { name = "three", hosts = { "*.three.test" } } }
    local own = servers.start { conf = conf({ others = true }, { tenants = tenants, certificates = {
      { name = "site", cert = site.cert, key = site.key, tenant = "default" },
      { name = "all", cert = all.cert, key = all.key, tenant = "one" } } }) }
    local function subject(name) return tls.shake(own.ports.https, { name = name }).subject end
    assert.same({ "CN = all", "CN = all" }, { subject "one.test", subject "a.two.test" })
    for _, name in ipairs { "a.test", "b.two.test", "x.three.test", "unknown.test" } do
      assert.equal("CN = site", subject(name))
    end
    own:stop()
  end))

  it("has ECDSA and RSA side by side for one name", loop.spec(function()
    assert.equal("ECDSA", shake().signature)
    local new = shake { args = { "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256" } }
    assert.same({ "CN = other", "RSA-PSS" }, { new.subject, new.signature })
    local old = shake { args = { "-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384" } }
    assert.same({ "CN = other", "ECDHE-RSA-AES256-GCM-SHA384" }, { old.subject, old.cipher })
  end))

  it("is verified by those who trust it", loop.spec(function()
    assert.equal(200, tls.get(server.ports.https, { path = "/hi", ca = site.cert }).status)
    local refused = tls.get(server.ports.https, { path = "/hi", ca = wild.cert })
    assert.is_nil(refused.status)
    local _, reason = server:wait_log(HANDSHAKE_FAILED .. "$")
    assert.is_string(reason)
  end))

  it("resumes sessions on any worker, and after a reload", loop.spec(function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local session = tempdir.new() .. "/session"
      assert.is_false(shake { args = { version }, path = "/hi", session_out = session }.is_resumed)
      for _ = 1, 4 do
        assert.is_true(shake { args = { version }, path = "/hi", session_in = session }.is_resumed)
      end
      assert.is_true(server:reload())
      assert.is_true(shake { args = { version }, path = "/hi", session_in = session }.is_resumed)
    end
  end))

  it("carries large bodies both ways", loop.spec(function()
    local got = tls.get(server.ports.https, { path = "/large" })
    assert.equal(320000, #got.body)
    local file = tempdir.new() .. "/body"
    tempdir.write(file, ("x"):rep(3 * 1024 * 1024))
    assert.equal(200, tls.get(server.ports.https, { path = "/hi", args = { "--http1.1", "--data-binary",
      "@" .. file } }).status)
  end))

  it("says in the access log how it was reached", loop.spec(function()
    shake { path = "/hi", name = "b.test", args = { "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256" } }
    local function logged(key, value)
      return server.process.changed:wait("the access log line", function()
        for _, entry in ipairs(server:access_log()) do
          if entry[key] == value and entry.path == "/hi" then return entry end
        end
      end)
    end
    local entry = logged("sni", "b.test")
    assert.same({ "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "https" },
      { entry.tls_version, entry.tls_cipher, entry.listener })
    clients.get(server.ports.http, "/hi")
    assert.is_nil(logged("listener", "http").tls_version)
  end))

  --- Sends bytes to the TLS listener. Returns what it answers until it closes.
  local function poke(bytes)
    local client = clients.connect(server.ports.https)
    client:send(bytes)
    local answer = client.stream:read_rest()
    client:close()
    return answer
  end

  for what, case in pairs {
    ["plain HTTP"] = { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "not_tls" },
    ["garbage"] = { ("\255\1\2"):rep(100), "not_tls" },
    ["a record that is too large"] = { "\22\3\1\255\255\1", "record_overflow" },
    ["an empty hello"] = { "\22\3\1\0\5\1\0\0\1\0", "decode_error" },
    ["another message"] = { "\22\3\1\0\4\2\0\0\0", "unexpected_message" },
    ["content first"] = { "\23\3\3\0\1\0", "unexpected_message" },
  } do
    it("answers " .. what .. " with an alert and a line", loop.spec(function()
      local from = #server:log_lines() + 1
      local answer = poke(case[1])
      assert.equal("\21\3", answer:sub(1, 2))
      assert.equal(7, #answer)
      local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
      assert.equal(case[2], reason)
    end))
  end

  it("notes a handshake that was cut", loop.spec(function()
    local from = #server:log_lines() + 1
    local client = clients.connect(server.ports.https)
    client:send "\22\3\1\0\200\1\0"
    client:shutdown()
    client.stream:read_rest()
    local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
    assert.equal("cut", reason)
  end))
end)

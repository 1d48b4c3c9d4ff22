--- TLS listeners of the real binary, as OpenSSL and curl see them.
local clients = require "support.client"
local hello = require "support.hello"
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

  local extension, vector = hello.extension, hello.vector
  local GROUPS, SIGNATURES = extension(10, vector(2, "\0\29\0\23")), extension(13, vector(2, "\4\3\8\4"))
  local TLS_1_3 = extension(43, vector(1, "\3\4"))
  local function share(group, key) return extension(51, vector(2, group .. vector(2, key))) end
  local NEW = GROUPS .. SIGNATURES .. TLS_1_3 .. share("\0\29", "\9" .. ("k"):rep(31))
  local OLD = GROUPS .. SIGNATURES .. extension(0xff01, "\0")
  local function first(extensions, suites, fields)
    local of = { extensions = extensions, suites = suites }
    for key, value in pairs(fields or {}) do of[key] = value end
    return hello.make(of)
  end
  local function bad_share(group, key) return GROUPS .. SIGNATURES .. TLS_1_3 .. share(group, key) end

  for what, case in pairs {
    ["an extension that comes twice"] = { first(NEW .. SIGNATURES), 47, "illegal_parameter" },
    ["bytes behind the extensions"] = { first(NEW, nil, { tail = "x" }), 50, "decode_error" },
    ["a client that has fallen back"] = { first(OLD, "\192\43\86\0"), 86, "inappropriate_fallback" },
    ["a share of the wrong length"] = { first(bad_share("\0\29", "short")), 47, "illegal_parameter" },
    ["a share that is no point"] = { first(bad_share("\0\23", "\4" .. ("x"):rep(64))), 47, "illegal_parameter" },
    ["an empty record"] = { hello.record("") .. first(NEW), 10, "unexpected_message" },
    ["a record that is larger than 2^14"] = { "\22\3\1\64\1" .. ("\1"):rep(16385), 22, "record_overflow" },
    ["a heartbeat"] = { hello.record("\1\255\255", 24), 10, "unexpected_message" },
    ["a heartbeat in the handshake"] = { first(OLD, "\192\43") .. hello.record("\1\255\255", 24), 10,
      "unexpected_message" },
    ["a change of keys first"] = { hello.record("\1", 20), 10, "unexpected_message" },
  } do
    it("answers " .. what .. " with its alert, once", loop.spec(function()
      local from = #server:log_lines() + 1
      local answer, alerts = poke(case[1]), {}
      while #answer > 0 do -- record by record
        local length = answer:byte(4) * 256 + answer:byte(5)
        if answer:byte(1) == 21 then alerts[#alerts + 1] = answer:byte(7) end
        answer = answer:sub(6 + length)
      end
      assert.same({ case[2] }, alerts)
      local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
      assert.equal(case[3], reason)
    end))
  end

  it("skips what a client sends ahead, which nobody has offered", loop.spec(function()
    local identity = vector(2, vector(2, "an unknown ticket") .. "\0\0\0\0")
    local ticket = extension(41, identity .. vector(2, vector(1, ("b"):rep(32))))
    local from, client = #server:log_lines() + 1, clients.connect(server.ports.https)
    client:send(first(NEW .. extension(45, "\1\1") .. extension(42, "") .. ticket)
      .. "\23\3\3" .. vector(2, ("x"):rep(1000)))
    client:shutdown()
    assert.truthy(client.stream:read_rest():find("^\22\3\3"))
    local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
    assert.equal("cut", reason) -- not bad_record_mac
  end))

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

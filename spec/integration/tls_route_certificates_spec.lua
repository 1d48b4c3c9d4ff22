--- Certificates of clients that single routes want, with authorities of their own.
local ffi = require "ffi"
local apis = require "support.api"
local clients = require "support.client"
local loop = require "support.loop"
local native = require "support.native"
local origins = require "support.origin"
local pki = require "support.pki"
local process = require "support.process"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"
local cjson = require "cjson"

ffi.cdef [[
struct tlsr_client;
struct tlsr_client *tlsr_open_as(int port, int version, const char *chain, const char *key);
int tlsr_send(struct tlsr_client *, int type, const char *data, size_t len, int count);
int tlsr_read(struct tlsr_client *, char *out, size_t room);
void tlsr_close(struct tlsr_client *);
]]

local TELL = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 10, VERSION = "1" }
function Plugin:access()
  pdk.response.exit(200, { verify = pdk.client.tls.get_client_verify() })
end
return Plugin
]]

local PROTOCOLS = { { "--http1.1" }, { "--http2" }, { "--http1.1", "--tls-max", "1.2" } }
local DATA = 23

describe("a route with authorities of its own", function()
  local shared, server, dir, conf, origin = loop.scope()
  local partners, staff, crl, good, expired, early, revoked, colleague, deep, stranger
  setup(shared:spec(function()
    dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "a.test", "b.test" } })
    partners, staff = pki.authority(dir, "partners"), pki.authority(dir, "staff")
    good, expired = pki.issue(dir, "good", partners), pki.issue(dir, "expired", partners, { days = -1 })
    early = pki.issue_early(dir, "early", partners)
    revoked, colleague = pki.issue(dir, "revoked", partners), pki.issue(dir, "colleague", staff)
    local others = pki.authority(dir, "others")
    stranger = pki.issue(dir, "stranger", others)
    crl = pki.revoke(partners, revoked)
    local middle = pki.issue(dir, "middle", partners, { is_ca = true })
    local leaf = pki.issue(dir, "deep", middle)
    deep = { cert = pki.bundle(dir .. "/deep.chain", leaf.cert, middle.cert), key = leaf.key }
    tempdir.write(dir .. "/plugins/tell/handler.lua", TELL)
    tempdir.write(dir .. "/plugins/tell/schema.lua", "return {}")
    origin = origins.start()
    local function listener(name, auth)
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { site }, client_auth = auth } }
    end
    local function route(name, wanted, more)
      local made = { name = name, host = "a.test", path_prefix = "/" .. name, client_certificate = wanted,
        respond = { status = 200, body = "welcome" } }
      for key, value in pairs(more or {}) do made[key] = value end
      if made.pool then made.respond = nil end
      return made
    end
    local tell = { plugins = { { name = "tell" } } }
    conf = {
      plugin_path = { dir .. "/plugins" },
      listeners = { { name = "http", address = "127.0.0.1:0" }, listener "https",
        listener("optional", { mode = "optional", ca = others.cert }),
        listener("required", { mode = "require", ca = partners.cert }) },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = {
        route("partners", { ca = partners.cert, crl = crl }),
        route("staff", { mode = "require", ca = staff.cert }),
        route("flat", { ca = partners.cert, depth = 0 }),
        route("maybe", { mode = "optional", ca = partners.cert, crl = crl }, tell),
        route("seen", { mode = "optional", ca = partners.cert, forward = true }, { pool = "web" }),
        route("listeners", "require"), route("tell", nil, tell),
        { name = "open", host = "b.test", respond = { status = 200, body = "hello" } },
      },
    }
    server = servers.start { conf = conf }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  local function ask(path, certificate, options)
    options = options or {}
    local args = { unpack(options.args or {}) }
    if certificate then
      for _, arg in ipairs { "--cert", certificate.cert, "--key", certificate.key } do args[#args + 1] = arg end
    end
    return tls.get(server.ports[options.listener or "https"], { path = path, args = args, name = options.name })
  end

  --- Asks, and returns status, code and reason in the log.
  local function refused(path, certificate, options)
    local from = #server:log_lines() + 1
    local answer = ask(path, certificate, options)
    local _, reason = server:wait_log("client.certificate_refused.* reason=(%S+)", from)
    return { answer.status, cjson.decode(answer.body).code, reason }
  end

  for _, args in ipairs(PROTOCOLS) do
    it("is for those whom they vouch for: " .. table.concat(args, " "), loop.spec(function()
      local options = { args = args }
      local function no(reason) return { 403, "client_certificate_refused", reason } end
      assert.equal(200, ask("/partners", good, options).status)
      assert.equal(200, ask("/partners", deep, options).status)
      assert.equal(200, ask("/flat", good, options).status)
      assert.equal(200, ask("/staff", colleague, options).status)
      assert.same({ 403, "client_certificate_required", "none_given" }, refused("/partners", nil, options))
      assert.same(no "expired", refused("/partners", expired, options))
      assert.same(no "not_yet_valid", refused("/partners", early, options))
      assert.same(no "revoked", refused("/partners", revoked, options))
      assert.same(no "not_trusted", refused("/partners", colleague, options))
      assert.same(no "not_trusted", refused("/staff", good, options))
      assert.same(no "chain_too_long", refused("/flat", deep, options))
    end))
  end

  it("says why in its answer", loop.spec(function()
    assert.equal("The client's certificate is not good here: expired.",
      cjson.decode(ask("/partners", expired).body).detail)
  end))

  it("has its say beside another on one connection", loop.spec(function()
    for _, version in ipairs { "--http1.1", "--http2" } do
      local args = { "-s", "-k", version, "--cert", colleague.cert, "--key", colleague.key, "--resolve",
        ("a.test:%d:127.0.0.1"):format(server.ports.https), "-w", "%{http_code} %{num_connects}\n" }
      for _, path in ipairs { "staff", "partners", "staff", "partners" } do
        for _, arg in ipairs { "-o", "/dev/null", ("https://a.test:%d/%s"):format(server.ports.https, path) } do
          args[#args + 1] = arg
        end
      end
      local code, out = process.run("/usr/bin/curl", args)
      assert.same({ 0, "200 1\n403 0\n200 0\n403 0" }, { code, out })
    end
  end))

  it("with optional tells plugins what it thinks", loop.spec(function()
    local function verify(certificate, path)
      return cjson.decode(ask(path or "/maybe", certificate).body).verify
    end
    assert.equal("SUCCESS", verify(good))
    assert.equal("NONE", verify(nil))
    assert.equal("FAILED:expired", verify(expired))
    assert.equal("FAILED:revoked", verify(revoked))
    assert.equal("FAILED:not_trusted", verify(colleague))
    assert.equal("FAILED:not_trusted", verify(good, "/tell")) -- the listener believes nobody
  end))

  it("tells backends of good ones alone, if it is to (RFC 9440)", loop.spec(function()
    local forged = { args = { "-H", "Client-Cert: :forged:" } }
    local function seen(certificate) return rig.seen(ask("/seen", certificate, forged)).get "client-cert" end
    assert.equal(":" .. pki.read(good.cert):gsub("%-+[^-]+%-+", ""):gsub("%s", "") .. ":", seen(good))
    assert.is_nil(seen(expired))
    assert.is_nil(seen(colleague))
    assert.is_nil(seen(nil))
  end))

  it("lives with what its listener believes", loop.spec(function()
    assert.equal(200, ask("/partners", good, { listener = "optional" }).status)
    assert.equal(200, ask("/listeners", stranger, { listener = "optional" }).status)
    assert.same({ 403, "client_certificate_refused", "not_trusted" },
      refused("/listeners", good, { listener = "optional" }))
    assert.same({ 403, "client_certificate_refused", "not_trusted" },
      refused("/partners", stranger, { listener = "optional" }))
    assert.equal(200, ask("/partners", good, { listener = "required" }).status)
    assert.is_nil(ask("/staff", colleague, { listener = "required" }).status) -- no handshake
  end))

  it("is closed to plain connections", loop.spec(function()
    local plain = clients.get(server.ports.http, "/partners", { Host = "a.test" })
    assert.same({ 403, "client_certificate_required" }, { plain.status, cjson.decode(plain.body).code })
  end))

  describe("and its host", function()
    local function shake(name, more)
      local args = { "-msg" }
      for _, arg in ipairs(more.args or {}) do args[#args + 1] = arg end
      more.args, more.name = args, name
      more.request = ("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"):format(more.path or "/",
        name or "a.test")
      return tls.shake(server.ports.https, more)
    end
    local ASKED = "CertificateRequest"

    it("alone asks for certificates, whatever the version", loop.spec(function()
      for _, version in ipairs { "-tls1_2", "-tls1_3" } do
        assert.truthy(shake("a.test", { args = { version } }).output:find(ASKED, 1, true))
        assert.truthy(shake(false, { args = { version } }).output:find(ASKED, 1, true)) -- it may be any
        local other = shake("b.test", { args = { version } })
        assert.is_nil(other.output:find(ASKED, 1, true))
        assert.equal("200", other.answer)
      end
    end))

    it("asks where the hello has to be repeated, too", loop.spec(function()
      local args = { "-tls1_3", "-groups", "X448:P-256", "-cert", good.cert, "-key", good.key }
      local result = shake("a.test", { args = args, path = "/partners" })
      assert.truthy(result.output:find(ASKED, 1, true))
      assert.equal("200", result.answer)
    end))

    it("alone resumes no session", loop.spec(function()
      for _, version in ipairs { "-tls1_2", "-tls1_3" } do
        local session = ("%s/session%s"):format(dir, version)
        local made = shake("a.test", { args = { version }, session_out = session })
        assert.truthy(made.answer)
        assert.is_nil(made.output:match "TLS session ticket:")
        assert.truthy(shake("b.test", { args = { version }, session_out = session }).answer)
        assert.is_true(shake("b.test", { args = { version }, session_in = session }).is_resumed)
        local args = { version, "-cert", good.cert, "-key", good.key }
        local other = shake("a.test", { args = args, session_in = session })
        assert.is_false(other.is_resumed)
        assert.truthy(other.output:find(ASKED, 1, true))
      end
    end))

    it("sends those elsewhere who came by another name (RFC 9110 section 15.5.20)", loop.spec(function()
      local result = tls.shake(server.ports.https, { name = "b.test", args = { "-cert", good.cert, "-key", good.key },
        request = "GET /partners HTTP/1.1\r\nHost: a.test\r\n\r\n" })
      assert.equal("421", result.answer)
      assert.truthy(result.output:find("client_certificate_not_asked", 1, true))
      assert.truthy(result.output:lower():find("connection: close", 1, true))
      local h2 = ask("/partners", good, { name = "b.test", args = { "--http2", "-H", "Host: a.test" } })
      assert.same({ 421, "client_certificate_not_asked" }, { h2.status, cjson.decode(h2.body).code })
    end))
  end)

  it("may come and go by the admin API", loop.spec(function()
    local api = apis.of(server)
    local function asks() return tls.shake(server.ports.https, { name = "b.test", args = { "-msg" } }).output
      :find("CertificateRequest", 1, true) ~= nil end
    local wanted = { mode = "require", ca = pki.read(staff.cert), depth = 1 }
    apis.is(api.post("/api/routes", { name = "late", host = "b.test", path = "/late", respond = { status = 200 },
      client_certificate = wanted }), 201)
    assert.is_true(asks())
    assert.equal(200, ask("/late", colleague, { name = "b.test" }).status)
    assert.same({ 403, "client_certificate_refused", "not_trusted" }, refused("/late", good, { name = "b.test" }))
    local shown = apis.is(api.get "/api/routes/late", 200)
    assert.same({ "require", wanted.ca, 1 }, { shown.client_certificate.mode, shown.client_certificate.ca,
      shown.client_certificate.depth })
    wanted.ca = "nothing"
    apis.problem(api.put("/api/routes/late", { name = "late", host = "b.test", path = "/late",
      respond = { status = 200 }, client_certificate = wanted }), 400, "invalid", "/client_certificate/ca")
    apis.is(api.delete "/api/routes/late", 204)
    assert.is_false(asks())
  end))

  it("judges open connections anew after a reload", loop.spec(function()
    local lib = native.load "tls_records"
    local buffer = ffi.new "char[16384]"
    for _, version in ipairs { 12, 13 } do
      local mine = pki.issue(dir, "mine" .. version, partners)
      local client = lib.tlsr_open_as(server.ports.https, version, mine.cert, mine.key)
      assert.is_true(client ~= nil)
      local function status()
        local request = "GET /partners HTTP/1.1\r\nHost: a.test\r\n\r\n"
        assert.equal(0, lib.tlsr_send(client, DATA, request, #request, 1))
        local text = ""
        repeat
          local n = lib.tlsr_read(client, buffer, 16384)
          assert.is_true(n > 0)
          text = text .. ffi.string(buffer, n)
        until text:find "welcome" or text:find '"code"'
        return text:match "HTTP/1.1 (%d+)"
      end
      assert.equal("200", status())
      assert.equal("200", status())
      pki.revoke(partners, mine) -- which writes the same file
      assert.is_true((server:reload()))
      assert.equal("403", status())
      pki.revoke(partners, revoked)
      assert.is_true((server:reload()))
      assert.equal("200", status())
      lib.tlsr_close(client)
    end
  end))
end)

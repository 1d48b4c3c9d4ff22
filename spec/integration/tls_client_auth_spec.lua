--- Certificates of clients: who is let in, and what plugins and backends are told.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local pki = require "support.pki"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"
local cjson = require "cjson"

local HANDSHAKE_FAILED = "tls.handshake_failed.* reason=(%S+)"

local TELL = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 10, VERSION = "1" }
function Plugin:access()
  local tls = pdk.client.tls
  local info = tls.get_info() or {}
  local chain, err = tls.get_full_client_certificate_chain()
  pdk.response.exit(200, { verify = tls.get_client_verify(), chain = chain, err = err, version = info.version,
    name = info.server_name, scheme = pdk.request.get_scheme() })
end
return Plugin
]]

describe("a listener that asks clients for certificates", function()
  local shared, server, dir = loop.scope()
  local authority, good, expired, revoked, stranger, deep, deep_chain, origin
  setup(shared:spec(function()
    dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "a.test" } })
    authority = pki.authority(dir, "authority")
    good, expired = pki.issue(dir, "good", authority), pki.issue(dir, "expired", authority, { days = -1 })
    revoked = pki.issue(dir, "revoked", authority)
    local crl = pki.revoke(authority, revoked)
    stranger = pki.issue(dir, "stranger", pki.authority(dir, "other"))
    local middle = pki.issue(dir, "middle", authority, { is_ca = true })
    deep = pki.issue(dir, "deep", middle)
    deep_chain = pki.bundle(dir .. "/deep.chain", deep.cert, middle.cert)
    tempdir.write(dir .. "/plugins/tell/handler.lua", TELL)
    tempdir.write(dir .. "/plugins/tell/schema.lua", "return {}")
    origin = origins.start()
    local function listener(name, auth)
      auth.ca, auth.crl = authority.cert, crl
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { site }, client_auth = auth } }
    end
    server = servers.start { conf = {
      plugin_path = { dir .. "/plugins" },
      listeners = { { name = "http", address = "127.0.0.1:0" }, listener("required", { mode = "require" }),
        listener("optional", { mode = "optional", forward = true }),
        listener("flat", { mode = "require", depth = 0 }) },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "tell", path = "/tell", plugins = { { name = "tell" } }, respond = { status = 200 } },
        { name = "private", path_prefix = "/private", respond = { status = 200, body = "welcome" },
          client_certificate = "require" },
        { name = "site", path_prefix = "/", pool = "web" } },
    } }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  local function shake(listener, certificate, options)
    options = options or {}
    local args = options.args or {}
    if certificate then
      for _, arg in ipairs { "-cert", certificate.cert, "-key", certificate.key } do args[#args + 1] = arg end
    end
    options.args, options.path = args, options.path or "/tell"
    return tls.shake(server.ports[listener], options)
  end

  local function told(result) return cjson.decode(result.output:match '({"[^\n]*})') end

  it("lets a good one in, with TLS 1.2 and 1.3", loop.spec(function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local result = shake("required", good, { args = { version } })
      local said = told(result)
      assert.same({ "SUCCESS", "https", "a.test" }, { said.verify, said.scheme, said.name })
      assert.equal(pki.read(good.cert), said.chain)
    end
  end))

  for what, case in pairs {
    none = { nil, 116, "no_client_certificate" }, -- certificate_required; TLS 1.2 has handshake_failure (40)
    expired = { function() return expired end, 45, "bad_certificate:expired" },
    revoked = { function() return revoked end, 44, "bad_certificate:revoked" },
    ["a stranger's"] = { function() return stranger end, 48, "bad_certificate:not_trusted" },
  } do
    it("refuses " .. what .. " with an alert and a reason", loop.spec(function()
      for _, version in ipairs { "-tls1_3", "-tls1_2" } do
        local from = #server:log_lines() + 1
        local result = shake("required", case[1] and case[1](), { args = { version } })
        assert.is_nil(result.answer)
        assert.equal(version == "-tls1_2" and what == "none" and 40 or case[2], result.alert, version)
        local _, reason = server:wait_log(HANDSHAKE_FAILED, from)
        assert.equal(case[3], reason)
      end
    end))

    it("lets " .. what .. " in where it is optional, and says so", loop.spec(function()
      local verify = told(shake("optional", case[1] and case[1]())).verify
      assert.equal((case[3]:gsub("no_client_certificate", "NONE"):gsub("bad_certificate", "FAILED")), verify)
    end))
  end

  it("may be asked for by one route alone", loop.spec(function()
    local function status(listener, certificate, ...)
      local args = { ... }
      if certificate then
        for _, arg in ipairs { "--cert", certificate.cert, "--key", certificate.key } do args[#args + 1] = arg end
      end
      return tls.get(server.ports[listener], { path = "/private", args = args }).status
    end
    for _, version in ipairs { "--http1.1", "--http2" } do
      assert.equal(200, status("optional", good, version))
      assert.equal(403, status("optional", nil, version))
      assert.equal(403, status("optional", expired, version))
      assert.equal(403, status("optional", stranger, version))
      assert.equal(200, status("required", good, version))
    end
    local plain = clients.get(server.ports.http, "/private")
    assert.same({ 403, "client_certificate_required" }, { plain.status, cjson.decode(plain.body).code })
  end))

  it("bounds the chain", loop.spec(function()
    local certificate = { cert = deep_chain, key = deep.key }
    local chain = { "-cert_chain", deep_chain }
    assert.equal("SUCCESS", told(shake("required", { cert = deep.cert, key = deep.key }, { args = chain })).verify)
    assert.equal("200", shake("flat", good).answer)
    assert.is_nil(shake("flat", certificate, { args = { "-cert_chain", deep_chain } }).answer)
  end))

  it("never resumes a session", loop.spec(function()
    local session = dir .. "/session"
    assert.equal("200", shake("required", good, { session_out = session }).answer)
    assert.is_nil(tempdir.read(session))
  end))

  it("tells backends, and nobody else can (RFC 9440)", loop.spec(function()
    local function seen(listener, certificate, chain)
      local args = { "-H", "Client-Cert: :forged:", "-H", "Client-Cert-Chain: :forged:" }
      if certificate then
        for _, arg in ipairs { "--cert", chain or certificate.cert, "--key", certificate.key } do
          args[#args + 1] = arg
        end
      end
      return rig.seen(tls.get(server.ports[listener], { args = args }))
    end
    local function base64(path) return ":" .. pki.read(path):gsub("%-+[^-]+%-+", ""):gsub("%s", "") .. ":" end
    local got = seen("optional", good)
    assert.equal(base64(good.cert), got.get "client-cert")
    assert.is_nil(got.get "client-cert-chain")
    got = seen("optional", deep, deep_chain)
    assert.equal(base64(deep.cert), got.get "client-cert")
    assert.equal(base64(dir .. "/middle.crt"), got.get "client-cert-chain")
    assert.is_nil(seen("optional", expired).get "client-cert")
    assert.is_nil(seen("optional").get "client-cert")
    assert.is_nil(seen("required", good).get "client-cert")
    local plain = clients.get(server.ports.http, "/", { ["Client-Cert"] = ":forged:" })
    assert.is_nil(rig.seen(plain).get "client-cert")
    assert.equal("https", seen("optional").get "x-forwarded-proto")
  end))

  it("says on a plain connection that it is none", loop.spec(function()
    local said = cjson.decode(clients.get(server.ports.http, "/tell").body)
    assert.same({ "not a TLS connection", "http" }, { said.err, said.scheme })
  end))
end)

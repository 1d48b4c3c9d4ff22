--- TLS to backends as plugins want it for one request: service.set_tls_*, service.request.set_scheme, disable_tls.
-- Another instance of the real binary is the backend.
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local servers = require "support.server"
local tempdir = require "support.tempdir"

-- Does what the words of a request's field say: X-Access or X-Balancer.
local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 10, VERSION = "1" }
local service = pdk.service
local DO = {
  unverified = function() return service.set_tls_verify(false) end,
  verified = function() return service.set_tls_verify(true) end,
  shallow = function() return service.set_tls_verify_depth(0) end,
  deep = function() return service.set_tls_verify_depth(2) end,
  store = function(conf) return service.set_tls_verify_store(conf.ca) end,
  strange_store = function(conf) return service.set_tls_verify_store(conf.stranger) end,
  cert = function(conf) return service.set_tls_cert_key(conf.cert, conf.key) end,
  other_cert = function(conf) return service.set_tls_cert_key(conf.other_cert, conf.other_key) end,
  https = function() service.request.set_scheme "https" return true end,
  http = function() service.request.set_scheme "http" return true end,
  no_tls = function() return service.request.disable_tls() end,
  target = function(conf) service.set_target("127.0.0.1", conf.target) return true end,
  mismatch = function(conf) return service.set_tls_cert_key(conf.cert, conf.other_key) end,
  no_pem = function(conf) return service.set_tls_cert_key("none", conf.key) end,
  no_key = function(conf) return service.set_tls_cert_key(conf.cert, "none") end,
  no_store = function() return service.set_tls_verify_store("none") end,
  bad_verify = function() return service.set_tls_verify("no") end,
  bad_depth = function() return service.set_tls_verify_depth(-1) end,
  bad_store = function() return service.set_tls_verify_store({}) end,
  bad_chain = function(conf) return service.set_tls_cert_key(nil, conf.key) end,
  bad_key = function(conf) return service.set_tls_cert_key(conf.cert, {}) end,
  bad_scheme = function() return service.request.set_scheme "ftp" end,
}
local function run(conf, field)
  for word in (pdk.request.get_header(field) or ""):gmatch "%S+" do
    local fine, ok, err = pcall(DO[word], conf)
    if not fine or not ok then return pdk.response.exit(400, tostring(fine and err or ok)) end
  end
end
function Plugin:access(conf) run(conf, "x-access") end
function Plugin:balancer(conf) run(conf, "x-balancer") end
function Plugin:header_filter()
  local fine, err = pcall(service.set_tls_verify, false)
  pdk.response.set_header("X-Late", tostring(fine or err))
end
return Plugin
]]
local SCHEMA = [[
local fields = { target = { type = "integer" } }
for _, name in ipairs { "ca", "stranger", "cert", "key", "other_cert", "other_key" } do
  fields[name] = { type = "string", required = true }
end
return fields
]]

describe("TLS to a backend that a plugin wants for one request", function()
  local shared, backend, front = loop.scope()

  setup(shared:spec(function()
    local dir = tempdir.new()
    local authority, elsewhere = pki.authority(dir, "authority"), pki.authority(dir, "elsewhere")
    local middle = pki.issue(dir, "middle", authority, { is_ca = true })
    local site = pki.issue(dir, "site", authority, { names = { "127.0.0.1" } })
    local leaf = pki.issue(dir, "leaf", middle, { names = { "127.0.0.1" } })
    local client, other = pki.issue(dir, "client", authority), pki.issue(dir, "other", elsewhere)
    local own = pki.self_signed(dir, "own", { names = { "127.0.0.1" } })
    local function listener(name, certificate, auth, protocols)
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { certificate }, alpn = protocols,
        client_auth = auth and { ca = authority.cert } or nil } }
    end
    backend = servers.start { conf = {
      listeners = { listener("site", site), listener("own", own), listener("asking", site, true),
        listener("chain", { cert = pki.bundle(dir .. "/chain.crt", leaf.cert, middle.cert), key = leaf.key }),
        listener("h2", own, false, { "h2", "http/1.1" }), { name = "plain", address = "127.0.0.1:0" } },
      routes = { { name = "hi", path_prefix = "/", respond = { status = 200, body = "hello" } } },
    } }
    tempdir.write(dir .. "/plugins/wish/handler.lua", HANDLER)
    tempdir.write(dir .. "/plugins/wish/schema.lua", SCHEMA)
    local pools, routes = {}, {}
    local function pool(name, to, tls, protocol)
      pools[#pools + 1] = { name = name, tls = tls, protocol = protocol,
        backends = { { address = "127.0.0.1:" .. backend.ports[to] } } }
      routes[#routes + 1] = { name = name, path_prefix = "/" .. name, pool = name }
    end
    local ca = authority.cert
    pool("site", "site", { ca = ca })
    pool("system", "site", true)
    pool("open", "site", { verify = false })
    pool("own", "own", { ca = ca })
    pool("kept", "own", { verify = false })
    pool("asking", "asking", { ca = ca })
    pool("chain", "chain", { ca = ca })
    pool("h2", "h2", { ca = ca }, "h2")
    pool("auto", "h2", { ca = ca }, "auto")
    pool("plain", "plain", false)
    pool("bare", "site", false)
    pool("secure_plain", "plain", { ca = ca })
    pool("twins", "site", { ca = ca })
    pools[#pools].backends[2] = { address = "localhost:" .. backend.ports.site }
    pools[#pools].tls.name = "127.0.0.1"
    local read = pki.read
    front = servers.start { env = { SSL_CERT_FILE = elsewhere.cert }, conf = { workers = 1, pools = pools,
      routes = routes, plugin_path = { dir .. "/plugins" }, plugins = { { name = "wish", config = {
        ca = read(authority.cert), stranger = read(elsewhere.cert), cert = read(client.cert), key = read(client.key),
        other_cert = read(other.cert), other_key = read(other.key), target = backend.ports.site } } } } }
  end))
  teardown(function()
    shared:run(function()
      front:stop()
      backend:stop()
    end)
    shared:close()
  end)

  local function ask(pool, access, balancer)
    return clients.get(front.ports.http, "/" .. pool, { ["X-Access"] = access, ["X-Balancer"] = balancer })
  end
  local function status(...) return ask(...).status end

  local function handshakes(listener)
    local text = clients.get(backend.ports.admin, "/metrics").body
    return tonumber(text:match(('veloflux_listener_tls_handshakes_total{listener="%s"} (%%d+)'):format(listener)))
  end

  it("holds for that request, whose connection no other request gets", loop.spec(function()
    assert.equal(502, status("own"))
    local before = handshakes "own"
    assert.equal(200, status("own", "unverified"))
    assert.equal(before + 1, handshakes "own")
    assert.equal(502, status("own"))
    assert.equal(200, status("own", "unverified"))
    assert.equal(502, status("own", "verified"))
    front:wait_log "backend.tls_failed.*reason=bad_certificate:not_trusted"
  end))

  it("keeps connections for requests that want the same, beside those of the pool", loop.spec(function()
    assert.equal(200, status("kept"))
    assert.equal(200, status("kept", "unverified deep"))
    local before = handshakes "own"
    for _ = 1, 3 do
      assert.equal(200, status("kept"))
      assert.equal(200, status("kept", "unverified deep"))
    end
    assert.equal(before, handshakes "own")
    assert.equal(200, status("kept", "unverified shallow"))
    assert.equal(before + 1, handshakes "own")
  end))

  it("does not eject backends by failing", loop.spec(function()
    for _ = 1, 4 do assert.equal(502, status("twins", "strange_store")) end
    for _ = 1, 4 do assert.equal(200, status("twins")) end
    for _, line in ipairs(front:log_lines()) do assert.is_nil(line:find("backend.ejected.*pool=twins")) end
  end))

  it("may be said in the balancer phase, and in no later one", loop.spec(function()
    local response = ask("kept", nil, "unverified")
    assert.equal(200, response.status)
    assert.matches("service.set_tls_verify cannot be called in the header_filter phase", response:get "x-late")
    assert.equal(502, status("kept", "unverified", "verified"))
  end))

  it("verifies against other authorities", loop.spec(function()
    assert.equal(502, status("system"))
    assert.equal(200, status("system", "store"))
    assert.equal(502, status("system"))
    assert.equal(502, status("site", "strange_store"))
    assert.equal(200, status("site"))
    assert.equal(200, status("open", "strange_store")) -- which does not verify
    assert.equal(502, status("open", "strange_store verified"))
    assert.equal(502, status("open", "verified")) -- by the system's
    assert.equal(200, status("open", "verified store"))
  end))

  it("follows chains that long", loop.spec(function()
    assert.equal(200, status("chain"))
    assert.equal(502, status("chain", "shallow"))
    assert.equal(200, status("chain", "deep"))
    assert.equal(200, status("site", "shallow"))
  end))

  it("shows a certificate", loop.spec(function()
    assert.truthy(status("asking") >= 502)
    assert.equal(200, status("asking", "cert"))
    assert.truthy(status("asking") >= 502)
    assert.truthy(status("asking", "other_cert") >= 502)
    assert.equal(200, status("asking", "cert"))
  end))

  it("is switched on", loop.spec(function()
    assert.equal(502, status("bare"))
    assert.equal(502, status("bare", "https")) -- verified by default
    assert.equal(200, status("bare", "https store"))
    assert.equal(200, status("bare", "https unverified"))
    assert.equal(502, status("bare", "unverified")) -- does nothing without TLS
    assert.equal(200, status("plain", "target https store"))
    assert.equal(502, status("plain", "target"))
    assert.equal(200, status("site", "https"))
  end))

  it("is switched off", loop.spec(function()
    assert.equal(502, status("secure_plain"))
    assert.equal(200, status("secure_plain", "http"))
    assert.equal(200, status("secure_plain", "no_tls"))
    assert.equal(502, status("secure_plain"))
    assert.equal(200, status("plain", "http"))
    assert.equal(502, status("secure_plain", "http https"))
  end))

  it("goes for HTTP/2, too", loop.spec(function()
    for _, pool in ipairs { "h2", "auto" } do
      assert.equal(502, status(pool))
      assert.equal(200, status(pool, "unverified"))
      local before = handshakes "h2"
      assert.equal(200, status(pool, "unverified"))
      assert.equal(before, handshakes "h2")
      assert.equal(502, status(pool))
      assert.equal(200, status(pool, "unverified"))
    end
  end))

  for word, message in pairs {
    mismatch = "the key does not belong to the certificate", no_pem = "the certificate holds no", no_key = "the key ",
    no_store = "the store ", bad_verify = "service.set_tls_verify: expected a boolean, got string",
    bad_depth = "service.set_tls_verify_depth: expected a number between 0 and 64",
    bad_store = "service.set_tls_verify_store: store: expected PEM text, got table",
    bad_chain = "service.set_tls_cert_key: chain: expected PEM text, got nil",
    bad_key = "service.set_tls_cert_key: key: expected PEM text, got table",
    bad_scheme = "service.request.set_scheme: expected http or https",
  } do
    it("says what is wrong: " .. word, loop.spec(function()
      local response = ask("site", word)
      assert.equal(400, response.status)
      assert.truthy(response.body:find(message, 1, true), response.body)
    end))
  end
end)

--- TLS to backends: another instance of the real binary is the backend.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local pki = require "support.pki"
local process = require "support.process"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

describe("a pool with TLS", function()
  local shared, backend, front, dir, authority, site, origin = loop.scope()

  local function pin_of(cert)
    local _, out = process.run("/bin/sh", { "-c", ("openssl x509 -in %s -noout -pubkey | openssl pkey -pubin "
      .. "-outform der | openssl dgst -sha256 -binary | openssl base64"):format(cert) })
    return "sha256//" .. out
  end

  setup(shared:spec(function()
    dir = tempdir.new()
    authority = pki.authority(dir, "authority")
    site = pki.issue(dir, "site", authority, { names = { "backend.test", "127.0.0.1" } })
    local named = pki.issue(dir, "named", authority, { names = { "other.test" } })
    local expired = pki.issue(dir, "expired", authority, { names = { "127.0.0.1" }, days = -1 })
    local client = pki.issue(dir, "client", authority)
    origin = origins.start()
    local function listener(name, certificate, auth)
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { certificate },
        client_auth = auth and { ca = authority.cert } } }
    end
    backend = servers.start { conf = {
      listeners = { listener("good", site), listener("named", named), listener("expired", expired),
        listener("asking", site, true) },
      pools = { { name = "origin", backends = { { address = origin.address } } } },
      routes = { { name = "site", path_prefix = "/", pool = "origin" } },
    } }
    local pools, routes = {}, {}
    local function pool(name, to, tls, more)
      local made = { name = name, tls = tls, backends = { { address = "127.0.0.1:" .. backend.ports[to] } } }
      for key, value in pairs(more or {}) do made[key] = value end
      pools[#pools + 1] = made
      routes[#routes + 1] = { name = name, path_prefix = "/" .. name, pool = name }
    end
    local ca = authority.cert
    pool("good", "good", { ca = ca })
    pool("sni", "good", { ca = ca, name = "backend.test" })
    pool("wrong", "named", { ca = ca })
    pool("late", "expired", { ca = ca })
    pool("system", "good", true)
    pool("any", "expired", { verify = false })
    pool("pinned", "named", { verify = false, pins = { pin_of(named.cert) } })
    pool("mispinned", "named", { verify = false, pins = { pin_of(site.cert) } })
    pool("known", "asking", { ca = ca, cert = client.cert, key = client.key })
    pool("unknown", "asking", { ca = ca })
    pool("plain", "good", false)
    front = servers.start { conf = { pools = pools, routes = routes } }
  end))
  teardown(function()
    shared:run(function()
      front:stop()
      backend:stop()
    end)
    shared:close()
  end)

  local function get(path) return clients.get(front.ports.http, path) end

  local function seen_by_backend(path)
    return backend.process.changed:wait("the backend's access log", function()
      for _, entry in ipairs(backend:access_log()) do
        if entry.path == path then return entry end
      end
    end)
  end

  it("verifies its certificate, by address or by name", loop.spec(function()
    assert.equal("https", rig.seen(get "/good/a").get "x-forwarded-proto")
    assert.equal(200, get("/sni/a").status)
    assert.same({ "TLSv1.3", cjson.null }, { seen_by_backend("/good/a").tls_version, seen_by_backend("/good/a").sni })
    assert.equal("backend.test", seen_by_backend("/sni/a").sni)
  end))

  for path, reason in pairs { wrong = "bad_certificate:other_name", late = "bad_certificate:expired",
    system = "bad_certificate:not_trusted", mispinned = "bad_certificate:other_key" } do
    it("refuses " .. reason, loop.spec(function()
      local response = get("/" .. path)
      assert.same({ 502, "backend_unreachable" }, { response.status, rig.code(response) })
      local address = "127%.0%.0%.1:%d+"
      front:wait_log(("backend.tls_failed.*backend=%s reason=%s"):format(address, reason))
    end))
  end

  it("may do without, or with a pin", loop.spec(function()
    assert.equal(200, get("/any").status)
    assert.equal(200, get("/pinned").status)
  end))

  it("shows our certificate where it is asked for", loop.spec(function()
    assert.equal(200, get("/known").status)
    assert.truthy(get("/unknown").status >= 502)
  end))

  local function count(metric, listener)
    local text = clients.get(backend.ports.admin, "/metrics").body
    return tonumber(text:match(('veloflux_listener_tls_%s_total{listener="%s"} (%%d+)'):format(metric, listener)))
  end

  it("keeps connections", loop.spec(function()
    assert.equal(200, get("/good/kept").status)
    local before = count("handshakes", "good")
    for i = 1, 5 do assert.equal(200, get("/good/kept/" .. i).status) end
    assert.equal(before, count("handshakes", "good"))
  end))

  it("resumes sessions where connections are not kept", loop.spec(function()
    local eager = servers.start { conf = { limits = { upstream_keepalive = 0 },
      pools = { { name = "web", tls = { ca = authority.cert },
        backends = { { address = "127.0.0.1:" .. backend.ports.good } } } },
      routes = { { name = "all", path_prefix = "/", pool = "web" } } } }
    local before = count("resumed", "good")
    for i = 1, 4 do assert.equal(200, clients.get(eager.ports.http, "/resumed/" .. i).status) end
    assert.equal(before + 3, count("resumed", "good"))
    eager:stop()
  end))

  it("carries large bodies both ways", loop.spec(function()
    local body = ("0123456789abcdef"):rep(40000)
    local response = clients.request(front.ports.http, "POST", "/good/large", {}, body)
    assert.equal(200, response.status)
    assert.equal(body, rig.seen(response).body)
  end))

  it("speaks no plain HTTP to a TLS listener", loop.spec(function()
    assert.equal(502, get("/plain").status)
  end))
end)

describe("a health check of a pool with TLS", function()
  it("shakes hands as requests do", loop.spec(function()
    local dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "127.0.0.1" } })
    local backend = servers.start { conf = {
      listeners = { { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } },
        { name = "framed", address = "127.0.0.1:0", proxy_protocol = true, tls = { certificates = { site } } } },
      routes = { { name = "hi", path = "/health", respond = { status = 200, body = "hello" } } },
    } }
    local function pool(name, port, tls, more)
      local made = { name = name, tls = tls, backends = { { address = "127.0.0.1:" .. port } },
        health_check = { interval = "100ms", path = "/health" } }
      for key, value in pairs(more or {}) do made[key] = value end
      return made
    end
    local front = servers.start { conf = { pools = { pool("good", backend.ports.https, { ca = site.cert }),
      pool("stranger", backend.ports.https, true),
      pool("framed", backend.ports.framed, { ca = site.cert }, { proxy_protocol = "v2" }) },
      routes = { { name = "framed", path_prefix = "/", pool = "framed" } } } }
    front:wait_log "backend.up.*pool=good.*reason=\"status 200\""
    front:wait_log "backend.up.*pool=framed.*reason=\"status 200\""
    front:wait_log "backend.down.*pool=stranger.*reason=\"TLS: bad_certificate:not_trusted\""
    assert.equal(200, clients.get(front.ports.http, "/health").status)
    front:stop()
    backend:stop()
  end))
end)

describe("a changed tls of a pool", function()
  it("is used for the next request, not for kept connections", loop.spec(function()
    local dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "127.0.0.1" } })
    local backend = servers.start { conf = {
      listeners = { { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } } },
      routes = { { name = "hi", path = "/hi", respond = { status = 200, body = "hello" } } },
    } }
    local function conf(tls)
      local backends = { { address = "127.0.0.1:" .. backend.ports.https } }
      return { pools = { { name = "web", tls = tls, backends = backends } },
        routes = { { name = "all", path_prefix = "/", pool = "web" } } }
    end
    local front = servers.start { conf = conf { verify = false } }
    assert.equal(200, clients.get(front.ports.http, "/hi").status)
    front:write_conf(conf(true))
    assert.is_true(front:reload())
    assert.equal(502, clients.get(front.ports.http, "/hi").status)
    front:write_conf(conf { ca = site.cert })
    assert.is_true(front:reload())
    assert.equal(200, clients.get(front.ports.http, "/hi").status)
    front:stop()
    backend:stop()
  end))
end)

--- Certificates through the admin API of the real binary, and what its TLS listeners make of them.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"

local server, dir

local function request(method, path, body)
  local text = body and (next(body) == nil and "{}" or cjson.encode(body))
  local response = clients.request(server.ports.admin, method, path,
    { ["Content-Type"] = text and "application/json" or nil, Accept = "application/json" }, text)
  response.json = #response.body > 0 and cjson.decode(response.body) or nil
  return response
end

local function is(response, status)
  assert.equal(status, response.status, response.body)
  return response.json
end

local function subject(name) return tls.shake(server.ports.https, { name = name, path = "/hi" }).subject end

local function body(name, made) return { name = name, cert = pki.read(made.cert), key = pki.read(made.key) } end

local function spec(run, certificates)
  return loop.spec(function()
    dir = tempdir.new()
    server = servers.start { conf = {
      listeners = { { name = "https", address = "127.0.0.1:0", tls = { certificates = certificates and certificates(),
        handshake_timeout = "30s" } } },
      routes = { { name = "hi", path = "/hi", respond = { status = 200, body = "hello" } } },
    } }
    run()
    server:stop()
  end)
end

describe("/api/certificates", function()
  it("is served at once, and shows no key", spec(function()
    assert.is_nil(subject "a.test")
    local site = pki.self_signed(dir, "site", { names = { "a.test", "*.b.test", "192.0.2.1" } })
    local created = request("POST", "/api/certificates", body("site", site))
    assert.equal("/api/certificates/site", created:get "location")
    assert.equal("CN = site", subject "a.test")
    for _, shown in ipairs { is(created, 201), is(request("GET", "/api/certificates/site"), 200),
      is(request("GET", "/api/certificates"), 200)[1] } do
      assert.same({ "a.test", "*.b.test", "192.0.2.1" }, shown.names)
      assert.same({ "CN=site", "CN=site", "EC-256", 1 }, { shown.subject, shown.issuer, shown.key_type,
        shown.chain_length })
      assert.truthy(shown.fingerprint:find "^%x+$" and #shown.fingerprint == 64)
      assert.truthy(shown.not_before < shown.not_after)
      assert.is_nil(cjson.encode(shown):find "PRIVATE KEY")
    end
    is(request("GET", "/api/certificates?name=site"), 200)
    assert.equal(409, request("POST", "/api/certificates", body("site", site)).status)
  end))

  it("replaces without a restart, and deletes", spec(function()
    local old, new = pki.self_signed(dir, "old", { names = { "a.test" } }),
      pki.self_signed(dir, "new", { names = { "a.test" } })
    is(request("POST", "/api/certificates", body("site", old)), 201)
    assert.equal("CN = old", subject "a.test")
    local changed = is(request("PUT", "/api/certificates/site", { cert = pki.read(new.cert), key = pki.read(new.key) }),
      200)
    assert.equal("CN=new", changed.subject)
    assert.equal("CN = new", subject "a.test")
    is(request("DELETE", "/api/certificates/site"), 204)
    is(request("GET", "/api/certificates/site"), 404)
    assert.is_nil(subject "a.test")
  end))

  it("says which field is wrong", spec(function()
    local site, other = pki.self_signed(dir, "site"), pki.self_signed(dir, "other")
    local function pointer_of(changes)
      local value = body("site", site)
      for name, own in pairs(changes) do value[name] = own end
      local refused = is(request("POST", "/api/certificates", value), 400)
      return refused.errors[1].pointer, refused.errors[1].detail
    end
    assert.same({ "/cert", "holds a certificate that is damaged or of an unknown kind" },
      { pointer_of { cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" } })
    assert.same({ "/key", "does not belong to the certificate" }, { pointer_of { key = pki.read(other.key) } })
    assert.equal("/key", (pointer_of { key = "x" }))
    local _, detail = pointer_of { key = pki.read(site.key):gsub("M", "N", 1) }
    assert.is_nil(detail:find(pki.read(site.key):sub(40, 60), 1, true))
  end))

  it("stays while a listener needs it", spec(function()
    local made = pki.self_signed(dir, "site")
    is(request("POST", "/api/certificates", body("site", made)), 201)
    server:write_conf { listeners = { { name = "https", address = "127.0.0.1:0",
      tls = { certificates = { "site" } } } } }
    assert.is_true(server:reload())
    assert.equal("referenced", is(request("DELETE", "/api/certificates/site"), 409).code)
  end))

  it("is in metrics and health", spec(function()
    local authority = pki.authority(dir, "authority")
    local soon = pki.issue(dir, "soon", authority, { days = 2 })
    is(request("POST", "/api/certificates", body("soon", soon)), 201)
    local text = clients.get(server.ports.admin, "/metrics").body
    local ends = tonumber(text:match 'veloflux_certificate_expiry_timestamp_seconds{name="soon"} (%S+)')
    assert.truthy(math.abs(ends - os.time() - 2 * 24 * 3600) < 120)
    local health = is(request("GET", "/health"), 200).components.certificates
    assert.is_true(health.ok)
    assert.truthy(health.message:find "^soon: the certificate expires on")
    is(request("POST", "/api/certificates", body("old", pki.issue(dir, "old", authority, { days = -1 }))), 201)
    health = is(request("GET", "/health"), 200)
    assert.equal("degraded", health.status)
    assert.truthy(health.components.certificates.message:find "old: the certificate expired on")
    server:wait_log "conf.warning.*expired on"
  end))

  it("is sealed in the store", spec(function()
    local site = pki.self_signed(dir, "site")
    is(request("POST", "/api/certificates", body("site", site)), 201)
    local secret = pki.read(site.key):match "\n(%S+)\n"
    local found = {}
    for _, name in ipairs { "veloflux.db", "veloflux.db-wal", "last-model.json" } do
      local text = tempdir.read(server.dir .. "/data/" .. name)
      found[#found + 1] = text and text:find(secret, 1, true) and name
    end
    assert.same({}, found)
  end))
end)

describe("a certificate's file", function()
  it("is replaced by a reload, under load, without a failed handshake", spec(function()
    local old, new = pki.self_signed(dir, "site", { names = { "a.test" } }), pki.self_signed(dir, "new",
      { names = { "a.test" } })
    local function conf()
      return { listeners = { { name = "https", address = "127.0.0.1:0", tls = { certificates = { old } } } },
        routes = { { name = "hi", path = "/hi", respond = { status = 200, body = "hello" } } } }
    end
    server:stop()
    server = servers.start { conf = conf() }
    local seen, failed, stop, running = {}, 0, false, 3
    local done = loop.condition()
    for _ = 1, running do
      loop.spawn(function()
        while not stop do
          local result = tls.shake(server.ports.https, { path = "/hi" })
          seen[result.subject or "none"] = true
          if result.answer ~= "200" then failed = failed + 1 end
          done:notify()
        end
        running = running - 1
        done:notify()
      end)
    end
    assert.equal("CN = site", subject "a.test")
    done:wait("a handshake of the clients", function() return seen["CN = site"] end)
    tempdir.write(old.cert, pki.read(new.cert))
    tempdir.write(old.key, pki.read(new.key))
    assert.is_true(server:reload())
    assert.equal("CN = new", subject "a.test")
    stop = true
    done:wait("the clients", function() return running == 0 end)
    assert.equal(0, failed)
  end))
end)

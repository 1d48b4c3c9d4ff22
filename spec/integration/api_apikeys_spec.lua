--- API keys of the admin address: who may do what with one, and until when.
local apis = require "support.api"
local cjson = require "cjson"
local children = require "support.children"
local loop = require "support.loop"
local pki = require "support.pki"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local server
local is = apis.is
local BASIC = "Basic " .. "YWRtaW46aHVudGVyMi1odW50ZXIy" -- admin:hunter2-hunter2

local request = apis.requester(function() return server.ports.admin end, { Authorization = BASIC })

--- Asks with a key.
local function with(key, method, path, body)
  return request(method, path, body, { Authorization = "Bearer " .. key })
end

local function start(more)
  local conf = { admin = { address = "127.0.0.1:0", auth = { username = "admin", password = "hunter2-hunter2" } } }
  for name, value in pairs(more or {}) do conf[name] = value end
  server = servers.start { conf = conf }
end

local function make(fields) return is(request("POST", "/api/apikeys", fields), 201) end

describe("an API key", function()
  it("is shown once, and does what its role may", loop.spec(function()
    start()
    local made = request("POST", "/api/apikeys", { name = "ci", role = "admin", description = "The pipeline." })
    local admin = is(made, 201)
    assert.matches("^vfk_%x+_[%w_-]+$", admin.key)
    assert.equal("/api/apikeys/ci", made:get "location")
    assert.same({ "admin", "admin", "default" }, { admin.role, admin.created_by, admin.tenant_id })
    assert.is_false(admin.expired)
    local user = make { name = "dashboard" }
    assert.equal("user", user.role)
    assert.is_nil(is(request("GET", "/api/apikeys/ci"), 200).key)
    assert.equal(2, #is(with(admin.key, "GET", "/api/apikeys"), 200))
    is(with(admin.key, "POST", "/api/pools", { name = "web" }), 201)
    local record = is(request("GET", "/api/config/versions?limit=1"), 200)[1]
    assert.equal("key:ci", record.author)
    for _, path in ipairs { "/api/pools", "/api/pools/web", "/api/config", "/api/status", "/api/metrics" } do
      is(with(user.key, "GET", path), 200)
    end
    for _, path in ipairs { "/api/apikeys", "/api/keys", "/api/config/export", "/api/config/versions",
      "/api/config/diff", "/api/config/templates", "/api/backups", "/api/debug/routes" } do
      assert.equal("forbidden", is(with(user.key, "GET", path), 403).code)
    end
    is(with(user.key, "POST", "/api/pools", { name = "more" }), 403)
    is(with(user.key, "DELETE", "/api/pools/web"), 403)
    is(with(user.key, "POST", "/api/reload"), 403)
    local shown = is(request("GET", "/api/apikeys?role=user"), 200)
    assert.same({ "dashboard" }, { shown[1].name })
    assert.is_string(shown[1].last_used_at)
    server:stop()
  end))

  it("comes in X-API-Key as well, and wrong ones lock out", loop.spec(function()
    start()
    local key = make({ name = "ci", role = "admin" }).key
    is(request("GET", "/api/pools", nil, { Authorization = false, ["X-API-Key"] = key }), 200)
    is(request("GET", "/api/pools", nil, { Authorization = false }), 401)
    is(with(key .. "x", "GET", "/api/pools"), 401)
    is(with("vfk_00_x", "GET", "/api/pools"), 401)
    is(with("eyJhbGciOiJIUzI1NiJ9.e30.x", "GET", "/api/pools"), 401) -- not one of ours
    for _ = 1, 3 do request("GET", "/api/pools", nil, { Authorization = false, ["X-API-Key"] = "nonsense" }) end
    is(request("GET", "/api/pools", nil, { Authorization = false, ["X-API-Key"] = "nonsense" }), 429)
    server:stop()
  end))

  it("has an ETag, and is revoked on condition", loop.spec(function()
    start()
    local made = request("POST", "/api/apikeys", { name = "ci" })
    local tag = made:get "etag"
    assert.equal(('"%d"'):format(is(made, 201).version), tag)
    local path = "/api/apikeys/ci"
    for _, seen in ipairs { tag, "W/" .. tag, "*" } do
      assert.equal(304, request("GET", path, nil, { ["If-None-Match"] = seen }).status)
    end
    is(request("GET", path, nil, { ["If-None-Match"] = '"0"' }), 200)
    is(request("DELETE", path, nil, { ["If-Match"] = '"0"' }), 412)
    is(request("DELETE", path, nil, { ["If-Match"] = tag }), 204)
    server:stop()
  end))

  it("is revoked at once, and stays so", loop.spec(function()
    start()
    local key = make({ name = "ci", role = "admin" }).key
    is(with(key, "GET", "/api/pools"), 200)
    local version = is(request("GET", "/api/config"), 200).version
    local backup = is(request("POST", "/api/backup/create", { passphrase = "correct horse" }), 200)
    backup.passphrase = "correct horse"
    is(request("DELETE", "/api/apikeys/ci"), 204)
    is(with(key, "GET", "/api/pools"), 401)
    is(request("DELETE", "/api/apikeys/ci"), 404)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(version), {}), 200)
    is(request("POST", "/api/backup/restore", backup), 200)
    is(with(key, "GET", "/api/pools"), 401)
    local again = make { name = "ci" }
    assert.not_equal(key, again.key)
    server:stop()
  end))

  it("outlives control and a restart, and ends with its time", loop.spec(function()
    start()
    local key = make({ name = "ci", role = "admin" }).key
    local short = make({ name = "short", expires_in = "1s" })
    assert.is_string(short.expires_at)
    children.eventually("the end of the key", function() return with(short.key, "GET", "/api/pools").status == 401 end)
    assert.is_true(is(request("GET", "/api/apikeys/short"), 200).expired)
    local pid = children.of(server.pid).control[1]
    uv.kill(pid, "sigkill")
    server:wait_log "control.exited"
    children.eventually("control", function() return with(key, "GET", "/api/config").status == 200 end)
    server:stop()
  end))

  it("gets no answer that was kept for another tenant's key of the same name", loop.spec(function()
    start { tenants = { { name = "acme" }, { name = "zeta" } } }
    local function post(tenant)
      local key = make({ name = "ci", role = "admin", tenant_id = tenant }).key
      local response
      for _ = 1, 2 do
        response = request("POST", "/api/pools", { name = "web" }, { Authorization = "Bearer " .. key,
          ["Idempotency-Key"] = "one" })
      end
      assert.same({ tenant, "true" }, { is(response, 201).tenant_id, response:get "idempotency-replayed" })
      is(request("DELETE", "/api/apikeys/ci"), 204)
    end
    post "acme"
    post "zeta"
    server:stop()
  end))

  it("of a tenant names no files of the node", loop.spec(function()
    start { tenants = { { name = "acme", hosts = { "a.example.com" } } } }
    local own = pki.self_signed(tempdir.new(), "site")
    local pem = { cert = pki.read(own.cert), key = pki.read(own.key) }
    local key = make({ name = "acme-ci", role = "admin", tenant_id = "acme" }).key
    is(request("POST", "/api/certificates", { name = "theirs", cert = own.cert, key = own.key }), 201) -- operators may
    is(with(key, "POST", "/api/certificates", { name = "own", cert = pem.cert, key = pem.key }), 201)
    is(with(key, "POST", "/api/pools", { name = "web", tls = { ca = pem.cert } }), 201)
    local function refused(method, path, body, pointer)
      local answer = is(with(key, method, path, body), 403)
      assert.equal(pointer, answer.errors[1].pointer)
    end
    for _, place in ipairs { own.key, "/nowhere", "site.key" } do -- whether it is there or not
      refused("POST", "/api/certificates", { name = "stolen", cert = pem.cert, key = place }, "/key")
      refused("PUT", "/api/certificates/own", { key = place }, "/key")
      refused("PATCH", "/api/certificates/own", { key = place }, "/key")
      refused("PATCH", "/api/pools/web", { tls = { ca = place } }, "/tls/ca")
    end
    is(with(key, "PUT", "/api/certificates/own", is(with(key, "GET", "/api/certificates/own"), 200)), 200)
    server:stop()
  end))

  it("of a tenant learns nothing of others where changes are refused or tried", loop.spec(function()
    start { tenants = { { name = "acme", hosts = { "a.example.com" } },
      { name = "other", hosts = { "o.example.com" } } } }
    is(request("POST", "/api/pools", { name = "theirs", tenant_id = "other" }), 201) -- no backends: there are findings
    is(request("POST", "/api/routes", { name = "hidden", path = "/x", pool = "theirs", tenant_id = "other" }), 201)
    is(request("POST", "/api/pools", { name = "own", tenant_id = "acme" }), 201)
    local key = make({ name = "acme-ci", role = "admin", tenant_id = "acme" }).key
    local route = { name = "r", path = "/r", pool = "own" }
    local operator = is(request("POST", "/api/pools?dry_run=true", { name = "x" }), 200)
    assert.is_truthy(cjson.encode(operator.findings):find("theirs", 1, true))
    local dry = with(key, "POST", "/api/routes?dry_run=true", route)
    assert.equal("api:pools/acme/own", is(dry, 200).findings[1].source)
    assert.equal(1, #dry.json.findings)
    assert.equal(1, #dry.json.warnings)
    route.host = "o.example.com"
    local refused = with(key, "POST", "/api/routes", route)
    assert.equal("the host o.example.com belongs to another tenant", is(refused, 400).errors[1].detail)
    for _, answer in ipairs { dry, refused } do
      for _, word in ipairs { "other.", "theirs", "hidden", "veloflux.yaml" } do
        assert.is_nil(answer.body:find(word, 1, true), word)
      end
    end
    for _, method in ipairs { "PUT", "PATCH", "DELETE" } do -- nor is there another tenant
      is(with(key, method, "/api/tenants/other", method ~= "DELETE" and {} or nil), 404)
    end
    server:stop()
  end))

  it("of a tenant sees and changes what is the tenant's", loop.spec(function()
    start { tenants = { { name = "acme", hosts = { "a.example.com" } }, { name = "other" } } }
    is(request("POST", "/api/pools", { name = "web" }), 201)
    is(request("POST", "/api/pools", { name = "own", tenant_id = "acme" }), 201)
    is(request("POST", "/api/pools", { name = "theirs", tenant_id = "other" }), 201)
    local key = make({ name = "acme-ci", role = "admin", tenant_id = "acme" }).key
    local pools = is(with(key, "GET", "/api/pools"), 200)
    assert.same({ "own" }, { pools[1].name, pools[2] })
    is(with(key, "GET", "/api/pools/own"), 200)
    is(with(key, "GET", "/api/pools/web"), 404)
    is(with(key, "GET", "/api/pools/theirs?tenant_id=other"), 404)
    is(with(key, "GET", "/api/pools?tenant_id=other"), 404)
    local made = is(with(key, "POST", "/api/pools", { name = "more", backends = { { address = "127.0.0.1:1" } } }), 201)
    assert.equal("acme", made.tenant_id)
    is(with(key, "POST", "/api/pools", { name = "x", tenant_id = "other" }), 404)
    is(with(key, "PUT", "/api/pools/more", { algorithm = "random" }), 200)
    is(with(key, "DELETE", "/api/pools/theirs"), 404)
    local foreign = is(request("POST", "/api/pools/web/backends", { address = "127.0.0.1:2" }), 201)
    is(with(key, "DELETE", "/api/backends/" .. foreign.id), 404)
    is(with(key, "POST", ("/api/backends/%s/drain"):format(foreign.id)), 404)
    is(with(key, "POST", ("/api/backends/%s/drain"):format(made.backends[1].id)), 200)
    is(with(key, "POST", "/api/plugins", { name = "cors", scope = "global" }), 403)
    is(with(key, "PUT", "/api/tenants/acme", { hosts = { "b.example.com" } }), 403)
    is(with(key, "POST", "/api/tenants", { name = "mine" }), 403)
    local function refused(body, pointer)
      local answer = is(with(key, "POST", "/api/routes", body), 403)
      assert.equal(pointer, answer.errors[1].pointer)
    end
    local function route(plugin)
      return { name = "r", path = "/r", respond = { status = 200 }, plugins = { plugin } }
    end
    refused(route { name = "script", config = { access = "return" } }, "/plugins/0/name")
    refused(route { name = "jwt", config = { secret = "{file:/etc/shadow}" } }, "/plugins/0/config/secret")
    refused(route { name = "jwt", config = { secret = { ["file:/etc/shadow"] = cjson.null } } },
      "/plugins/0/config/secret")
    local consumer = { name = "c", credentials = { { type = "key-auth", key = "{vault://env/api-password}" } } }
    is(with(key, "POST", "/api/consumers", consumer), 403)
    local script = route { name = "script", config = { access = "return" } }
    script.tenant_id = "acme"
    is(request("POST", "/api/routes", script), 201) -- an operator may
    local id = "/api/plugins/route:acme:r:script"
    is(request("GET", id), 200)
    is(with(key, "PUT", id, { config = { access = "return 1" } }), 403)
    is(with(key, "PATCH", "/api/routes/r", { path = "/t" }), 200)
    is(with(key, "PUT", "/api/routes/r", { path = "/s" }), 200)
    for _, path in ipairs { "/api/config", "/api/status", "/api/apikeys", "/api/config/export", "/api/metrics" } do
      is(with(key, "GET", path), 403)
    end
    is(with(key, "POST", "/api/config/import", { pools = {} }), 403)
    is(with(key, "POST", "/api/bulk", { operations = {} }), 403)
    server:stop()
  end))

  it("says what is wrong with what it is to be", loop.spec(function()
    start()
    local cases = { ["/name"] = {}, ["/role"] = { name = "a", role = "owner" },
      ["/expires_in"] = { name = "a", expires_in = "soon" }, ["/tenant_id"] = { name = "a", tenant_id = "nobody" },
      ["/colour"] = { name = "a", colour = "red" } }
    for pointer, body in pairs(cases) do
      assert.equal(pointer, is(request("POST", "/api/apikeys", body), 400).errors[1].pointer)
    end
    make { name = "a" }
    assert.equal("exists", is(request("POST", "/api/apikeys", { name = "a" }), 409).code)
    is(request("GET", "/api/apikeys/b"), 404)
    is(request("GET", "/api/apikeys?colour=red"), 400)
    server:stop()
  end))
end)

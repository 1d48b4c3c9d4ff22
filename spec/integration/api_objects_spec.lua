--- How objects of the admin API look, and the forms in which they are taken: what dashboards and older clients read
-- and send besides what the conf file would say.
local apis = require "support.api"
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local server, api

local function start(conf)
  server = servers.start { conf = conf or {} }
  api = apis.of(server)
end

describe("objects of the admin API", function()
  it("say a status that is one as a number, and take it back", loop.spec(function()
    start()
    local check = { enabled = true, path = "/up", interval = "10s", timeout = "3s", expected_status = 204 }
    local made = api.is(api.post("/api/pools", { name = "web", health_check = check }), 201)
    for name, value in pairs(check) do assert.equal(value, made.health_check[name]) end
    local same = api.put("/api/pools/web", api.get("/api/pools/web").body)
    assert.equal(made.version, api.is(same, 200).version)
    local ranges = { expected_status = { 200, "300-399" } }
    api.is(api.post("/api/pools", { name = "ranges", health_check = ranges }), 201)
    assert.same(ranges.expected_status, api.is(api.get "/api/pools/ranges", 200).health_check.expected_status)
    server:stop()
  end))

  it("keep health checks that are switched off", loop.spec(function()
    start()
    local backends = { { address = "127.0.0.1:1" }, { address = "127.0.0.1:2", health_check = { enabled = true } } }
    local off = { enabled = false, interval = "100ms" }
    api.is(api.post("/api/pools", { name = "web", health_check = off, backends = backends }), 201)
    local function checked()
      local shown = api.is(api.get "/api/debug/backends", 200)
      return shown[1].check ~= cjson.null, shown[2].check ~= cjson.null
    end
    assert.same({ false, true }, { checked() })
    assert.is_true(api.is(api.get "/api/cluster", 200).health_check_enabled == false)
    api.is(api.put("/api/pools/web", { health_check = { enabled = true } }), 200)
    assert.same({ true, true }, { checked() })
    server:stop()
  end))

  it("take durations as whole numbers of nanoseconds, and say them as texts", loop.spec(function()
    start()
    api.is(api.post("/api/pools", { name = "web", timeouts = { connect = 1500000000 } }), 201)
    local sent = { address = "127.0.0.1:1", pool = "web",
      health_check = { path = "/x", interval = 7000000000, timeout = 250000000, expected_status = 200 } }
    local made = api.is(api.post("/api/backends", sent), 201)
    assert.same({ "7s", "250ms" }, { made.health_check.interval, made.health_check.timeout })
    assert.equal("1500ms", api.is(api.get "/api/pools/web", 200).timeouts.connect)
    sent.health_check.interval, sent.address = 5, "127.0.0.1:2"
    api.problem(api.post("/api/backends", sent), 400, "invalid", "/health_check/interval")
    local bulk = { operations = { { action = "update", id = "web", data = { timeouts = { connect = 2000000000 } } } } }
    api.is(api.post("/api/bulk/pools", bulk), 200)
    assert.equal("2s", api.is(api.get "/api/pools/web", 200).timeouts.connect)
    server:stop()
  end))

  it("have the JSON types of their schema, not what a conf file is forgiven", loop.spec(function()
    start()
    local function pointers(response)
      local found = {}
      for i, fault in ipairs(api.is(response, 400).errors) do found[i] = fault.pointer end
      return found
    end
    local backends = { { address = "127.0.0.1:1", weight = "5" } }
    local wrong = { name = "web", max_connections = "7", passive_health = "true", backends = backends }
    assert.same({ "/backends/0/weight", "/max_connections", "/passive_health" },
      pointers(api.post("/api/pools", wrong)))
    wrong = { host = "a.b", priority = "1", match = { headers = { ["X/Y"] = 1 } }, respond = { body = 5 } }
    assert.same({ "/match/headers/X~1Y", "/priority", "/respond/body" }, pointers(api.post("/api/routes", wrong)))
    local right = { name = "web", max_connections = "off", sticky_sessions = { ttl = "off" },
      limits = { body_bytes = 9 }, health_check = { expected_status = { 200, "300-399" } } }
    api.is(api.post("/api/pools", right), 201)
    assert.same({ "/passive_health" }, pointers(api.put("/api/pools/web", { passive_health = "false" })))
    assert.same({ "/active" }, pointers(api.post("/api/tenants", { name = "acme", active = "true" })))
    server:stop()
  end))

  it("say when a backend was used last", loop.spec(function()
    local origin = origins.start()
    start { pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "site", host = "*", pool = "web" } } }
    assert.equal(cjson.null, api.is(api.get "/api/backends", 200)[1].last_used)
    local before = api.is(api.get "/api/status", 200).timestamp
    assert.equal(200, clients.get(server.ports.http, "/").status)
    local used = api.is(api.get "/api/backends", 200)[1].last_used
    assert.is_true(used >= before)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    assert.is_true(api.is(api.get "/api/backends", 200)[1].last_used >= used)
    server:stop()
  end))

  it("say the region and load of every backend, and know no backends of pools that are not there", loop.spec(function()
    start { entities = "seed", pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } } }
    local backend = api.is(api.get "/api/backends?pool=web", 200)[1]
    assert.same({ "", 0 }, { backend.region, backend.load })
    api.problem(api.get "/api/backends?pool=none", 404, "not_found")
    assert.equal(1, #api.is(api.get "/api/backends?pool=none&pool=web", 200))
    api.is(api.put("/api/backends/" .. backend.id, { region = "eu-west-1" }), 200)
    assert.same({ "eu-west-1" }, api.is(api.get "/api/cluster", 200).regions)
    api.is(api.put("/api/backends/" .. backend.id, backend), 200)
    assert.equal(0, #api.is(api.get "/api/cluster", 200).regions)
    server:stop()
  end))

  it("say host and path of routes that are for all of them, and what comes back is no change", loop.spec(function()
    start { entities = "seed", routes = { { name = "all", respond = { status = 200 } },
      { name = "exact", hosts = { "a.example" }, path = "/x", respond = { status = 200 } } } }
    local text = api.get("/api/routes/all").body
    local all = cjson.decode(text)
    assert.same({ "*", "/" }, { all.host, all.path_prefix })
    assert.equal(all.version, api.is(api.put("/api/routes/all", text), 200).version)
    assert.equal("all", api.is(api.get "/api/routes?host=*", 200)[1].name)
    local exact = api.is(api.get "/api/routes/exact", 200)
    assert.same({}, { exact.host, exact.path_prefix })
    local more = text:gsub("^{", '{"hosts":["b.example"],"path":"/y",')
    local changed = api.is(api.put("/api/routes/all", more), 200)
    assert.same({ "b.example", "/y" }, { changed.hosts[1], changed.path })
    assert.is_nil(changed.host)
    server:stop()
  end))

  it("call credentials what paths call them", loop.spec(function()
    start()
    api.is(api.post("/api/consumers", { name = "ana" }), 201)
    local made = api.is(api.post("/api/consumers/ana/credentials", { type = "key-auth", key = "of-ana" }), 201)
    assert.equal(made.credential_id, made.id)
    api.is(api.get("/api/consumers/ana/credentials/" .. made.id), 200)
    server:stop()
  end))

  it("are patched by what says that it is JSON, too", loop.spec(function()
    start()
    api.is(api.post("/api/pools", { name = "web", algorithm = "random" }), 201)
    local patch = api.patch("/api/pools/web", '{"algorithm":null}', { ["Content-Type"] = "application/json" })
    assert.equal("round_robin", api.is(patch, 200).algorithm)
    api.problem(api.patch("/api/pools/web", "{}", { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
    server:stop()
  end))
end)

describe("dry runs", function()
  it("say what operations at run time would change, and change nothing", loop.spec(function()
    start { pools = { { name = "web", backends = { { address = "127.0.0.1:1" }, { address = "127.0.0.1:2" } } } } }
    local id = api.is(api.get "/api/backends", 200)[1].id
    local path = "/api/backends/" .. id
    local function changes_of(response)
      local found = {}
      for i, entity in ipairs(api.is(response, 200).diff) do
        local change = entity.changes[1]
        found[i] = ("%s %s: %s -> %s"):format(entity.name, change.pointer, change.before, change.after)
      end
      return found
    end
    assert.same({ "127.0.0.1:1 /drain: none -> draining" }, changes_of(api.post(path .. "/drain?dry_run=true")))
    assert.same({ "127.0.0.1:1 /effective_weight: 100 -> 7" },
      changes_of(api.post(path .. "/weight?dry_run=true", { weight = 7 })))
    assert.same({}, changes_of(api.post(path .. "/undrain?dry_run=true")))
    assert.equal(2, #changes_of(api.post("/api/pools/web/drain?dry_run=true", { mode = "disable" })))
    api.problem(api.post(path .. "/drain?dry_run=perhaps"), 400, "invalid")
    for _, backend in ipairs(api.is(api.get "/api/backends", 200)) do
      assert.same({ "none", 100 }, { backend.drain, backend.effective_weight })
    end
    assert.equal("draining", api.is(api.post(path .. "/drain?dry_run=false"), 200).drain)
    server:stop()
  end))

  it("make and revoke no keys, and end no node", loop.spec(function()
    start()
    assert.equal("added", api.is(api.post("/api/apikeys?dry_run=true", { name = "ci" }), 200).diff[1].action)
    api.problem(api.get "/api/apikeys/ci", 404, "not_found")
    api.is(api.post("/api/apikeys", { name = "ci" }), 201)
    api.problem(api.post("/api/apikeys?dry_run=true", { name = "ci" }), 409, "exists")
    assert.equal("removed", api.is(api.delete "/api/apikeys/ci?dry_run=true", 200).diff[1].action)
    api.is(api.get "/api/apikeys/ci", 200)
    assert.same({ "dry_run", true }, { api.is(api.post "/api/system/drain?dry_run=true", 200).status,
      api.is(api.get "/ready", 200).ready })
    server:stop()
  end))
end)

describe("the admin address", function()
  it("says to strangers what it is, and to browsers where to log in", loop.spec(function()
    start { admin = { address = "127.0.0.1:0", auth = { password = "correct horse" } } }
    local banner = api.is(api.get "/", 200)
    assert.matches("VeloFlux", banner.status)
    assert.is_string(banner.version)
    assert.is_nil(banner.pools)
    local page = api.get("/", { Accept = "text/html" })
    assert.equal("text/html; charset=utf-8", page:get "content-type")
    assert.equal("null", page.body:match '<script type="application/json" id="data">(.-)</script>')
    api.problem(api.get("/", { Authorization = "Basic eDp5" }), 401, "unauthorized")
    api.problem(api.get "/api/status", 401, "unauthorized")
    server:stop()
  end))

  it("answers what is refused before it is read as it answers everything else", loop.spec(function()
    start()
    local function check(response, status, code, path)
      local found = api.problem(response, status, code)
      assert.same({ found.detail, path, found.request_id },
        { found.error, found.instance, response:get "x-request-id" })
    end
    local long = '{"name":"' .. ("a"):rep(1100000) .. '"}'
    check(api.post("/api/pools?dry_run=true", long), 413, "body_too_large", "/api/pools")
    check(api.get "/api/pools/a%2fb", 400, "target_escaped_slash", "/api/pools/a%2fb")
    local client = clients.connect(server.ports.admin)
    client:send "FROB /api/pools HTTP/1.1\r\nHost: a\r\n\r\n"
    local response = client:read_response()
    response.json = cjson.decode(response.body)
    check(response, 501, "method_not_implemented", response.json.instance)
    client:close()
    server:stop()
  end))
end)

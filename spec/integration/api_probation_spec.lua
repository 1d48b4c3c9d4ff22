--- Changes on probation, through the admin API of the real binary: bad ones are taken back by themselves.
local apis = require "support.api"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local children = require "support.children"
local servers = require "support.server"
local uv = require "luv"

local server, admin

local request = apis.requester(function() return admin end)
local is = apis.is

local function origin(status)
  return origins.start(function(conn, asked) conn:write(origins.response(status, nil, "", asked.method)) end)
end

local function traffic(count)
  for _ = 1, count do clients.get(server.ports.http, "/") end
end

local function spec(conf, body)
  return loop.spec(function()
    local good, bad = origin(200), origin(500)
    server = servers.start { conf = conf }
    admin = server.ports.admin
    is(request("POST", "/api/pools", { name = "web", backends = { { address = good.address } } }), 201)
    is(request("POST", "/api/routes", { name = "site", path_prefix = "/", pool = "web" }), 201)
    body(good, bad)
    server:stop()
  end)
end

local function backends(of) return { backends = { { address = of.address } } } end

local function version_of(response) return tonumber(response:get "veloflux-version") end

local function probation_of(version) return is(request("GET", "/api/config/versions/" .. version), 200).probation end

describe("a change on probation", function()
  it("is taken back when requests begin to fail", spec({}, function(good, bad)
    traffic(30)
    local changed = request("PUT", "/api/pools/web?probation=1h,min_requests=10", backends(bad))
    is(changed, 200)
    assert.equal("1h", changed:get "veloflux-probation")
    local version = version_of(changed)
    local state = probation_of(version)
    assert.equal("watching", state.state)
    assert.same({ "default/site" }, state.routes)
    assert.equal(0, state.before.error_rate)
    traffic(12)
    server:wait_log "probation.rolled_back"
    local told = probation_of(version)
    assert.equal("rolled_back", told.state)
    assert.is_truthy(told.reason:find "^100.0 %% of %d+ requests of the route site failed, 0.0 %% before")
    assert.equal(good.address, is(request("GET", "/api/pools/web"), 200).backends[1].address)
    local back = is(request("GET", "/api/config/versions/" .. told.rollback), 200)
    assert.same({ "rollback", "probation", told.reason }, { back.source, back.author, back.reason })
    assert.equal(200, clients.get(server.ports.http, "/").status)
    local metrics = clients.get(admin, "/metrics").body
    assert.is_truthy(metrics:find('veloflux_probations_total{state="rolled_back"} 1', 1, true))
    assert.is_truthy(metrics:find("veloflux_probation_watching 0", 1, true))
  end))

  it("stays when its time is over", spec({}, function(good)
    local changed = request("PUT", "/api/pools/web?probation=1s", { algorithm = "least_conn" })
    is(changed, 200)
    server:wait_log "probation.passed"
    assert.equal("passed", probation_of(version_of(changed)).state)
    assert.equal(good.address, is(request("GET", "/api/pools/web"), 200).backends[1].address)
  end))

  it("is confirmed or rejected by hand", spec({}, function()
    local first = version_of(request("PATCH", "/api/pools/web?probation=1h", { algorithm = "least_conn" },
      { ["Content-Type"] = "application/merge-patch+json" }))
    local second = version_of(request("POST", "/api/pools?probation=1h", { name = "other" }))
    local confirmed = is(request("POST", ("/api/config/versions/%d/confirm"):format(first)), 200)
    assert.equal("confirmed", confirmed.probation.state)
    local would = is(request("POST", ("/api/config/versions/%d/reject?dry_run=true"):format(second)), 200)
    assert.same({ {}, 1 }, { would.skipped, #would.diff })
    local rejected = is(request("POST", ("/api/config/versions/%d/reject"):format(second), {}), 200)
    assert.equal("rolled_back", rejected.probation.state)
    is(request("GET", "/api/pools/other"), 404)
    assert.equal("least_conn", is(request("GET", "/api/pools/web"), 200).algorithm)
    is(request("POST", ("/api/config/versions/%d/confirm"):format(first)), 409)
    is(request("POST", ("/api/config/versions/%d/reject"):format(first)), 409)
    is(request("POST", "/api/config/versions/x/confirm"), 404)
    is(request("POST", ("/api/config/versions/%d/confirm"):format(first), { a = 1 }), 400)
    assert.is_nil(probation_of(1))
  end))

  it("is watched on after control was killed", spec({}, function(good, bad)
    traffic(30)
    local version = version_of(request("PUT", "/api/pools/web?probation=1h,min_requests=10", backends(bad)))
    local first = server:wait_log "probation.watching"
    assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
    server:wait_log("probation.watching", first + 1)
    traffic(12)
    server:wait_log "probation.rolled_back"
    assert.equal("rolled_back", probation_of(version).state)
    assert.equal(good.address, is(request("GET", "/api/pools/web"), 200).backends[1].address)
  end))

  it("takes a batch, a document and a template as a whole", spec({}, function()
    local batch = { operations = { { action = "add", data = { name = "a" } },
      { action = "add", data = { name = "b" } } } }
    local version = is(request("POST", "/api/bulk/pools?probation=1h", batch), 200).version
    assert.equal("watching", probation_of(version).state)
    is(request("POST", ("/api/config/versions/%d/reject"):format(version)), 200)
    is(request("GET", "/api/pools/a"), 404)
    batch.atomic = false
    is(request("POST", "/api/bulk/pools?probation=1h", batch), 400)
    local imported = is(request("POST", "/api/config/import?probation=1h", { pools = { { name = "c" } } }), 200)
    assert.equal("watching", probation_of(imported.version).state)
    local back = is(request("POST", ("/api/config/versions/%d/rollback?probation=1h"):format(version), {}), 200)
    assert.equal("watching", probation_of(back.version).state)
  end))

  it("says what is wrong with it", spec({}, function()
    for text, expected in pairs { soon = "a duration between 1s and 24h", ["1ms"] = "a duration between",
      ["30s,error_rate=many"] = "error_rate: expected a number", ["30s,colour=red"] = "colour: unknown key",
      ["30s,min_requests"] = "expected a duration and thresholds", ["30s,statistic=p50"] = "statistic: expected one of",
      ["off,latency=3"] = "a duration between", ["%zz"] = "a duration between" } do
      local refused = is(request("POST", "/api/pools?probation=" .. text, { name = "x" }), 400)
      assert.is_truthy(refused.detail:find(expected, 1, true), refused.detail)
    end
    is(request("GET", "/api/pools?probation=30s"), 400)
    is(request("POST", "/api/backends/x/drain?probation=30s"), 400)
    is(request("POST", "/api/pools?dry_run=true&probation=30s", { name = "x" }), 200)
  end))

  it("may be what every change is on", spec({ admin = { address = "127.0.0.1:0", auth = { enabled = false },
    probation = { default = "1h", error_rate = 1, latency = "off" } } }, function()
    local changed = request("POST", "/api/pools", { name = "x" })
    is(changed, 201)
    assert.equal("1h", changed:get "veloflux-probation")
    local guard = probation_of(version_of(changed)).guard
    assert.same({ 1, 0, 20 }, { guard.error_rate, guard.latency, guard.min_requests })
    local off = request("POST", "/api/pools?probation=off", { name = "y" })
    is(off, 201)
    assert.is_nil(off:get "veloflux-probation")
    local each = { atomic = false, operations = { { action = "add", data = { name = "z" } } } }
    is(request("POST", "/api/bulk/pools", each), 200)
  end))
end)

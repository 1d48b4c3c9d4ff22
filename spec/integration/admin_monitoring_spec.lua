--- The figures of the admin address: those of what clients really did.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local function text(body)
  return function(conn, request) conn:write(origins.response(200, {}, body, request.method)) end
end

local function get(server, path, fields)
  local response = clients.get(server.ports.admin, path, fields)
  assert.equal(200, response.status, response.body)
  return cjson.decode(response.body), response
end

local function conf_of(backends)
  return { workers = 2, pools = { { name = "web", backends = backends } },
    routes = { { name = "site", path_prefix = "/", pool = "web" },
      { name = "gone", path = "/gone", respond = { status = 410 } },
      { name = "broken", path = "/broken", respond = { status = 500 } } } }
end

local ENDPOINTS = { "/api/health", "/api/status", "/api/status/health", "/api/metrics", "/api/metrics/prometheus",
  "/api/metrics/realtime", "/api/system/info", "/api/version", "/api/cluster" }

describe("monitoring endpoints", function()
  it("answer GET and HEAD, want authentication where they should, and take no unknown parameter", loop.spec(function()
    local server = servers.start { conf = { admin = { address = "127.0.0.1:0", auth = { password = "secret" } },
      pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } },
      routes = { { name = "site", path_prefix = "/", pool = "web" } } } }
    local open = { ["/api/health"] = true, ["/api/version"] = true }
    local credentials = { Authorization = "Basic YWRtaW46c2VjcmV0" }
    for _, path in ipairs(ENDPOINTS) do
      assert.equal(open[path] and 200 or 401, clients.get(server.ports.admin, path).status, path)
      assert.equal(200, clients.get(server.ports.admin, path, credentials).status, path)
      local head = clients.request(server.ports.admin, "HEAD", path, credentials)
      assert.equal(200, head.status, path)
      assert.equal("", head.body)
      if path ~= "/api/health" then
        local refused = clients.get(server.ports.admin, path .. "?perido=1h", credentials)
        assert.equal(400, refused.status, path)
        assert.equal("?perido", cjson.decode(refused.body).errors[1].pointer)
      end
    end
    server:stop()
  end))

  it("say who was kept out", loop.spec(function()
    local conf = { admin = { address = "127.0.0.1:0", auth = { password = "secret" } } }
    conf.routes = { { name = "closed", path = "/closed", respond = { status = 200 },
        plugins = { { name = "ip-restriction", config = { deny = { "127.0.0.1" } } } } },
      { name = "limited", path = "/limited", respond = { status = 200 },
        plugins = { { name = "rate-limiting", config = { hour = 1 } } } } }
    local server = servers.start { conf = conf }
    local credentials = { Authorization = "Basic YWRtaW46c2VjcmV0" }
    assert.same({ blocked_requests = 0, rate_limit_hits = 0, failed_auth_attempts = 0, suspicious_ips = {} },
      get(server, "/api/metrics", credentials).security)
    for _ = 1, 3 do assert.equal(403, clients.get(server.ports.http, "/closed").status) end
    assert.equal(200, clients.get(server.ports.http, "/limited").status)
    for _ = 1, 2 do assert.equal(429, clients.get(server.ports.http, "/limited").status) end
    for _ = 1, 2 do
      assert.equal(401, clients.get(server.ports.admin, "/api/pools", { Authorization = "Basic YTpi" }).status)
    end
    assert.same({ blocked_requests = 3, rate_limit_hits = 2, failed_auth_attempts = 2, suspicious_ips = {} },
      get(server, "/api/metrics", credentials).security)
    server:stop()
  end))

  it("count what clients did", loop.spec(function()
    local origin = origins.start(text "ok")
    local server = servers.start { conf = conf_of { { address = "127.0.0.1:" .. origin.port } } }
    for _ = 1, 7 do assert.equal(200, clients.get(server.ports.http, "/").status) end
    for _ = 1, 2 do assert.equal(410, clients.get(server.ports.http, "/gone").status) end
    assert.equal(500, clients.get(server.ports.http, "/broken").status)
    server:wait_access_log(10)
    local metrics = get(server, "/api/metrics")
    assert.equal(10, metrics.requests.total)
    assert.equal(1, metrics.errors.total)
    local charted = metrics.backends.pools[1]
    assert.same({ "string", charted.requests, "number" }, { type(charted.color), charted.value, type(charted.load) })
    assert.is_truthy(metrics.http_status_codes[1].color:match "^#%x%x%x%x%x%x$")
    assert.same({ 0, 7, 0, 2, 1 }, { metrics.http_status_codes[1].count, metrics.http_status_codes[2].count,
      metrics.http_status_codes[3].count, metrics.http_status_codes[4].count, metrics.http_status_codes[5].count })
    local shown = get(server, "/api/status").requests
    local wanted = metrics.requests
    assert.same({ wanted.total, wanted.avg_response_time }, { shown.total, shown.avg_response_time })
    for name, component in pairs(get(server, "/api/status/health").components) do
      assert.equal(name == "workers" and "number" or "userdata", type(component.latency_ms), name)
    end
    assert.is_true(metrics.requests.avg_response_time > 0)
    assert.is_true(metrics.requests.p95_response_time > 0)
    assert.equal(1, metrics.backends.total)
    assert.equal(1, metrics.backends.healthy)
    assert.equal(7, metrics.backends.pools[1].requests)
    assert.is_true(metrics.memory.used > 0 and metrics.memory.used < metrics.memory.total)
    assert.is_true(metrics.disk.available > 0)
    assert.is_true(metrics.cpu.cores >= 1)
    assert.equal(3, #metrics.cpu.load_avg)

    local realtime = get(server, "/api/metrics/realtime")
    assert.equal(10, realtime.total_requests)
    assert.equal(1, realtime.total_errors)
    assert.equal(metrics.requests.avg_response_time, realtime.avg_response_time)
    assert.equal(7, realtime.backend_stats[1].requests)
    assert.equal(get(server, "/api/backends")[1].id, realtime.backend_stats[1].id)
    server:stop()
  end))

  it("say null of what nobody did", loop.spec(function()
    local server = servers.start { conf = conf_of { { address = "127.0.0.1:1" } } }
    local metrics = get(server, "/api/metrics")
    assert.equal(0, metrics.requests.total)
    assert.equal(cjson.null, metrics.requests.avg_response_time)
    assert.equal(cjson.null, metrics.requests.p95_response_time)
    assert.equal(100, get(server, "/api/health").uptime_percentage) -- dashboards read a number
    server:stop()
  end))

  it("speak Prometheus to those who ask for text", loop.spec(function()
    local server = servers.start { conf = conf_of { { address = "127.0.0.1:1" } } }
    for _, accept in ipairs { "text/plain", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" } do
      local response = clients.get(server.ports.admin, "/api/metrics", { Accept = accept })
      assert.equal("text/plain; version=0.0.4; charset=utf-8", response:get "content-type")
      assert.is_truthy(response.body:find("veloflux_build_info", 1, true))
      assert.equal("Accept", response:get "vary")
    end
    for _, accept in ipairs { "*/*", "application/json, text/plain, */*" } do
      local _, response = get(server, "/api/metrics", { Accept = accept })
      assert.equal("application/json", response:get "content-type")
    end
    server:stop()
  end))

  it("describe the node", loop.spec(function()
    local server = servers.start { conf = conf_of { { address = "127.0.0.1:1" } } }
    local version = get(server, "/api/version")
    local info = get(server, "/api/system/info")
    assert.equal(version.version, info.version)
    assert.equal(version.release, info.build.release)
    assert.equal(version.build_date, info.build.date)
    assert.is_truthy(version.build_date:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
    assert.equal(2, info.workers)
    assert.same({ "http" }, info.features.listeners)
    assert.is_truthy(info.started_at:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
    local cluster = get(server, "/api/cluster")
    assert.is_false(cluster.enabled)
    assert.equal(info.node_id, cluster.nodes[1].id)
    assert.equal(info.node_id, cluster.local_node)
    assert.equal("healthy", cluster.nodes[1].status)
    local status = get(server, "/api/status")
    assert.equal(info.node_id, status.node_id)
    assert.equal(1, status.total_backends)
    local components = get(server, "/api/status/health").components
    assert.equal("healthy", components.workers.status)
    assert.same({ true, "sqlite", "takes changes" },
      { components.store.ok, components.store.driver, components.store.message })
    assert.same({ true, 1, "a node by itself" },
      { components.cluster.ok, components.cluster.nodes, components.cluster.message })
    server:stop()
  end))
end)

--- The admin address of the real binary: authentication, every endpoint, and numbers that are those of what
-- was really sent.
local cjson = require "cjson"
local clients = require "support.client"
local exposition = require "unit.admin.exposition"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local PASSWORD = "correct horse"

local function base64(text)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local value = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local at = math.floor(value / 64 ^ k) % 64 + 1
      out[#out + 1] = (k == 1 and not b or k == 0 and not c) and "=" or alphabet:sub(at, at)
    end
  end
  return table.concat(out)
end

local function basic(username, password) return { Authorization = "Basic " .. base64(username .. ":" .. password) } end

local function decode(response)
  assert.equal("application/json", response:get "content-type")
  return cjson.decode(response.body)
end

local function problem(response, status, code)
  assert.equal(status, response.status)
  assert.equal("application/problem+json", response:get "content-type")
  local document = cjson.decode(response.body)
  assert.equal(status, document.status)
  assert.equal(code, document.code)
  for _, field in ipairs { "type", "title", "detail", "instance", "request_id" } do
    assert.equal("string", type(document[field]), field)
  end
  assert.equal(document.detail, document.error)
  assert.equal(document.request_id, response:get "x-request-id")
  return document
end

--- A conf with one pool of the given backends.
local function conf_of(ports, changes)
  local backends = {}
  for i, port in ipairs(ports) do backends[i] = { address = "127.0.0.1:" .. port } end
  local conf = { pools = { { name = "web", backends = backends } },
    routes = { { name = "site", host = "*", path_prefix = "/", pool = "web" } } }
  for key, value in pairs(changes or {}) do conf[key] = value end
  return conf
end

local function with_auth(auth) return { admin = { address = "127.0.0.1:0", auth = auth } } end

local function metrics_of(server, fields)
  local response = clients.get(server.ports.admin, "/metrics", fields)
  assert.equal(200, response.status)
  assert.equal("text/plain; version=0.0.4; charset=utf-8", response:get "content-type")
  return exposition.parse(response.body)
end

describe("admin authentication", function()
  it("asks for the configured name and password", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { username = "root", password = PASSWORD }) }
    local port = server.ports.admin
    local refused = clients.get(port, "/api/status")
    problem(refused, 401, "unauthorized")
    assert.equal('Basic realm="VeloFlux", charset="UTF-8"', refused:get "www-authenticate")
    assert.equal(200, clients.get(port, "/api/status", basic("root", PASSWORD)).status)
    problem(clients.get(port, "/api/status", basic("root", "wrong")), 401, "unauthorized")
    problem(clients.get(port, "/api/status", basic("admin", PASSWORD)), 401, "unauthorized")
    problem(clients.get(port, "/api/status", { Authorization = "Bearer abc" }), 401, "unauthorized")
    problem(clients.get(port, "/nothing", nil), 401, "unauthorized")
    assert.equal(200, clients.get(port, "/api/status", basic("root", PASSWORD)).status)
    server:stop()
  end))

  it("takes what is no Basic credential as wrong", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) }
    for _, field in ipairs { "Basic", "Basic !!!!", "Basic " .. base64 "no colon" } do
      problem(clients.get(server.ports.admin, "/", { Authorization = field }), 401, "unauthorized")
    end
    server:stop()
  end))

  it("locks a client out after five failures, and says for how long", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) }
    local port = server.ports.admin
    for _ = 1, 4 do problem(clients.get(port, "/", basic("admin", "wrong")), 401, "unauthorized") end
    problem(clients.get(port, "/", basic("admin", "wrong")), 429, "too_many_attempts")
    local locked = clients.get(port, "/", basic("admin", PASSWORD))
    problem(locked, 429, "too_many_attempts")
    assert.is_true(tonumber(locked:get "retry-after") > 0)
    assert.equal(200, clients.get(port, "/health").status)
    server:wait_log "admin%.login_failed.*client=127%.0%.0%.1"
    server:stop()
  end))

  it("forgets failures after a good login", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) }
    for _ = 1, 3 do
      for _ = 1, 3 do clients.get(server.ports.admin, "/", basic("admin", "wrong")) end
      assert.equal(200, clients.get(server.ports.admin, "/", basic("admin", PASSWORD)).status)
    end
    server:stop()
  end))

  it("makes a password at the first start, shows it once and keeps it hashed", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { enabled = true }) }
    local _, password = server:wait_log "admin%.password_generated.* password=(%S+)"
    local kept = tempdir.read(server.dir .. "/data/admin-password")
    assert.is_truthy(kept:match "^%$argon2id%$v=19%$")
    assert.is_nil(kept:find(password, 1, true))
    assert.equal(200, clients.get(server.ports.admin, "/", basic("admin", password)).status)
    problem(clients.get(server.ports.admin, "/", basic("admin", password .. "x")), 401, "unauthorized")
    assert.is_true(server:reload())
    assert.equal(200, clients.get(server.ports.admin, "/", basic("admin", password)).status)
    assert.equal(kept, tempdir.read(server.dir .. "/data/admin-password"))
    local _, shown = table.concat(server:log_lines(), "\n"):gsub(password:gsub("%-", "%%-"), "")
    assert.equal(1, shown)
    server:stop()
  end))

  it("bounds how many passwords are compared at once", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { enabled = true }) }
    local _, password = server:wait_log "admin%.password_generated.* password=(%S+)"
    local seen, attempts = {}, {}
    for i = 1, 20 do
      attempts[i] = function()
        local status = clients.get(server.ports.admin, "/", basic("admin", password)).status
        seen[status] = (seen[status] or 0) + 1
      end
    end
    clients.together(unpack(attempts))
    assert.is_true(seen[200] >= 1)
    assert.equal(20, seen[200] + (seen[429] or 0))
    assert.equal(200, clients.get(server.ports.admin, "/", basic("admin", password)).status)
    server:stop()
  end))

  it("survives clients that leave while their password is compared", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { enabled = true }) }
    for i = 1, 12 do
      local client = clients.connect(server.ports.admin)
      client:request("GET", "/", basic("admin", "guess" .. i))
      client:reset()
    end
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:stop()
  end))

  it("is switched off by the conf", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }) }
    assert.equal(200, clients.get(server.ports.admin, "/api/status").status)
    server:stop()
  end))

  it("takes a new password with a reload", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) }
    server:write_conf(conf_of({ 1 }, with_auth { password = "another one" }))
    assert.is_true(server:reload())
    assert.equal(401, clients.get(server.ports.admin, "/", basic("admin", PASSWORD)).status)
    assert.equal(200, clients.get(server.ports.admin, "/", basic("admin", "another one")).status)
    server:stop()
  end))

  it("protects /metrics unless it is open", loop.spec(function()
    local auth = with_auth { password = PASSWORD }
    auth.admin.metrics_open = false
    local server = servers.start { conf = conf_of({ 1 }, auth) }
    problem(clients.get(server.ports.admin, "/metrics"), 401, "unauthorized")
    metrics_of(server, basic("admin", PASSWORD))
    auth.admin.metrics_open = true
    server:write_conf(conf_of({ 1 }, auth))
    assert.is_true(server:reload())
    metrics_of(server)
    server:stop()
  end))
end)

describe("admin endpoints", function()
  local shared, server = loop.scope()
  setup(shared:spec(function() server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) } end))
  teardown(shared:closer())

  local function get(path, fields)
    local all = basic("admin", PASSWORD)
    for name, value in pairs(fields or {}) do all[name] = value end
    return clients.get(server.ports.admin, path, all)
  end

  it("tell strangers that the node lives and is ready", loop.spec(function()
    for _, path in ipairs { "/health", "/api/health" } do
      local health = decode(clients.get(server.ports.admin, path))
      assert.is_true(health.status == "healthy" or health.status == "degraded")
      assert.equal("string", type(health.version))
      assert.equal("string", type(health.uptime))
      assert.is_truthy(health.timestamp:match "^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
      assert.is_true(health.components.config.ok)
      assert.equal(1, health.components.config.version)
      assert.equal("string", type(health.components.config.message))
      assert.is_true(health.components.workers.ok)
    end
    assert.is_true(decode(clients.get(server.ports.admin, "/ready")).ready)
    assert.equal("VeloFlux", decode(clients.get(server.ports.admin, "/api/version")).name)
  end))

  it("say everything as JSON", loop.spec(function()
    for _, path in ipairs { "/", "/api/status" } do
      local status = decode(get(path, { Accept = "application/json" }))
      assert.is_truthy(status.status:find("VeloFlux", 1, true))
      assert.equal("string", type(status.version))
      assert.equal(1, status.ready_workers)
      assert.equal("web", status.pools[1].name)
      assert.equal("127.0.0.1:1", status.pools[1].backends[1].address)
      assert.equal("round_robin", status.pools[1].algorithm)
      assert.equal(1, status.routes)
    end
    assert.is_table(decode(get "/api/status/health").components)
  end))

  it("show browsers a page with the backends, and nothing that they may execute from elsewhere", loop.spec(function()
    local page = get("/", { Accept = "text/html,application/xhtml+xml,*/*;q=0.8" })
    assert.equal(200, page.status)
    assert.equal("text/html; charset=utf-8", page:get "content-type")
    assert.equal("nosniff", page:get "x-content-type-options")
    assert.equal("DENY", page:get "x-frame-options")
    local policy = page:get "content-security-policy"
    assert.is_truthy(policy:find("script-src 'self'", 1, true))
    assert.is_nil(policy:find("unsafe", 1, true))
    local data = page.body:match '<script type="application/json" id="data">(.-)</script>'
    assert.equal("127.0.0.1:1", cjson.decode(data).pools[1].backends[1].address)
    for asset in page.body:gmatch '[srchef]+="(/assets/[^"]+)"' do
      local file = clients.get(server.ports.admin, asset)
      assert.equal(200, file.status)
      assert.equal("nosniff", file:get "x-content-type-options")
    end
    local script = clients.get(server.ports.admin, "/assets/status.js")
    assert.equal("text/javascript; charset=utf-8", script:get "content-type")
    local style = clients.get(server.ports.admin, "/assets/status.css")
    assert.equal("text/css; charset=utf-8", style:get "content-type")
  end))

  it("answer HEAD as GET without content", loop.spec(function()
    for _, path in ipairs { "/health", "/ready", "/metrics", "/api/version", "/assets/status.js" } do
      local head = clients.request(server.ports.admin, "HEAD", path)
      assert.equal(200, head.status)
      assert.equal("", head.body)
      assert.is_true(tonumber(head:get "content-length") > 0)
    end
  end))

  it("answer 404 and 405 as problems, OPTIONS with Allow", loop.spec(function()
    local credentials = basic("admin", PASSWORD)
    problem(get "/api/nothing", 404, "not_found")
    problem(get "/healthy", 404, "not_found")
    local refused = clients.request(server.ports.admin, "DELETE", "/api/status", credentials)
    problem(refused, 405, "method_not_allowed")
    assert.equal("GET, HEAD, OPTIONS", refused:get "allow")
    problem(clients.request(server.ports.admin, "GET", "/api/reload", credentials), 405, "method_not_allowed")
    local options = clients.request(server.ports.admin, "OPTIONS", "/api/reload", credentials)
    assert.equal(204, options.status)
    assert.equal("POST, OPTIONS", options:get "allow")
    assert.equal(204, clients.request(server.ports.admin, "OPTIONS", "*", credentials).status)
  end))

  it("refuse what a page of another site sends", loop.spec(function()
    local foreign = { { Origin = "http://evil.example" }, { ["Sec-Fetch-Site"] = "cross-site" }, { Origin = "null" } }
    for _, fields in ipairs(foreign) do
      fields.Authorization = basic("admin", PASSWORD).Authorization
      problem(clients.request(server.ports.admin, "POST", "/api/reload", fields), 403, "cross_origin")
    end
    local own = { Origin = "http://localhost", Authorization = basic("admin", PASSWORD).Authorization }
    assert.equal(200, clients.request(server.ports.admin, "POST", "/api/reload", own).status)
  end))

  it("bound the content of requests", loop.spec(function()
    local content = ("x"):rep(1024 * 1024 + 1)
    local response = clients.request(server.ports.admin, "POST", "/api/reload", basic("admin", PASSWORD), content)
    assert.equal(413, response.status)
  end))

  it("are as strict as the proxy", loop.spec(function()
    local client = clients.connect(server.ports.admin)
    client:send "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert.equal(400, client:read_response().status)
    client:close()
  end))
end)

describe("admin reload", function()
  it("answers when the new version is live, with what changed", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_of { origin.port } }
    local conf = conf_of { origin.port }
    table.insert(conf.routes, { name = "more", host = "more.example", path_prefix = "/", pool = "web" })
    server:write_conf(conf)
    local result = decode(clients.request(server.ports.admin, "POST", "/api/reload"))
    assert.equal("reloaded", result.status)
    assert.equal(2, result.version)
    assert.equal("routes: 1 added", result.summary)
    assert.same({ added = 1, updated = 0, removed = 0 }, result.changes)
    assert.same({ "more" }, result.diff.routes.added)
    assert.equal(2, decode(clients.get(server.ports.admin, "/health")).components.config.version)
    server:stop()
  end))

  it("refuses a bad file with its problems, and health says so until it is good again", loop.spec(function()
    local server = servers.start { conf = conf_of { 1 } }
    local pool = { name = "web", algoritm = "x", backends = { { address = "127.0.0.1:1" } } }
    server:write_conf(conf_of({ 1 }, { pools = { pool } }))
    local document = problem(clients.request(server.ports.admin, "POST", "/api/reload"), 422, "config_rejected")
    assert.equal("/pools/0/algoritm", document.errors[1].pointer)
    assert.equal("pools[0].algoritm", document.errors[1].path)
    assert.is_truthy(document.errors[1].detail:find("unknown key, did you mean algorithm?", 1, true))
    assert.equal(1, document.errors[1].line)
    local health = decode(clients.get(server.ports.admin, "/health"))
    assert.equal("degraded", health.status)
    assert.is_false(health.components.config.ok)
    assert.equal(1, health.components.config.version)
    assert.is_truthy(health.components.config.message:find("algoritm", 1, true))
    assert.equal(0, exposition.value(metrics_of(server), "veloflux_config_last_reload_successful"))
    server:write_conf(conf_of { 1 })
    assert.equal(200, clients.request(server.ports.admin, "POST", "/api/reload").status)
    assert.is_true(decode(clients.get(server.ports.admin, "/health")).components.config.ok)
    server:stop()
  end))

  it("answers everybody who asked at the same time", loop.spec(function()
    local server = servers.start { conf = conf_of { 1 } }
    local function ask() assert.equal(200, clients.request(server.ports.admin, "POST", "/api/reload").status) end
    clients.together(ask, ask, ask, ask)
    server:stop()
  end))

  it("survives clients that do not wait for the answer", loop.spec(function()
    local server = servers.start { conf = conf_of { 1 } }
    for _ = 1, 20 do
      local client = clients.connect(server.ports.admin)
      client:request("POST", "/api/reload")
      client:reset()
    end
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:stop()
  end))

  it("is what the command line does, over control.sock and without a password", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, with_auth { password = PASSWORD }) }
    local code, out = servers.command { "status", "-c", server.file }
    assert.equal(0, code)
    assert.is_truthy(out:find("VeloFlux", 1, true))
    assert.is_truthy(out:find("127.0.0.1:1", 1, true))
    code, out = servers.command { "reload", "-c", server.file }
    assert.equal(0, code)
    assert.is_truthy(out:find("version 2", 1, true))
    server:stop()
  end))
end)

describe("admin address", function()
  it("may be closed and opened by reload; control.sock stays", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, { admin = { address = "off" } }) }
    assert.is_nil(server.ports.admin)
    local code, out = servers.command { "status", "-c", server.file }
    assert.equal(0, code)
    assert.is_truthy(out:find("VeloFlux", 1, true))
    server:write_conf(conf_of { 1 })
    assert.is_true(server:reload())
    server:wait_log "listener%.open.*name=admin"
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:write_conf(conf_of({ 1 }, { admin = { address = "off" } }))
    assert.is_true(server:reload())
    assert.equal(0, (servers.command { "reload", "-c", server.file }))
    server:stop()
  end))

  it("comes back after control was killed, with what was counted", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_of({ origin.port }, with_auth { password = PASSWORD }) }
    for _ = 1, 3 do clients.get(server.ports.http, "/") end
    server:wait_access_log(3)
    local credentials, pid = basic("admin", PASSWORD), nil
    for _, process in ipairs(decode(clients.get(server.ports.admin, "/api/status", credentials)).processes) do
      if process.name == "control" then pid = process.pid end
    end
    local seen = #server:log_lines()
    require "luv".kill(pid, "sigkill")
    server:wait_log("control%.started", seen + 1)
    problem(clients.get(server.ports.admin, "/api/status"), 401, "unauthorized")
    assert.equal(3, decode(clients.get(server.ports.admin, "/api/status", credentials)).traffic.requests)
    assert.equal(1, exposition.value(metrics_of(server), "veloflux_restarts_total", { process = "control" }))
    assert.equal(200, clients.request(server.ports.admin, "POST", "/api/reload", credentials).status)
    server:wait_log "admin%.write.*method=POST.*path=/api/reload.*by=admin"
    server:stop()
  end))
end)

describe("admin numbers", function()
  it("are those of what was sent", loop.spec(function()
    local origin = origins.start(function(conn, request)
      local status = tonumber(request.target:match "^/(%d+)") or 200
      conn:write(origins.response(status, {}, "0123456789", request.method))
    end)
    local server = servers.start { conf = conf_of { origin.port } }
    for _ = 1, 5 do clients.get(server.ports.http, "/") end
    for _ = 1, 3 do clients.get(server.ports.http, "/404") end
    for _ = 1, 2 do clients.request(server.ports.http, "POST", "/503", nil, "hello") end
    clients.request(server.ports.http, "HEAD", "/")
    for _, method in ipairs { "BREW", "X-COPY" } do clients.request(server.ports.http, method, "/") end
    local lines = server:wait_access_log(13)
    assert.equal("X-COPY", lines[13].method)
    local metrics = metrics_of(server)
    local function value(name, labels) return exposition.value(metrics, name, labels) end
    local function requests(method, status)
      return value("veloflux_requests_total", { method = method, status_code = status, pool = "web" })
    end
    assert.equal(5, requests("GET", "200"))
    assert.equal(3, requests("GET", "404"))
    assert.equal(2, requests("POST", "503"))
    assert.equal(1, requests("HEAD", "200"))
    assert.equal(2, requests("_other", "200"))
    assert.equal(13, exposition.sum(metrics, "veloflux_requests_total"))
    for method, count in pairs { GET = 8, POST = 2, HEAD = 1, _other = 2 } do
      assert.equal(count, value("veloflux_request_duration_seconds_count", { method = method, pool = "web" }))
      local above_all = { method = method, pool = "web", le = "+Inf" }
      assert.equal(count, value("veloflux_request_duration_seconds_bucket", above_all))
    end
    assert.equal(13, value "veloflux_http_request_duration_seconds_count")
    assert.equal(8, value("veloflux_http_requests_total", { status = "2xx" }))
    assert.equal(3, value("veloflux_http_requests_total", { status = "4xx" }))
    assert.equal(2, value("veloflux_http_requests_total", { status = "5xx" }))
    assert.equal(13, value "veloflux_connections_accepted_total")
    local backend = { pool = "web", backend = "127.0.0.1:" .. origin.port }
    assert.equal(13, value("veloflux_backend_requests_total", backend))
    assert.equal(origin.accepted, value("veloflux_backend_connects_total", backend))
    assert.equal(13 - origin.accepted, value("veloflux_backend_reused_connections_total", backend))
    assert.equal(1, value("veloflux_backend_health", backend))
    assert.equal(0, value("veloflux_backend_in_flight", backend))
    assert.equal(0, value("veloflux_active_connections", { backend = backend.backend }))
    assert.equal(13, value("veloflux_route_requests_total", { route = "site" }))
    assert.equal(3, value("veloflux_route_client_errors_total", { route = "site" }))
    assert.equal(2, value("veloflux_route_server_errors_total", { route = "site" }))
    assert.equal(10, value("veloflux_route_received_bytes_total", { route = "site" }))
    assert.equal(120, value("veloflux_route_sent_bytes_total", { route = "site" }))
    assert.equal(13, value("veloflux_tenant_requests_total", { tenant = "default" }))
    assert.equal(13, value("veloflux_listener_requests_total", { listener = "http" }))
    assert.equal(13, value("veloflux_listener_accepted_total", { listener = "http" }))
    local status = decode(clients.get(server.ports.admin, "/api/status"))
    assert.equal(13, status.traffic.requests)
    assert.equal(13, status.pools[1].backends[1].requests)
    server:stop()
  end))

  it("name backends that are down, errors, and answers without a pool", loop.spec(function()
    local server = servers.start { conf = conf_of({ 1 }, { routes = {
      { name = "site", path_prefix = "/", pool = "web" },
      { name = "fixed", path = "/fixed", respond = { status = 200, body = "hi" } } } }) }
    assert.equal(502, clients.get(server.ports.http, "/x").status)
    assert.equal(200, clients.get(server.ports.http, "/fixed").status)
    server:wait_access_log(2)
    local metrics = metrics_of(server)
    assert.equal(1, exposition.value(metrics, "veloflux_http_requests_total", { status = "2xx" }))
    assert.equal(1, exposition.value(metrics, "veloflux_http_requests_total", { status = "5xx" }))
    assert.equal(1, exposition.sum(metrics, "veloflux_requests_total"))
    assert.is_true(exposition.sum(metrics, "veloflux_backend_connect_failures_total") >= 1)
    local status = decode(clients.get(server.ports.admin, "/api/status"))
    assert.equal("backend_unreachable", status.errors[1].reason)
    assert.equal("/x", status.errors[1].path)
    assert.equal("web", status.errors[1].pool)
    assert.equal(502, status.errors[1].status)
    server:stop()
  end))

  it("survive a worker that is killed", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = conf_of { origin.port } }
    for _ = 1, 4 do clients.get(server.ports.http, "/") end
    server:wait_access_log(4)
    local pid
    for _, process in ipairs(decode(clients.get(server.ports.admin, "/api/status")).processes) do
      if process.name == "worker-1" then pid = process.pid end
    end
    local seen = #server:log_lines()
    require "luv".kill(pid, "sigkill")
    server:wait_log("worker%.started", seen + 1)
    local metrics = metrics_of(server)
    assert.equal(4, exposition.sum(metrics, "veloflux_requests_total"))
    assert.equal(1, exposition.value(metrics, "veloflux_restarts_total", { process = "worker" }))
    assert.equal(0, exposition.sum(metrics, "veloflux_backend_connections_open"))
    clients.get(server.ports.http, "/")
    server:wait_access_log(5)
    assert.equal(5, exposition.sum(metrics_of(server), "veloflux_requests_total"))
    server:stop()
  end))

  it("keep /ready at 503 while the node stops", loop.spec(function()
    local held = loop.condition()
    local origin = origins.start(function(conn)
      held.is_here = true
      held:notify()
      held:wait("the end of the spec", function() return held.is_over end)
      conn:write(origins.response(200, {}, "late"))
    end)
    local server = servers.start { conf = conf_of { origin.port } }
    local slow, admin = clients.connect(server.ports.http), clients.connect(server.ports.admin)
    slow:request("GET", "/")
    held:wait("the request", function() return held.is_here end)
    server:signal "sigterm"
    local status
    repeat
      admin:request("GET", "/ready")
      local response = admin:read_response() -- none: the connection was idle when the drain began
      status = response and response.status
      if not response or response:get "connection" == "close" then
        admin:close()
        if status ~= 503 then admin = clients.connect(server.ports.admin) end
      end
    until status and status ~= 200
    assert.equal(503, status)
    held.is_over = true
    held:notify()
    assert.equal("late", slow:read_response().body)
    server:stop()
  end))
end)

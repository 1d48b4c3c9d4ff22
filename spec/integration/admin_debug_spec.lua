--- /api/debug: what runs and why, compared with what clients then see.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local function text(body)
  return function(conn, request) conn:write(origins.response(200, {}, body, request.method)) end
end

local function get(server, path)
  local response = clients.get(server.ports.admin, path)
  assert.equal(200, response.status, response.body)
  return cjson.decode(response.body), response
end

local function post(server, path, body, fields)
  local all = { ["Content-Type"] = "application/json" }
  for name, value in pairs(fields or {}) do all[name] = value end
  return clients.request(server.ports.admin, "POST", path, all, type(body) == "table" and cjson.encode(body) or body)
end

local function explain(server, question)
  local response = post(server, "/api/debug/explain", question)
  assert.equal(200, response.status, response.body)
  return cjson.decode(response.body)
end

local function refused(server, question)
  local response = post(server, "/api/debug/explain", question)
  assert.equal(400, response.status)
  local document = cjson.decode(response.body)
  assert.equal("invalid", document.code)
  return document
end

--- Origins that tell who they are, and their addresses.
local function serve(count)
  local list, backends = {}, {}
  for i = 1, count do
    list[i] = origins.start(text(tostring(i)))
    backends[i] = { address = "127.0.0.1:" .. list[i].port }
  end
  return backends
end

local function names_of(list)
  local names = {}
  for i, item in ipairs(list) do names[i] = item.name end
  return names
end

describe("debug lists", function()
  it("show what each pool, backend and route did", loop.spec(function()
    local backends = serve(2)
    local server = servers.start { conf = { pools = { { name = "web", backends = backends } },
      routes = { { name = "site", path_prefix = "/", pool = "web" },
        { name = "gone", path = "/gone", respond = { status = 410 } } } } }
    for _ = 1, 6 do assert.equal(200, clients.get(server.ports.http, "/").status) end
    for _ = 1, 3 do assert.equal(410, clients.get(server.ports.http, "/gone").status) end
    server:wait_access_log(9)
    local pool = get(server, "/api/debug/pools")[1]
    assert.equal(6, pool.requests)
    assert.same({ { method = "GET", status = 200, count = 6 } }, pool.answers)
    local counted = 0
    for _, bucket in ipairs(pool.latency_buckets) do counted = counted + bucket.count end
    assert.equal(6, counted)
    assert.is_true(pool.latency.p50_ms > 0 and pool.latency.p50_ms <= pool.latency.p99_ms)
    for i, backend in ipairs((get(server, "/api/debug/backends"))) do
      assert.equal(backends[i].address, backend.address)
      assert.equal(3, backend.requests)
      assert.equal(3, backend.responses["2xx"])
      assert.equal(3, backend.connects + backend.reused)
    end
    local routes, response = get(server, "/api/debug/routes")
    assert.equal("2", response:get "x-total-count")
    assert.same({ "gone", "site" }, names_of(routes))
    assert.same({ 0, 1 }, { routes[1].rank, routes[2].rank })
    assert.same({ 3, 3, 6 }, { routes[1].requests, routes[1].client_errors, routes[2].requests })
    server:stop()
  end))

  it("come in parts", loop.spec(function()
    local routes = {}
    for i = 1, 5 do routes[i] = { name = "r" .. i, path = "/" .. i, respond = { body = "x" }, priority = 10 - i } end
    local server = servers.start { conf = { routes = routes } }
    local path, seen = "/api/debug/routes?limit=2", {}
    for _ = 1, 3 do
      local part, response = get(server, path)
      for _, route in ipairs(part) do seen[#seen + 1] = route.name end
      path = (response:get "link" or ""):match '^<([^>]+)>; rel="next"$'
    end
    assert.is_nil(path)
    assert.same({ "r1", "r2", "r3", "r4", "r5" }, seen)
    for _, query in ipairs { "limit=0", "limit=501", "limit=x", "cursor=1", "limit=1&cursor=-1", "limit=1&limit=2",
      "page=0" } do
      assert.equal(400, clients.get(server.ports.admin, "/api/debug/routes?" .. query).status, query)
    end
    server:stop()
  end))

  it("tell the processes' time and memory, and what plugins took", loop.spec(function()
    local server = servers.start { conf = { workers = 2, plugins = { { name = "cors" } },
      routes = { { name = "x", path_prefix = "/", respond = { body = "x" } } } } }
    for _ = 1, 4 do clients.get(server.ports.http, "/", { Origin = "http://a.example" }) end
    server:wait_access_log(4)
    local performance = get(server, "/api/debug/performance")
    assert.same({ "control", "checker", "worker-1", "worker-2" }, names_of(performance.processes))
    for _, process in ipairs(performance.processes) do
      assert.is_true(process.memory_bytes > 0)
      assert.is_true(process.cpu_seconds >= 0)
      assert.equal("number", type(process.loop_lag_ms))
    end
    local _, phase = next(performance.plugins[1].phases)
    assert.equal("cors", performance.plugins[1].name)
    assert.equal(4, phase.calls)
    server:stop()
  end))
end)

describe("POST /api/debug/explain", function()
  it("names the route, its rivals, and plugins with the origin of each setting", loop.spec(function()
    local server = servers.start { conf = { plugins = { { name = "cors", config = { max_age = 60 } } },
      pools = { { name = "web", backends = { { address = "127.0.0.1:1" } }, timeouts = { connect = "1s" } } },
      routes = { { name = "all", path_prefix = "/", pool = "web" },
        { name = "api", path_prefix = "/api", methods = { "GET" }, pool = "web", timeouts = { response = "7s" },
          client_certificate = "require",
          plugins = { { name = "key-auth" } } } },
      consumers = { { name = "ann", plugins = { { name = "cors", config = { max_age = 5 } } } } } } }
    local answer = explain(server, { url = "http://shop.example/api/x?y=1", consumer = "ann" })
    assert.is_true(answer.matched)
    assert.same({ "api", "require: good for the listener" }, { answer.route.route, answer.route.client_certificate })
    assert.equal("/api/x", answer.request.path)
    assert.equal("shop.example", answer.request.host)
    assert.same({ "all", "rank", "shorter prefix" }, { answer.rivals[1].route, answer.rivals[1].verdict,
      answer.rivals[1].reason })
    local cors
    for _, plugin in ipairs(answer.plugins) do cors = plugin.name == "cors" and plugin or cors end
    assert.equal(2, #answer.plugins)
    assert.equal("consumer", cors.scope)
    local origin
    for _, setting in ipairs(cors.settings) do origin = setting.field == "max_age" and setting or origin end
    assert.equal(5, origin.value)
    assert.is_truthy(origin.origin:find "^consumer ")
    assert.same({ value = "7s", origin = "route api" }, answer.timeouts.response)
    assert.same({ value = "1s", origin = "pool web" }, answer.timeouts.connect)
    assert.same({ value = "32k", origin = "default" }, answer.limits.header_bytes)

    local other = explain(server, { url = "/api/x", method = "PUT" })
    assert.equal("all", other.route.route)
    assert.same({ "api", "method" }, { other.rivals[1].route, other.rivals[1].verdict })
    server:stop()
  end))

  it("says of each route where it and its plugins stand, though routes may share a chain", loop.spec(function()
    local server = servers.start { conf = "data_dir: data\nadmin: { address: 127.0.0.1:0, auth: { enabled: false } }\n"
      .. "log: { format: text }\nlisteners: [ { name: http, address: 127.0.0.1:0 } ]\nroutes:\n"
      .. "  - { name: a, path: /a, respond: { body: x }, plugins: [ { name: cors, config: { max_age: 5 } } ] }\n"
      .. "  - { name: b, path: /b, respond: { body: x }, plugins: [ { name: cors, config: { max_age: 5 } } ] }\n" }
    local made = post(server, "/api/routes", { name = "c", path = "/c", respond = { body = "x" },
      plugins = { { name = "cors", config = { max_age = 5 } } } })
    assert.equal(201, made.status, made.body)
    local sources = { a = server.file .. ":6", b = server.file .. ":7", c = "api" }
    for name, source in pairs(sources) do
      local answer = explain(server, { url = "/" .. name })
      assert.equal(source, answer.route.source)
      assert.equal(source, answer.plugins[1].source)
      for _, setting in ipairs(answer.plugins[1].settings) do
        if setting.field == "max_age" then assert.equal("route " .. source, setting.origin) end
      end
    end
    for _, route in ipairs((get(server, "/api/debug/routes"))) do
      assert.same({ sources[route.name], sources[route.name] }, { route.source, route.plugins[1].source })
    end
    server:stop()
  end))

  it("says what answers when no route does", loop.spec(function()
    local server = servers.start { conf = { routes = { { name = "x", path = "/x", methods = { "GET" },
      respond = { body = "x" } } } } }
    for _, case in ipairs { { "/y", "GET", 404 }, { "/x", "POST", 405 } } do
      local answer = explain(server, { url = case[1], method = case[2] })
      assert.is_false(answer.matched)
      assert.equal(case[3], answer.status)
      assert.equal(case[3], clients.request(server.ports.http, case[2], case[1]).status)
    end
    server:stop()
  end))

  it("foretells the backend that hashes choose", loop.spec(function()
    local backends = serve(5)
    local server = servers.start { conf = { workers = 2, pools = {
        { name = "ip", algorithm = "ip_hash", backends = backends },
        { name = "key", algorithm = "consistent_hash", hash_on = { type = "header", name = "X-Key" },
          backends = backends } },
      routes = { { name = "ip", path = "/ip", pool = "ip" }, { name = "key", path = "/key", pool = "key" } } } }
    local function address_of(response) return backends[tonumber(response.body)].address end
    local by_ip = explain(server, { url = "/ip", client_ip = "127.0.0.1" }).pool.choice
    assert.is_true(by_ip.decided)
    assert.equal(address_of(clients.get(server.ports.http, "/ip")), by_ip.backend)
    local seen = {}
    for i = 1, 12 do
      local key = { ["X-Key"] = "key " .. i }
      local answer = explain(server, { url = "/key", headers = key })
      assert.is_true(answer.pool.choice.decided)
      assert.equal(address_of(clients.get(server.ports.http, "/key", key)), answer.pool.choice.backend)
      seen[answer.pool.choice.backend] = true
    end
    local first = next(seen)
    assert.is_truthy(next(seen, first), "all keys had the same backend")
    assert.is_false(explain(server, { url = "/ip" }).pool.choice.decided)
    server:stop()
  end))

  it("says why a backend gets nothing", loop.spec(function()
    local backends = serve(1)
    backends[2] = { address = "127.0.0.1:1", weight = 0 }
    backends[3] = { address = "127.0.0.1:2" }
    local server = servers.start { conf = { pools = { { name = "web", backends = backends,
        health_check = { type = "tcp", interval = "100ms", rise = 1, fall = 1 } } },
      routes = { { name = "site", path_prefix = "/", pool = "web" } } } }
    server:wait_log "backend=127%.0%.0%.1:2[ %s]"
    local pool = explain(server, { url = "/" }).pool
    assert.same({ decided = true, backend = backends[1].address, reason = "the only one that is eligible" },
      pool.choice)
    assert.is_true(pool.backends[1].chosen)
    assert.equal(100, pool.backends[1].share)
    assert.equal("its weight is 0", pool.backends[2].reason)
    assert.is_truthy(pool.backends[3].reason:find "^its health check fails")
    server:stop()
  end))

  it("refuses what is no question", loop.spec(function()
    local server = servers.start { conf = { routes = { { name = "x", path = "/x", respond = { body = "x" } } } } }
    assert.same({ "/consumer", "/url", "/urll" }, (function()
      local pointers = {}
      for i, fault in ipairs(refused(server, { urll = "/", consumer = 1 }).errors) do pointers[i] = fault.pointer end
      return pointers
    end)())
    for _, body in ipairs { "", "[]", "{", '"x"', '{"url":"/","url":"/x"}', "null" } do refused(server, body) end
    assert.equal("/consumer", refused(server, { url = "/x", consumer = "bob" }).errors[1].pointer)
    assert.equal("/listener", refused(server, { url = "/x", listener = "bob" }).errors[1].pointer)
    assert.equal("/url", refused(server, { url = "/%zz" }).errors[1].pointer)
    assert.equal("/url", refused(server, { url = "/x", method = "NON SENSE" }).errors[1].pointer)
    assert.equal("/url", refused(server, '{"url":"/x\\u0000y"}').errors[1].pointer)
    for _, ip in ipairs { "localhost", "10.0.0.0/8", "", "1.2.3" } do
      assert.equal("/client_ip", refused(server, { url = "/x", client_ip = ip }).errors[1].pointer)
    end
    assert.equal("/headers/x", refused(server, { url = "/x", headers = { x = 1 } }).errors[1].pointer)
    assert.equal("/headers/x y", refused(server, { url = "/x", headers = { ["x y"] = "1" } }).errors[1].pointer)
    assert.equal("/headers/x", refused(server, { url = "/x", headers = { x = "1\r\ny: 2" } }).errors[1].pointer)
    assert.equal(415, post(server, "/api/debug/explain", "{}", { ["Content-Type"] = "text/plain" }).status)
    assert.equal(403, post(server, "/api/debug/explain", { url = "/x" }, { Origin = "http://evil.example" }).status)
    server:stop()
  end))
end)

local function put(server, body)
  return clients.request(server.ports.admin, "PUT", "/api/debug/log-level", { ["Content-Type"] = "application/json" },
    cjson.encode(body))
end

describe("log levels", function()
  it("change at run time, for all processes, also those to come, until they are taken back", loop.spec(function()
    local conf = { routes = { { name = "x", path_prefix = "/", respond = { body = "x" } } } }
    local server = servers.start { conf = conf }
    assert.same({ configured = "info", level = "info", subsystems = {} }, (get(server, "/api/debug/log-level")))
    assert.equal(200, put(server, { level = "warn", subsystems = { worker = "debug" } }).status)
    local levels = { configured = "info", level = "warn", subsystems = { worker = "debug" } }
    assert.same(levels, (get(server, "/api/debug/log-level")))
    assert.is_true(server:reload())
    assert.same(levels, (get(server, "/api/debug/log-level")))
    for _, line in ipairs(server:log_lines()) do assert.is_nil(line:find "reload%.done") end

    local before = #server:log_lines()
    for _, process in ipairs(get(server, "/api/debug/performance").processes) do
      if process.kind == "control" then require("luv").kill(process.pid, "sigkill") end
    end
    server:wait_log("control%.exited", before + 1)
    assert.same(levels, (get(server, "/api/debug/log-level")))

    assert.equal(200, clients.request(server.ports.admin, "DELETE", "/api/debug/log-level").status)
    assert.equal("info", get(server, "/api/debug/log-level").level)
    assert.is_true(server:reload())
    server:wait_log "reload%.done"
    server:stop()
  end))

  it("are refused when they are none", loop.spec(function()
    local server = servers.start { conf = { routes = { { name = "x", path = "/", respond = { body = "x" } } } } }
    for pointer, body in pairs { ["/level"] = { level = "loud" }, ["/levels"] = { levels = "info" },
      ["/subsystems"] = { subsystems = "all" }, ["/subsystems/a"] = { subsystems = { a = 1 } },
      ["/subsystems/a b"] = { subsystems = { ["a b"] = "info" } } } do
      local response = put(server, body)
      assert.equal(400, response.status)
      assert.equal(pointer, cjson.decode(response.body).errors[1].pointer)
    end
    server:stop()
  end))
end)

describe("POST /api/system/drain", function()
  it("finishes what is under way, takes nothing new, and ends", loop.spec(function()
    local asked, go = loop.condition(), loop.condition()
    local is_asked, may_go = false, false
    local origin = origins.start(function(conn, request)
      is_asked = true
      asked:notify()
      go:wait("the drain", function() return may_go end)
      conn:write(origins.response(200, {}, "done", request.method))
    end)
    local server = servers.start { conf = { pools = { { name = "web",
        backends = { { address = "127.0.0.1:" .. origin.port } } } },
      routes = { { name = "site", path_prefix = "/", pool = "web" } } } }
    for _, body in ipairs { { confirm = false }, { sure = true } } do
      assert.equal(400, post(server, "/api/system/drain", body).status)
    end
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    asked:wait("the request", function() return is_asked end)
    local response = post(server, "/api/system/drain", { confirm = true })
    assert.equal(200, response.status)
    local document = cjson.decode(response.body)
    assert.same({ "draining", 1 }, { document.status, document.active_connections })
    server:wait_log " stopping "
    may_go = true
    go:notify()
    assert.equal("done", client:read_response("GET").body)
    client:close()
    assert.same({ code = 0, signal = 0 }, server.process:wait_exit())
  end))
end)

--- What the shipped channels send, the switches for their pushes, and a client that others have written.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local websockets = require "support.websocket"

local CLIENT = "ws@8.18.0" -- from npm
local JSON = { ["Content-Type"] = "application/json" }

local function start()
  local origin = origins.start()
  local address = "127.0.0.1:" .. origin.port
  return servers.start { conf = {
    pools = { { name = "web", backends = { { address = address, weight = 7 }, { address = "127.0.0.1:1" } } },
      { name = "other", algorithm = "random", backends = { { address = address } } } },
    routes = { { name = "r", pool = "web", path_prefix = "/" }, { name = "o", pool = "other", path_prefix = "/o" } },
  } }, address
end

local function post(server, path, body)
  local text = type(body) == "string" and body or cjson.encode(body)
  local response = clients.request(server.ports.admin, "POST", path, JSON, text)
  return response.status, response.body ~= "" and cjson.decode(response.body) or nil
end

describe("the shipped channels", function()
  local shared, server, address = loop.scope()
  setup(shared:spec(function() server, address = start() end))
  teardown(shared:closer())

  local function open(name) return websockets.open(server.ports.admin, "/api/ws/" .. name) end

  it("send the backends, all or those of a pool", loop.spec(function()
    local client = open "backends"
    local first = client:read_json()
    assert.equal("backends", first.type)
    assert.equal(3, #first.data)
    local backend = first.data[1]
    assert.equal(address, backend.address)
    local listed = cjson.decode(clients.get(server.ports.admin, "/api/backends").body)
    local by_id = {}
    for _, each in ipairs(listed) do by_id[each.id] = each end
    for _, each in ipairs(first.data) do
      local same = assert(by_id[each.id])
      for _, name in ipairs { "address", "pool", "tenant_id", "weight", "status", "healthy", "drain" } do
        assert.equal(same[name], each[name], name)
      end
      for _, name in ipairs { "connections", "response_time", "responseTime", "latency", "error_rate", "uptime" } do
        assert.is_number(each[name], name)
      end
    end
    client:send_json { type = "subscribe", pool = "other" }
    client:read_type "subscribed"
    local filtered
    repeat filtered = client:read_json() until #filtered.data == 1
    assert.equal("other", filtered.data[1].pool)
    post(server, "/api/ws/force-update", { type = "backends" })
    repeat filtered = client:read_json() until filtered.forced
    assert.equal("backend_status_update", filtered.type)
    assert.equal(1, #filtered.data)
    client:send_json { type = "subscribe", pool = "none of them" }
    client:read_type "subscribed"
    local text
    repeat text = client:read_text() until text:find '"data":%[%]'
    client:close()
  end))

  it("send figures and health", loop.spec(function()
    for _ = 1, 5 do clients.get(server.ports.http, "/") end
    local client = open "metrics"
    local data = client:read_json().data
    assert.is_true(data.requests_total >= 5)
    assert.equal(data.requests, data.requests_total)
    assert.equal(3, data.total_backends)
    assert.equal(2, data.pools_count)
    assert.equal("mixed", data.current_strategy)
    assert.equal(2, data.pool_metrics.web.total_backends)
    assert.is_number(data.load_distribution.other)
    for _, name in ipairs { "requests_per_second", "error_rate", "active_connections", "healthy_backends",
      "availability", "websocket_clients" } do
      assert.is_number(data[name], name)
    end
    for _, name in ipairs { "cpu", "cpu_usage", "memory", "memory_usage", "avg_response_time" } do
      assert.is_not_nil(data[name], name)
    end
    assert.equal("metrics", client:read_json().type) -- two seconds later
    client:close()
    client = open "health"
    data = client:read_json().data
    assert.equal(3, data.backends.total)
    assert.equal("healthy", data.checks.workers)
    assert.equal(data.status == "healthy", data.healthy)
    client:close()
  end))

  it("can be paused, resumed and forced, by POST and by message", loop.spec(function()
    local client, admin = open "status", open "control"
    client:read_json()
    local status, done = post(server, "/api/ws/control", { action = "pause", type = "status" })
    assert.equal(200, status)
    assert.same({ status = "ok", action = "pause", type = "status",
      paused = { status = true, backends = false, metrics = false, health = false } }, done)
    local late = open "status"
    assert.equal("status", late:read_json().type) -- who comes is told how things are
    status, done = post(server, "/api/ws/force-update", { type = "all" })
    assert.equal(200, status)
    assert.same({ status = "ok", force_update = "triggered", type = "all", clients = 2 }, done)
    local function read_forced(each) -- behind what was pushed before the pause
      repeat until each:read_json().forced
    end
    read_forced(client)
    assert.is_true(late:read_json().forced)
    admin:send_json { action = "resume", type = "all" }
    local answer = admin:read_json()
    assert.equal("control", answer.type)
    assert.is_false(answer.data.paused.status)
    assert.is_nil(client:read_json().forced)
    admin:send_json { action = "resume", type = "everything" }
    assert.equal("invalid", admin:read_type("error").data.code)
    local forcing = open "force-update"
    forcing:send_json { type = "status" }
    assert.equal("force_update", forcing:read_json().type)
    read_forced(client)
    for _, each in ipairs { client, late, admin, forcing } do each:close() end
  end))

  it("refuse switches that there are not", loop.spec(function()
    for _, case in ipairs { { "control", { action = "stop", type = "all" }, "/action" },
      { "control", { action = "pause", type = "none" }, "/type" }, { "control", { action = "pause" }, "/type" },
      { "control", { action = 1, type = "all" }, "/action" },
      { "control", { action = "pause", type = "all", more = "x" }, "/more" },
      { "force-update", {  type = "control" }, "/type" }, { "force-update", "{}", "/type" },
      { "force-update", "[]", "" } } do
      local status, problem = post(server, "/api/ws/" .. case[1], case[2])
      assert.equal(400, status)
      assert.equal(case[3], problem.errors[1].pointer)
    end
    assert.equal(415, clients.request(server.ports.admin, "POST", "/api/ws/control", {}, "{}").status)
    assert.equal(400, (post(server, "/api/ws/control?x=1", { action = "pause", type = "all" })))
  end))

  it("are understood by a client that others have written", loop.spec(function()
    if process.run("/bin/sh", { "-c", "command -v npm" }) ~= 0 then return pending "there is no npm" end
    local install = ("mkdir -p build/npm && cd build/npm && npm install --prefix . --no-audit --no-fund %s"):format(
      CLIENT)
    if process.run("/bin/sh", { "-c", install }) ~= 0 then return pending "npm cannot install the client" end
    local script = tempdir.new() .. "/client.cjs"
    tempdir.write(script, [[
      const WebSocket = require(process.cwd() + "/build/npm/node_modules/ws");
      const socket = new WebSocket(process.argv[2], { perMessageDeflate: true });
      const seen = [];
      socket.on("message", (data) => {
        const message = JSON.parse(data);
        seen.push(message.type);
        if (message.type === "backends") socket.send(JSON.stringify({ type: "ping", fill: "x".repeat(9000) }));
        if (message.type === "pong") socket.ping("hello");
      });
      socket.on("pong", (data) => socket.close(4000, String(data)));
      socket.on("close", (code, reason) => {
        console.log(JSON.stringify({ seen, code, reason: String(reason), extensions: socket.extensions }));
      });
      socket.on("error", (error) => { console.error(error); process.exit(1); });
    ]])
    local code, out, err = process.run("/usr/bin/env", { "node", script,
      ("ws://127.0.0.1:%d/api/ws/backends"):format(server.ports.admin) })
    assert.equal(0, code, err)
    assert.same({ seen = { "backends", "pong" }, code = 4000, reason = "hello", extensions = "" }, cjson.decode(out))
  end))
end)

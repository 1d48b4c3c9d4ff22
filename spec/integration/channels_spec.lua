--- Channels of the real binary: WebSocket clients on the admin address, good, bad, slow and many.
require "support.library"
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local encoding = require "veloflux.pdk.encoding"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
local websockets = require "support.websocket"

local PATH = "/api/ws/status"
local frame, reason = websockets.frame, websockets.reason
local TEXT, CLOSE, PING, PONG, CONTINUATION = websockets.TEXT, websockets.CLOSE, websockets.PING, websockets.PONG,
  websockets.CONTINUATION

local function basic(username, password)
  return "Basic " .. encoding.base64_encode(username .. ":" .. password)
end

local function post_force(server, name)
  local response = clients.request(server.ports.admin, "POST", "/api/ws/force-update",
    { ["Content-Type"] = "application/json" }, cjson.encode { type = name })
  assert.equal(200, response.status)
end

local function switch(server, action)
  local response = clients.request(server.ports.admin, "POST", "/api/ws/control",
    { ["Content-Type"] = "application/json" }, cjson.encode { action = action, type = "status" })
  assert.equal(200, response.status)
end

local function metric(server, name)
  local text = clients.get(server.ports.admin, "/metrics").body
  return tonumber(text:match("\n" .. name:gsub("[{}\"]", "%%%0") .. " (%S+)"))
end

describe("a channel", function()
  local shared, server = loop.scope()
  setup(shared:spec(function() server = servers.start { conf = {} } end))
  teardown(shared:closer())

  local function open(options) return websockets.open(server.ports.admin, PATH, options) end

  it("opens with our own answer and sends its data at once", loop.spec(function()
    local client, head = open()
    assert.equal(websockets.ACCEPT, head:get "sec-websocket-accept")
    assert.equal("websocket", head:get("upgrade"):lower())
    assert.equal("upgrade", head:get("connection"):lower())
    assert.is_nil(head:get "sec-websocket-extensions")
    assert.is_nil(head:get "sec-websocket-protocol")
    assert.is_truthy(head:get "x-request-id")
    local first = client:read_json()
    assert.equal("status", first.type)
    assert.equal("status", first.channel)
    assert.is_truthy(first.timestamp:match "^%d+%-%d+%-%d+T[%d:.]+Z$")
    local data = first.data
    assert.equal("healthy", data.status)
    assert.equal(0, data.total_backends)
    assert.is_true(data.websocket_clients >= 1)
    assert.is_false(data.cluster_enabled)
    for _, name in ipairs { "uptime", "version", "healthy_backends", "backend_health_percentage", "pools_count",
      "is_leader", "node_id", "cluster_size", "config_version", "adaptive_balancer_enabled", "current_strategy" } do
      assert.is_not_nil(data[name], name)
    end
    assert.equal(1000, client:close(1000))
  end))

  it("takes what was sent behind the request, in pieces or at once", loop.spec(function()
    local client = open { behind = frame(TEXT, '{"type":"ping"}') .. frame(PING, "now") }
    assert.equal("status", client:read_json().type)
    local is_seen = {} -- whatever is pushed meanwhile
    repeat
      local got = client:read_frame()
      if got.opcode == PONG then
        assert.equal("now", got.data)
        is_seen.frame = true
      end
      if got.opcode == TEXT and cjson.decode(got.data).type == "pong" then is_seen.message = true end
    until is_seen.frame and is_seen.message
    local bytes = frame(TEXT, '{"type":"pi', { more = true }) .. frame(PING, "x") .. frame(CONTINUATION, 'ng"}')
    for i = 1, #bytes do client:send(bytes:sub(i, i)) end
    assert.equal("x", client:read(PONG, { [TEXT] = true }).data)
    client:read_type "pong"
    client:close()
  end))

  it("answers a close frame with the same code, whatever it is", loop.spec(function()
    for _, code in ipairs { 1000, 1001, 3000, 4999 } do
      assert.equal(code, open():close(code))
    end
    assert.equal(1005, open():close())
  end))

  it("ends at the first frame that breaks a rule", loop.spec(function()
    for _, case in ipairs {
      { frame(TEXT, "{}", { unmasked = true }), 1002 }, { frame(TEXT, "{}", { rsv = 4 }), 1002 },
      { frame(5, "x"), 1002 }, { frame(PING, "x", { more = true }), 1002 }, { frame(PING, ("x"):rep(126)), 1002 },
      { frame(CONTINUATION, "x"), 1002 }, { frame(TEXT, "x", { form = 64 }), 1002 },
      { frame(TEXT, "a", { more = true }) .. frame(TEXT, "b"), 1002 },
      { frame(TEXT, "\255\254"), 1007 }, { frame(TEXT, "\226\130", { more = true }) .. frame(CONTINUATION, "x"), 1007 },
      { frame(TEXT, "", { length = 16 * 1024 + 1 }), 1009 },
      { frame(TEXT, ("x"):rep(16 * 1024), { more = true }) .. frame(CONTINUATION, "x"), 1009 },
      { frame(CLOSE, reason(1005)), 1002 }, { frame(CLOSE, "\3"), 1002 }, { frame(CLOSE, reason(1000, "\255")), 1007 },
      { ("\r\n"):rep(100), 1002 }, { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002 },
    } do
      local client = open()
      client:read_json()
      client:send(case[1])
      local code = client:expect_close(true)
      assert.equal(case[2], code, ("%q"):format(case[1]:sub(1, 20)))
      client.http:close()
    end
    assert.equal("pong", (function()
      local client = open()
      client:send_json { type = "ping" }
      return client:read_type("pong").type
    end)())
  end))

  it("takes messages of the largest size, and refuses what they do not mean", loop.spec(function()
    local client = open()
    local text = '{"type":"ping","fill":"' .. ("\u{20ac}"):rep(5000) .. '"}'
    client:send_text(text .. (" "):rep(16 * 1024 - #text))
    assert.equal("pong", client:read_type("pong").type)
    client:send_text "[1]"
    assert.equal("invalid", client:read_type("error").data.code)
    client:send(frame(websockets.BINARY, "{}"))
    assert.equal("Messages are texts.", client:read_type("error").data.detail)
    client:close()
  end))

  it("refuses a handshake that is not a good one, with a problem document", loop.spec(function()
    for _, case in ipairs {
      { 426, { Upgrade = false } }, { 426, { ["Sec-WebSocket-Version"] = "8" } },
      { 426, { Connection = "keep-alive" } },
      { 400, { ["Sec-WebSocket-Key"] = "short" } }, { 400, { ["Sec-WebSocket-Key"] = false } },
      { 403, { Origin = "https://elsewhere.example" } }, { 403, { Origin = "null" } },
      { 403, { ["Sec-Fetch-Site"] = "cross-site" } },
    } do
      local _, head = websockets.connect(server.ports.admin, PATH, { fields = case[2] })
      assert.equal(case[1], head.status)
      assert.equal("application/problem+json", head:get "content-type")
      if case[1] == 426 then
        assert.equal("13", head:get "sec-websocket-version")
        assert.equal("websocket", head:get "upgrade")
        assert.is_truthy(head:get("connection"):lower():find "upgrade")
      end
      assert.equal(case[1], cjson.decode(head.body).status)
    end
    local _, head = websockets.connect(server.ports.admin, PATH .. "?since=x")
    assert.equal(400, head.status)
    assert.equal(426, clients.get(server.ports.admin, PATH).status)
    assert.equal(405, clients.request(server.ports.admin, "POST", PATH).status)
    assert.equal(101, (select(2, open { fields = { Origin = "http://localhost" } })).status)
  end))

  it("survives clients that go without a word", loop.spec(function()
    local reset = open()
    reset:read_json()
    reset.http:reset()
    local half = open()
    half:read_json()
    half.http:shutdown()
    local _, _, how = half:expect_close()
    assert.equal("eof", how)
    local both = open()
    both:send(frame(CLOSE, reason(1000)))
    both.http:shutdown()
    assert.equal(1000, (both:expect_close()))
    local cut = open()
    cut:send(frame(TEXT, "abc"):sub(1, 4))
    cut.http:close()
    local client = open()
    client:send_json { type = "ping" }
    assert.equal("pong", client:read_type("pong").type)
    client:close()
  end))

  it("resumes behind the sequence that a client has seen", loop.spec(function()
    switch(server, "pause") -- nothing is pushed while this looks
    local first = open()
    local sequence = first:read_json().sequence
    local again = websockets.open(server.ports.admin, PATH .. "?since=1")
    assert.equal("status", again:read_json().type) -- too long ago: the whole data
    local back = websockets.open(server.ports.admin, PATH .. "?since=" .. ("%.0f"):format(sequence))
    back:send_json { type = "ping" }
    assert.equal("pong", back:read_json().type) -- nothing was missed
    for _, client in ipairs { first, again, back } do client:close() end
    switch(server, "resume")
  end))

  it("is in the OpenAPI document, /metrics and /api/status", loop.spec(function()
    local client = open()
    client:read_json()
    local document = cjson.decode(clients.get(server.ports.admin, "/api/openapi.json").body)
    local operation = document.paths[PATH].get
    assert.equal("user", operation["x-permission"])
    assert.is_truthy(operation.responses["101"])
    assert.is_truthy(operation.responses["426"])
    assert.is_true(metric(server, 'veloflux_websocket_clients{channel="status"}') >= 1)
    assert.is_true(metric(server, 'veloflux_websocket_frames_total{channel="status"}') >= 1)
    assert.equal(0, metric(server, 'veloflux_websocket_dropped_frames_total{channel="status"}'))
    assert.is_true(metric(server, "veloflux_websocket_opened_total") >= 1)
    local status = cjson.decode(clients.get(server.ports.admin, "/api/status").body)
    assert.is_true(status.websocket_clients >= 1)
    client:close()
  end))
end)

describe("channels of a node", function()
  it("say at once when the configuration or a backend's health is another", loop.spec(function()
    local healthy = true
    local origin = origins.start(function(conn)
      conn:write(origins.response(healthy and 200 or 503))
    end)
    local conf = { pools = { { name = "web", health_check = { type = "http", path = "/", interval = "100ms",
      timeout = "1m", rise = 1, fall = 1 }, backends = { { address = "127.0.0.1:" .. origin.port } } } },
      routes = { { name = "r", pool = "web" } } }
    local server = servers.start { conf = conf }
    local client = websockets.open(server.ports.admin, PATH)
    local watcher = websockets.open(server.ports.admin, "/api/ws/backends")
    assert.is_true(watcher:read_json().data[1].healthy)
    post_force(server, "backends") -- what is sent is what changes are told against
    watcher:read_type "backend_status_update"
    local first = client:read_json()
    assert.equal(1, first.data.total_backends)
    assert.equal("round_robin", first.data.current_strategy)
    healthy = false
    local message
    repeat message = client:read_json() until message.data.healthy_backends == 0
    assert.equal("degraded", message.data.status)
    assert.is_true(message.sequence > first.sequence)
    local change = watcher:read_type("backend_metrics_update").data
    assert.equal("web", change.pool)
    assert.is_false(change.metrics.healthy)
    change = watcher:read_type("pool_status_change").data
    assert.same({ pool = "web", tenant_id = "default", status = "unhealthy", previous = "healthy", total_backends = 1,
      healthy_backends = 0 }, change)
    healthy = true
    repeat message = client:read_json() until message.data.healthy_backends == 1
    conf.pools[1].algorithm = "least_conn"
    server:write_conf(conf)
    server:reload()
    repeat message = client:read_json() until message.data.config_version > first.data.config_version
    assert.equal("least_conn", message.data.current_strategy)
    client:close()
    server:stop()
  end))

  it("need authentication, and end when the credentials no longer hold", loop.spec(function()
    local conf = { admin = { address = "127.0.0.1:0", auth = { username = "ana", password = "first" } } }
    local server = servers.start { conf = conf }
    local port = server.ports.admin
    local _, head = websockets.connect(port, PATH)
    assert.equal(401, head.status)
    assert.is_truthy(head:get("www-authenticate"):find "Basic")
    _, head = websockets.connect(port, PATH, { fields = { Authorization = basic("ana", "wrong") } })
    assert.equal(401, head.status)
    local good = { fields = { Authorization = basic("ana", "first") } }
    local client = websockets.open(port, PATH, good)
    assert.equal("status", client:read_json().type)
    conf.log = { level = "debug", format = "text" }
    server:write_conf(conf) -- another configuration, the same password
    server:reload()
    client:send_json { type = "ping" }
    assert.equal("pong", client:read_type("pong").type)
    conf.admin.auth.password = "second"
    server:write_conf(conf)
    server:reload()
    local code, text = client:expect_close(true)
    assert.equal(1008, code)
    assert.equal("the credentials no longer hold", text)
    _, head = websockets.connect(port, PATH, good)
    assert.equal(401, head.status)
    server:stop()
  end))

  it("take API keys, in a field, a parameter or a cookie, and end when a key is revoked", loop.spec(function()
    local server = servers.start { conf = { admin = { address = "127.0.0.1:0",
      auth = { username = "ana", password = "pw" } }, tenants = { { name = "acme" } },
      pools = { { name = "ours", backends = { { address = "127.0.0.1:1" } } },
        { name = "theirs", tenant = "acme", backends = { { address = "127.0.0.1:2" } } } } } }
    local port = server.ports.admin
    local function admin(method, path, body)
      return clients.request(port, method, path, { Authorization = basic("ana", "pw"),
        ["Content-Type"] = body and "application/json" or nil }, body and cjson.encode(body))
    end
    local function key_of(body)
      local response = admin("POST", "/api/apikeys", body)
      assert.equal(201, response.status, response.body)
      return cjson.decode(response.body).key
    end
    local user = key_of { name = "viewer", role = "user" }
    local ways = {
      websockets.open(port, PATH, { fields = { Authorization = "Bearer " .. user } }),
      websockets.open(port, PATH, { fields = { ["X-API-Key"] = user } }),
      websockets.open(port, PATH, { fields = { Cookie = "a=b; auth_token=" .. user } }),
      websockets.open(port, PATH, { fields = { ["Sec-WebSocket-Protocol"] = "veloflux, bearer." .. user } }),
      (websockets.open(port, PATH .. "?token=" .. user)),
    }
    for _, client in ipairs(ways) do assert.equal("status", client:read_json().type) end
    local _, head = websockets.connect(port, PATH .. "?token=" .. user,
      { fields = { ["Sec-WebSocket-Protocol"] = "veloflux" } })
    assert.equal("veloflux", head:get "sec-websocket-protocol")
    assert.equal(403, (select(2, websockets.connect(port, "/api/ws/control?token=" .. user))).status)
    assert.equal(401, (select(2, websockets.connect(port, PATH .. "?token=vfk_00_x"))).status)
    local tenants = key_of { name = "acme", role = "user", tenant_id = "acme" }
    assert.equal(403, (select(2, websockets.connect(port, PATH .. "?token=" .. tenants))).status)
    local client = websockets.open(port, "/api/ws/backends?token=" .. tenants)
    local first = client:read_json()
    assert.equal(1, #first.data)
    assert.equal("theirs", first.data[1].pool)
    client:send_json { type = "subscribe", channel = "status" }
    assert.equal("forbidden", client:read_type("error").data.code)
    assert.equal(204, admin("DELETE", "/api/apikeys/viewer").status)
    for _, each in ipairs(ways) do
      local code, text = each:expect_close(true)
      assert.equal(1008, code)
      assert.equal("the credentials no longer hold", text)
    end
    client:send_json { type = "ping" }
    assert.equal("pong", client:read_type("pong").type)
    client:close()
    server:stop()
  end))

  it("may be followed without credentials where the conf says so", loop.spec(function()
    local admin = { address = "127.0.0.1:0", auth = { username = "ana", password = "pw" },
      websocket = { anonymous = true }, cors = { origins = { "https://dash.example.com" } } }
    local server = servers.start { conf = { admin = admin } }
    local named = { fields = { Origin = "https://dash.example.com", ["Sec-Fetch-Site"] = "cross-site" } }
    websockets.open(server.ports.admin, PATH, named):close()
    named.fields.Origin = "https://other.example.com"
    assert.equal(403, (select(2, websockets.connect(server.ports.admin, PATH, named))).status)
    local client = websockets.open(server.ports.admin, PATH)
    assert.equal("status", client:read_json().type)
    client:send_json { type = "subscribe", channel = "control" }
    assert.equal("forbidden", client:read_type("error").data.code)
    assert.equal(401, (select(2, websockets.connect(server.ports.admin, "/api/ws/control"))).status)
    assert.equal(401, clients.get(server.ports.admin, "/api/status").status)
    local wrong = { fields = { Authorization = basic("ana", "wrong") } }
    assert.equal(401, (select(2, websockets.connect(server.ports.admin, PATH, wrong))).status)
    admin.websocket.anonymous = false
    server:write_conf { admin = admin }
    server:reload()
    assert.equal(1008, (client:expect_close(true)))
    assert.equal(401, (select(2, websockets.connect(server.ports.admin, PATH))).status)
    server:stop()
  end))

  it("ping the silent and cut off who does not answer", loop.spec(function()
    local server = servers.start { conf = { admin = { address = "127.0.0.1:0", auth = { enabled = false },
      websocket = { ping = "1s" } } } }
    local silent, alive = websockets.open(server.ports.admin, PATH), websockets.open(server.ports.admin, PATH)
    alive:read_json()
    local answered, closed = 0, nil
    loop.spawn(function() -- answers as long as it is asked
      local got
      repeat
        got = alive:read_frame()
        if got.opcode == PING then
          answered = answered + 1
          alive:send(frame(PONG, got.data))
        end
      until got.opcode == CLOSE
      closed = got.data
    end)
    local code, _, how = silent:expect_close()
    assert.is_nil(code)
    assert.is_truthy(how == "eof" or how == "reset")
    assert.is_true(answered >= 1)
    assert.equal(1, metric(server, "veloflux_websocket_timeouts_total"))
    alive:send(frame(CLOSE, reason(1000)))
    children.eventually("the answer to its close", function() return closed end)
    assert.equal(reason(1000), closed)
    server:stop()
  end))

  it("have a ceiling, and take the next one when one has gone", loop.spec(function()
    local server = servers.start { conf = { admin = { address = "127.0.0.1:0", auth = { enabled = false },
      websocket = { max_clients = 2 } } } }
    local first = websockets.open(server.ports.admin, PATH)
    websockets.open(server.ports.admin, PATH)
    local _, head = websockets.connect(server.ports.admin, PATH)
    assert.equal(503, head.status)
    assert.equal("10", head:get "retry-after")
    assert.equal(1, metric(server, "veloflux_websocket_refused_total"))
    first:close()
    assert.equal(101, (select(2, websockets.connect(server.ports.admin, PATH))).status)
    server:stop()
  end))

  it("end with 1001 when the binary is replaced, and the next control takes the client", loop.spec(function()
    local server = servers.start { conf = {} }
    local client = websockets.open(server.ports.admin, PATH)
    local first = client:read_json()
    server:signal "sigusr2"
    assert.equal(1001, (client:expect_close(true)))
    local back = websockets.open(server.ports.admin, PATH)
    assert.is_true(back:read_json().sequence > first.sequence)
    back:close()
    server:stop()
  end))

  it("do not let a client that says nothing hold a node that stops", loop.spec(function()
    local server = servers.start { conf = {} }
    local client = websockets.open(server.ports.admin, PATH, { connect = { paused = true }, unread = true })
    server:stop()
    client.stream:resume()
    client:read_head()
    assert.equal(1001, (client:expect_close()))
  end))

  it("end with 1001 when the node stops", loop.spec(function()
    local server = servers.start { conf = {} }
    local client = websockets.open(server.ports.admin, PATH)
    local ended
    loop.spawn(function() ended = { client:expect_close(true) } end)
    server:stop()
    children.eventually("the end of the client", function() return ended end)
    assert.same({ 1001, "the node is going away", "eof" }, ended)
  end))
end)

--- Many clients, slow ones, and a control process that dies: channels stay bounded, and nobody waits for another.
local uv = require "luv"
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local websockets = require "support.websocket"

local OPEN_ADMIN = { address = "127.0.0.1:0", auth = { enabled = false } }
local JSON = { ["Content-Type"] = "application/json" }
local MANY = 1000

local function post(server, path, value)
  local response = clients.request(server.ports.admin, "POST", path, JSON, cjson.encode(value))
  assert.equal(200, response.status, response.body)
  return cjson.decode(response.body)
end

local function metrics_of(server) return clients.get(server.ports.admin, "/metrics").body end

local function metric(server, name)
  return tonumber(metrics_of(server):match("\n" .. name:gsub("[{}\"]", "%%%0") .. " (%S+)"))
end

local function memory_of_control(server)
  return tonumber(metrics_of(server):match 'resident_memory_bytes{process="control"[^}]*} (%S+)')
end

--- A conf whose backends make a frame of some hundred kilobytes, and channels that let a client be a few of them
-- behind: frames come when something has changed, too, while the spec does not look.
local function large_conf()
  local backends = {}
  for i = 1, 500 do backends[i] = { address = ("127.0.0.1:%d"):format(1000 + i) } end
  local admin = { websocket = { queue = "1m" } }
  for name, value in pairs(OPEN_ADMIN) do admin[name] = value end
  return { admin = admin, pools = { { name = "web", backends = backends } },
    routes = { { name = "r", pool = "web" } } }
end

describe("channels under load", function()
  it("drop frames for a client that does not read, and for nobody else", loop.spec(function()
    local server = servers.start { conf = large_conf() }
    local slow = websockets.open(server.ports.admin, "/api/ws/backends", { connect = { paused = true }, unread = true })
    local fast = websockets.open(server.ports.admin, "/api/ws/backends")
    local size = #fast:read_text()
    assert.is_true(size > 100 * 1024)
    local before, dropped = memory_of_control(server), 0
    local sent = 0
    while dropped < 20 do -- until the sockets are full, and twenty frames more
      post(server, "/api/ws/force-update", { type = "backends" })
      sent = sent + 1
      local frame
      repeat
        frame = fast:read_json()
        assert.equal("backend_status_update", frame.type) -- no gap
      until frame.forced
      assert.equal(500, #frame.data)
      dropped = metric(server, 'veloflux_websocket_dropped_frames_total{channel="backends"}')
      assert.is_true(sent < 1000)
    end
    if not os.getenv "VF_SAN" then -- sanitizers keep freed memory for a while
      assert.is_true(memory_of_control(server) - before < 32 * 1024 * 1024)
    end
    slow.stream:resume()
    slow:read_head()
    local seen, gap = 0, nil
    repeat
      local message = slow:read_json()
      if message.type == "gap" then gap = gap or message else seen = seen + 1 end
    until gap
    assert.is_true(gap.data.dropped >= 1)
    assert.equal(gap.data.to - gap.data.from + 1, gap.data.dropped)
    local after
    repeat after = slow:read_json() until after.type ~= "gap"
    assert.is_true(after.sequence > gap.data.to)
    slow.http:close() -- there may be more on its way
    fast:close()
    server:stop()
  end))

  it("end a client that floods, and answer others meanwhile", loop.spec(function()
    local server = servers.start { conf = { admin = OPEN_ADMIN } }
    local pings = websockets.frame(websockets.PING, "x"):rep(5000)
    local fragments = websockets.frame(websockets.TEXT, "", { more = true })
      .. websockets.frame(websockets.CONTINUATION, "", { more = true }):rep(5000)
    for _, bytes in ipairs { pings, fragments } do
      local flood = websockets.open(server.ports.admin, "/api/ws/control")
      loop.spawn(function() flood:send(bytes) end)
      local other = websockets.open(server.ports.admin, "/api/ws/status")
      other:send_json { type = "ping" }
      other:read_type "pong"
      local code, text = flood:expect_close(true)
      assert.equal(1008, code)
      assert.equal("too many frames", text)
      other:close()
    end
    local client = websockets.open(server.ports.admin, "/api/ws/control")
    client:send(websockets.frame(websockets.PING, "x"):rep(900))
    assert.equal("x", client:read(websockets.PONG).data)
    client:close()
    server:stop()
  end))

  it("reach a thousand clients, and forget them", loop.spec(function()
    local server = servers.start { conf = { admin = OPEN_ADMIN } }
    local all = {}
    for i = 1, MANY do all[i] = websockets.open(server.ports.admin, "/api/ws/status") end
    for i = 1, MANY do all[i]:read_json() end
    local _, head = websockets.connect(server.ports.admin, "/api/ws/status")
    assert.equal(503, head.status)
    assert.equal(MANY, post(server, "/api/ws/force-update", { type = "status" }).clients)
    for i = 1, MANY do
      local message
      repeat message = all[i]:read_json() until message.forced
      assert.equal(MANY, message.data.websocket_clients)
    end
    for i = 1, MANY do
      if i % 3 == 0 then all[i].http:reset() elseif i % 3 == 1 then all[i].http:close() else all[i]:close(1000) end
    end
    local left
    repeat left = metric(server, "veloflux_websocket_connections") until left == 0
    assert.equal(0, metric(server, 'veloflux_websocket_clients{channel="status"}'))
    local client = websockets.open(server.ports.admin, "/api/ws/status")
    client:read_json()
    client:close()
    server:stop()
  end))

  it("end when control dies, and come back with what was missed being told whole", loop.spec(function()
    local server = servers.start { conf = { admin = OPEN_ADMIN } }
    local client = websockets.open(server.ports.admin, "/api/ws/status")
    local first = client:read_json()
    assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
    local code, _, how = client:expect_close()
    assert.is_nil(code)
    assert.is_truthy(how == "eof" or how == "reset")
    local back
    children.eventually("control to be back", function()
      local head
      back, head = websockets.connect(server.ports.admin, ("/api/ws/status?since=%.0f"):format(first.sequence))
      return head.status == 101
    end)
    local again = back:read_json()
    assert.equal("status", again.type)
    assert.is_true(again.sequence > first.sequence)
    back:close()
    server:stop()
  end))
end)

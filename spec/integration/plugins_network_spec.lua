--- Plugins that talk to others, in the real binary: clients, peers and the process itself may go at any moment.
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local peers = require "unit.pdk.peer"
local redis_servers = require "unit.pdk.redis_server"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local WAITS = 1000

-- One plugin for all specs: `config.run` names what it does in the access phase.
local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local actions = {}

local function answer(...)
  local list = { n = select("#", ...), ... }
  for i = 1, list.n do list[i] = list[i] == nil and "nil" or tostring(list[i]) end
  return pdk.response.exit(200, table.concat(list, "|"))
end

function actions.http(conf)
  local res, err, code = pdk.http.get(conf.url, { timeout = conf.timeout })
  if not res then return answer(nil, err, code) end
  return answer(res.status, res.headers["X-From"], res.body)
end

function actions.line(conf)
  local sock = pdk.socket.tcp()
  assert(sock:connect("127.0.0.1", conf.port))
  sock:send "hello\n"
  local line, err, code = sock:receive "*l"
  if conf.forget then return answer(line) end
  sock:close()
  return answer(line, err, code)
end

function actions.sleep(conf)
  pdk.timer.sleep(conf.seconds)
  return answer "slept"
end

local red
function actions.count(conf)
  red = red or pdk.redis.new(conf.url)
  return answer(red:incr "n")
end

function actions.later(conf)
  pdk.timer.after(0.01, function() pdk.http.get(conf.url) end)
  return answer "soon"
end

function actions.ship(conf)
  local q = pdk.queue.get("ship", { batch_items = 100, max_delay = 3600 }, function(batch)
    local res, err = pdk.http.post(conf.url, table.concat(batch, ","))
    return res and res.status == 200, err
  end)
  q:push(pdk.request.get_query_arg "item" or "none")
  return answer "queued"
end

function actions.own_coroutine()
  local ok, err = coroutine.resume(coroutine.create(function() pdk.timer.sleep(1) end))
  return answer(ok, err)
end

-- Nothing can wait in a function that C calls back.
local function in_callback(fn)
  local ok, err = pcall(string.gsub, "x", ".", function() fn() return "" end)
  return not ok and err:match "waiting inside a function that string%.gsub" or tostring(err)
end

function actions.callback(conf)
  local sock = pdk.socket.tcp()
  assert(sock:connect("127.0.0.1", conf.port))
  local on_socket = in_callback(function() sock:receive "*l" end)
  local on_time = in_callback(function() pdk.timer.sleep(1) end)
  local on_body = in_callback(pdk.request.get_raw_body)
  sock:send "hello\n"
  return answer(on_socket, on_time, on_body, (sock:receive "*l"))
end

function Plugin:access(conf) return actions[conf.run](conf) end

function Plugin:header_filter(conf)
  if conf.run ~= "filter" then return end
  local res = pdk.http.get(conf.url)
  pdk.response.set_header("X-Asked", res and res.body or "nothing")
end

function Plugin:log(conf)
  if conf.log_url then pdk.http.post(conf.log_url, "logged") end
end
actions.filter = function() end
return Plugin
]]

local SCHEMA = [[
return { run = { type = "string" }, url = { type = "string" }, log_url = { type = "string" },
  port = { type = "integer" }, seconds = { type = "number" }, timeout = { type = "number" },
  forget = { type = "boolean" } }
]]

-- Starts the binary with the plugin in routes /NAME for each configuration.
local function start(origin, configs)
  local routes = {}
  for name, config in pairs(configs) do
    routes[#routes + 1] = { name = name, path_prefix = "/" .. name, pool = "web",
      plugins = { { name = "probe", config = config } } }
  end
  return servers.start {
    files = { ["plugins/probe/handler.lua"] = HANDLER, ["plugins/probe/schema.lua"] = SCHEMA },
    conf = { plugin_path = { "plugins" }, routes = routes,
      pools = { { name = "web", backends = { { address = origin.address } } } } },
  }
end

local function descriptors(folder)
  local n, list = 0, uv.fs_scandir(folder)
  while uv.fs_scandir_next(list) do n = n + 1 end
  return n
end

local function get(server, path) return clients.get(server.ports.http, path) end

describe("plugins on the network", function()
  it("cannot wait in a callback of C; what they would have waited for there wakes nobody later", loop.spec(function()
    local client
    local server
    local peer = peers.tcp(function(conn)
      conn:read_until "\n"
      client:send "content" -- which nobody asks for any more
      get(server, "/nap") -- the worker has seen it by then
      conn:write "world\n"
      conn:read_some()
    end)
    server = start(rig.named "origin", { callback = { run = "callback", port = peer.port },
      nap = { run = "sleep", seconds = 0.001 } })
    client = clients.connect(server.ports.http)
    client:send "POST /callback HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n"
    local refused = "waiting inside a function that string.gsub"
    assert.equal(("%s|%s|%s|world"):format(refused, refused, refused), client:read_response("POST").body)
    client:close()
    server:stop()
  end))

  it("ask, wait and answer", loop.spec(function()
    local other = origins.start(function(conn, request)
      conn:write(origins.response(200, { ["X-From"] = "other" }, request.target, request.method))
    end)
    local redis = redis_servers.start()
    local peer = peers.tcp(function(conn)
      conn:read_until "\n"
      conn:write "world\n"
      conn:read_some()
    end)
    local server = start(rig.named "origin", {
      ask = { run = "http", url = "http://" .. other.address .. "/x" },
      name = { run = "http", url = "http://localhost:" .. other.port .. "/x" },
      line = { run = "line", port = peer.port },
      nap = { run = "sleep", seconds = 0.01 },
      count = { run = "count", url = "redis://127.0.0.1:" .. redis.port },
      filter = { run = "filter", url = "http://" .. other.address .. "/filter" },
      own = { run = "own_coroutine" },
    })
    assert.equal("200|other|/x", get(server, "/ask").body)
    assert.equal("200|other|/x", get(server, "/ask").body)
    assert.equal(1, other.accepted)
    assert.equal("200|other|/x", get(server, "/name").body)
    assert.equal("world|nil|nil", get(server, "/line").body)
    assert.equal("slept", get(server, "/nap").body)
    assert.equal("1", get(server, "/count").body)
    assert.equal("2", get(server, "/count").body)
    local filtered = get(server, "/filter")
    assert.same({ "origin", "/filter" }, { filtered.body, filtered:get "X-Asked" })
    assert.matches("^false|.*waiting inside a coroutine of the plugin's own is not possible", get(server, "/own").body)
    server:stop()
  end))

  it("close what a plugin left open, and say so once", loop.spec(function()
    local ended = 0
    local peer = peers.tcp(function(conn)
      conn:read_until "\n"
      conn:write "world\n"
      conn:read_rest()
      ended = ended + 1
    end)
    local server = start(rig.named "origin", { line = { run = "line", port = peer.port, forget = true } })
    for _ = 1, 3 do assert.equal("world", get(server, "/line").body) end
    for i = 1, 3 do
      peer.conns[i].changed:wait("the plugin's socket to close", function() return peer.conns[i].ended end)
    end
    server:wait_log "socket%.left_open"
    local lines = 0
    for _, line in ipairs(server:log_lines()) do
      if line:find("socket.left_open", 1, true) then
        lines = lines + 1
        assert.matches("plugin=probe", line)
      end
    end
    assert.equal(1, lines)
    server:stop()
  end))

  it("let go when the client goes", loop.spec(function()
    local asked, gone = loop.condition(), 0
    local peer = peers.tcp(function(conn)
      conn:read_until "\n"
      asked:notify()
      conn:read_rest()
      gone = gone + 1
      asked:notify()
    end)
    local server = start(rig.named "origin", {
      http = { run = "http", url = ("http://127.0.0.1:%d/"):format(peer.port) },
      line = { run = "line", port = peer.port }, sleep = { run = "sleep", seconds = 3600 },
      sleep0 = { run = "sleep", seconds = 0 },
    })
    local folder = ("/proc/%d/fd"):format(rig.worker(server))
    local before = descriptors(folder)
    for i = 1, 40 do
      local path = i % 2 == 0 and "/http" or "/line"
      local client = clients.connect(server.ports.http)
      client:request("GET", path)
      asked:wait("the plugin to ask", function() return peer.accepted == i end)
      client:reset()
      asked:wait("the plugin to let go", function() return gone == i end)
    end
    local client = clients.connect(server.ports.http)
    client:request("GET", "/sleep")
    client:reset()
    get(server, "/sleep0")
    assert.is_true(descriptors(folder) <= before + 3, "descriptors are left open")
    for _, line in ipairs(server:log_lines()) do assert.is_nil(line:find("left_open", 1, true)) end
    server:stop()
  end))

  it("are told that nobody can wait while their code is loaded", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/plugins/early/schema.lua", "return {}")
    for call, name in pairs {
      ["pdk.http.get 'http://127.0.0.1/'"] = "http.request", ["pdk.socket.tcp()"] = "socket.tcp",
      ["pdk.timer.sleep(1)"] = "timer.sleep", ["pdk.timer.after(1, tostring)"] = "timer.after",
      ["pdk.redis.new():get 'x'"] = "redis: command", ["pdk.queue.get('q', {}, tostring)"] = "queue.get",
    } do
      tempdir.write(dir .. "/plugins/early/handler.lua",
        "local pdk = require 'veloflux.pdk'\n" .. call .. "\nreturn { PRIORITY = 1, VERSION = '1' }")
      tempdir.write(dir .. "/conf.yaml", servers.encode {
        plugin_path = { "plugins" }, plugins = { { name = "early" } },
      })
      local code, out, err = servers.command { "check", "-c", dir .. "/conf.yaml" }
      assert.equal(1, code)
      assert.matches(name .. " cannot be called while the plugin's code is loaded", out .. err, 1, true)
    end
  end))

  it("wait by the thousand at little cost", loop.spec(function()
    local waiting, held = loop.condition(), {}
    local slow = peers.tcp(function(conn)
      conn:read_until "\r\n\r\n"
      held[#held + 1] = conn
      waiting:notify()
      conn:read_until "\r\n\r\n"
    end)
    local server = start(rig.named "origin", {
      http = { run = "http", url = ("http://127.0.0.1:%d/"):format(slow.port), timeout = 600 },
    })
    local function ask(n)
      local asking = {}
      for i = 1, n do
        asking[i] = clients.connect(server.ports.http)
        asking[i]:request("GET", "/http")
      end
      return asking
    end
    local function answer(asking)
      for _, conn in ipairs(held) do conn:write "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" end
      held = {}
      for _, client in ipairs(asking) do
        assert.equal("200|nil|", client:read_response().body)
        client:close()
      end
    end
    local function resident()
      return tonumber(tempdir.read(("/proc/%d/status"):format(rig.worker(server))):match "VmRSS:%s+(%d+)")
    end
    local first = ask(1) -- what the first one loads stays
    waiting:wait("the first", function() return #held == 1 end)
    local before = resident()
    local asking = ask(WAITS)
    waiting:wait("all of them", function() return #held == WAITS + 1 end)
    local each = (resident() - before) / WAITS
    if not os.getenv "VF_SAN" then
      assert.is_true(each <= 16, ("%.1f KiB for each client connection with a plugin that waits"):format(each))
    end
    if os.getenv "VF_SHOW" then print(("%.1f KiB each"):format(each)) end
    asking[#asking + 1] = first[1]
    answer(asking)
    server:stop()
  end))

  it("run later and in the log phase", loop.spec(function()
    local told = origins.start()
    local server = start(rig.named "origin", {
      later = { run = "later", url = "http://" .. told.address .. "/later" },
      logged = { run = "filter", url = "http://" .. told.address .. "/f",
        log_url = "http://" .. told.address .. "/log" },
    })
    assert.equal("soon", get(server, "/later").body)
    assert.equal("/later", told:wait_requests(1).target)
    get(server, "/logged")
    assert.equal("/log", told:wait_requests(3).target)
    server:stop()
  end))

  it("lose no more than five seconds of a process's end, and say what else", loop.spec(function()
    local peer = peers.tcp(function() end)
    peer.refuse()
    local server = start(rig.named "origin", {
      ship = { run = "ship", url = ("http://127.0.0.1:%d/"):format(peer.port) },
    })
    for i = 1, 3 do assert.equal("queued", get(server, "/ship?item=" .. i).body) end
    server:stop()
    server:wait_log "queue.dropped.*plugin=probe queue=ship items=3 why=\"the process ends\""
  end))

  it("ship what their queues hold before the process ends", loop.spec(function()
    local told = origins.start()
    local server = start(rig.named "origin", { ship = { run = "ship", url = "http://" .. told.address .. "/" } })
    for i = 1, 3 do assert.equal("queued", get(server, "/ship?item=" .. i).body) end
    assert.equal(0, #told.requests)
    server:stop()
    assert.equal(1, #told.requests)
    assert.equal("1,2,3", told.requests[1].body)
  end))
end)

--- What the plugin kit offers, used on a plugin that does one of each thing.
local kit = require "veloflux.kit"

local function act(name, more)
  local request = { headers = { ["X-Do"] = name } }
  for key, value in pairs(more or {}) do request[key] = value end
  return request
end

describe("pools that a plugin asks", function()
  local function start(backends, hosts)
    return kit.start { hosts = hosts, conf = { pools = {
      { name = "upstream", backends = { { address = "127.0.0.1:1" } } },
      { name = "others", backends = backends, timeouts = { response = "7s" }, health_check = false },
    } } }
  end

  it("are balanced and failed over", function()
    local gateway = start({ { address = "10.0.0.1:80" }, { address = "10.0.0.2:80" } }, {
      ["10.0.0.1:80"] = "refuse", ["10.0.0.2:80"] = function(request) return { body = "two " .. request.path } end })
    for _ = 1, 3 do assert.equal("two /x", gateway:request(act "call_pool").body) end
    assert.equal(3, #gateway:upstream_requests "10.0.0.2")
    assert.is_true(#gateway:logs "backend.connect_failed" > 0)
  end)

  it("say how long it may take", function()
    local gateway = start({ { address = "10.0.0.1:80" } }, { ["10.0.0.1:80"] = function() return { delay = 60 } end })
    local answer = gateway:request(act "call_pool")
    assert.equal("timeout: GET http://others/x: response: timed out", answer.body)
    assert.near(7, answer.elapsed, 0.1)
  end)
end)

describe("time", function()
  it("passes when everybody waits", function()
    local gateway = kit.start()
    local answer = gateway:request(act "sleep")
    assert.equal(200, answer.status)
    assert.near(5, answer.elapsed, 0.01)
  end)

  it("passes by hand, with the timers in it", function()
    local gateway = kit.start { time = 1000 }
    assert.equal(1000, kit.now())
    kit.advance(3600)
    assert.equal(4600, kit.now())
    assert.equal(360, #gateway:logs "everything.tick")
    assert.equal("9.8.7.6 at 4600", gateway:request(act("who", { ip = "9.8.7.6" })).body)
  end)

  it("does not pass while there is something to do", function()
    local gateway = kit.start()
    assert.equal(0, gateway:request({}).elapsed)
  end)
end)

describe("faults of a plugin", function()
  it("are answered, logged and counted", function()
    local gateway = kit.start()
    assert.equal(500, gateway:request(act "raise").status)
    local entry = gateway:logs("plugin.failed")[1]
    assert.matches("boom", entry.error)
    assert.same({ "error", "access", "everything" }, { entry.level, entry.phase, entry.plugin })
    local errors = gateway:metrics():value("veloflux_plugin_errors_total", { plugin = "everything", phase = "access" })
    assert.equal(1, errors)
  end)

  it("of which one that never comes to an end is cut off", function()
    local gateway = kit.start { conf = { plugin_limits = { cpu = "20ms" } } }
    assert.equal(500, gateway:request(act "spin").status)
    assert.matches("cut off", gateway:logs("plugin.failed")[1].error)
    assert.equal(200, gateway:request({}).status)
  end)

  it("of which one is a socket left open", function()
    local gateway = kit.start { hosts = { ["db.test:5432"] = kit.wire(function(wire) wire:receive() end) },
      conf = { plugin_limits = { cpu = "10s" } } } -- so much garbage takes a busy machine its time
    for _, way in ipairs { "leak", "leak_and_go_on" } do
      assert.equal(200, gateway:request(act(way)).status)
      assert.equal("everything", gateway:logs("socket.left_open")[1].plugin)
    end
  end)
end)

describe("hosts", function()
  it("speak for themselves", function()
    local gateway = kit.start { hosts = {
      ["db.test:5432"] = kit.wire(function(wire) wire:send("you said " .. wire:read_line() .. "\n") end),
    } }
    assert.equal("you said hello", gateway:request(act "ask_db").body)
  end)

  it("get datagrams", function()
    local seen = {}
    local gateway = kit.start { hosts = { ["stats.test:8125"] = kit.wire(function(wire, place)
      assert.is_true(place.is_datagram)
      for i = 1, 2 do seen[i] = wire:receive() end
      wire:send "both"
    end) } }
    assert.equal("both", gateway:request(act "datagrams").body)
    assert.same({ "a:1|c", "b:2|c" }, seen)
  end)

  it("answer a plugin, in their time", function()
    local gateway = kit.start { hosts = {
      ["api.test"] = function(request)
        return { status = 201, delay = 2, body = request.method .. " " .. request.path .. " " .. request.body }
      end,
    } }
    local answer = gateway:request(act "call_api")
    assert.same({ 201, "POST /x abc" }, { answer.status, answer.body })
    assert.near(2, answer.elapsed, 0.01)
    assert.equal("api.test", gateway:upstream_requests("api.test")[1].headers.host)
  end)

  it("are only those that the spec knows", function()
    local gateway = kit.start()
    assert.equal(599, gateway:request(act "call_nobody").status)
  end)

  it("get what queues ship", function()
    local gateway = kit.start { hosts = { ["log.test"] = function() return 200 end } }
    gateway:request(act "queue")
    assert.same({}, gateway:upstream_requests "log.test")
    gateway:flush()
    assert.equal("a,b", gateway:upstream_requests("log.test")[1].body)
  end)
end)

describe("backends", function()
  local function status_of(upstream) return kit.start({ upstream = upstream }):request({}).status end

  it("may refuse, hang, be late, break off or talk nonsense", function()
    assert.equal(502, status_of "refuse")
    assert.equal(504, status_of "hang")
    assert.equal(504, status_of(function() return { delay = 100 } end))
    assert.equal(502, status_of(function() return { reset = true } end))
    assert.equal(502, status_of(function() return { raw = "HTTP/1.1 abc\r\n\r\n" } end))
  end)

  it("may end in the middle of a body", function()
    for _, way in ipairs { "cut", "reset" } do
      local gateway = kit.start { upstream = function() return { body = "0123456789", [way] = 4 } end }
      local answer = gateway:request {}
      assert.same({ 200, "0123" }, { answer.status, answer.body })
      assert.is_truthy(answer.error)
    end
  end)

  it("may trickle", function()
    local gateway = kit.start { upstream = function() return { body = { "a", "b", "c" }, interval = 10 } end }
    local answer = gateway:request {}
    assert.equal("abc", answer.body)
    assert.near(20, answer.elapsed, 0.01)
  end)

  it("may answer in chunks, without a body, or to the end of the connection", function()
    local gateway = kit.start { upstream = function(request)
      if request.path == "/chunks" then return { body = ("x"):rep(5000), chunked = true } end
      if request.path == "/none" then return 204 end
      return { raw = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", close = true }
    end }
    assert.equal(("x"):rep(5000), gateway:request({ path = "/chunks" }).body)
    assert.same({ 204, "" }, { gateway:request({ path = "/none" }).status, gateway:request({ path = "/none" }).body })
    assert.equal("to the end", gateway:request({ path = "/end" }).body)
  end)
end)

describe("metrics", function()
  it("are those of the node, and the plugin's own", function()
    local gateway = kit.start()
    for _ = 1, 3 do gateway:request(act "shout") end
    gateway:request(act "who")
    local metrics = gateway:metrics()
    assert.equal(3, metrics:value("veloflux_plugin_everything_asked_total", { act = "shout" }))
    assert.equal(4, metrics:value "veloflux_plugin_everything_asked_total")
    assert.equal(4, metrics:value("veloflux_http_requests_total", { status = "2xx" }))
    assert.is_nil(metrics:value "veloflux_nothing")
  end)
end)

describe("clients", function()
  it("come in hundreds at once", function()
    local gateway = kit.start { upstream = function(request)
      kit.sleep(10)
      return request.body
    end }
    local list = {}
    for i = 1, 100 do list[i] = { method = "POST", body = ("x"):rep(i) } end
    for i, answer in ipairs(gateway:requests(list)) do assert.equal(i, #answer.body) end
  end)

  it("come several at once", function()
    local gateway = kit.start { upstream = function(request)
      kit.sleep(3)
      return request.path
    end }
    local answers = gateway:requests { { path = "/1" }, { path = "/2" }, { path = "/3" } }
    assert.same({ "/1", "/2", "/3" }, { answers[1].body, answers[2].body, answers[3].body })
    assert.near(3, answers[3].elapsed, 0.01)
  end)

  it("send bodies whole, in chunks and slowly", function()
    local gateway = kit.start()
    local text = ("0123456789"):rep(1000)
    assert.equal(text, gateway:request(act("body", { method = "POST", body = text })).body)
    assert.equal(text, gateway:request(act("body", { method = "POST", body = text, chunked = true })).body)
    local answer = gateway:request(act("body", { method = "POST", body = { "a", "b", "c" }, interval = 1 }))
    assert.equal("abc", answer.body)
    assert.near(2, answer.elapsed, 0.01)
  end)

  it("go away", function()
    local gateway = kit.start { upstream = function() return { delay = 5 } end }
    local pending = gateway:begin {}
    gateway:advance(1)
    assert.is_false(pending:is_done())
    pending:abort()
    gateway:advance(10)
    assert.equal(1, gateway:metrics():value "veloflux_client_aborts_total")
  end)

  it("expect 100-continue", function()
    local gateway = kit.start { upstream = function(request) return request.body end }
    local answer = gateway:request { method = "POST", body = "abc", headers = { Expect = "100-continue" } }
    assert.equal("abc", answer.body)
  end)
end)

describe("bodies", function()
  it("are cut at random places, and whole all the same", function()
    local gateway = kit.start { upstream = function(request) return { body = "upstream " .. request.body } end }
    for length = 0, 60, 5 do
      local text = ("abcde"):rep(length)
      assert.equal("UPSTREAM " .. text:upper(), gateway:request(act("upper", { method = "POST", body = text })).body)
    end
  end)

  it("may be large", function()
    local gateway = kit.start { upstream = function(request) return { body = request.body } end }
    local text = ("0123456789abcdef"):rep(128 * 1024)
    for _, chunked in ipairs { false, true } do
      local answer = gateway:request { method = "POST", body = text, chunked = chunked }
      assert.is_true(answer.body == text)
      assert.equal(0, answer.elapsed)
    end
  end)

  it("are whole when the spec says so", function()
    local gateway = kit.start { fuzz = false, upstream = function(request) return { body = request.body } end }
    assert.equal("abc", gateway:request({ method = "POST", body = "abc" }).body)
  end)
end)

describe("configurations", function()
  it("are checked", function()
    assert.same({}, kit.validate { mark = "x" })
    local problems = kit.validate { mrk = "x", ship_after = "soon" }
    assert.equal(2, #problems)
    assert.matches("did you mean mark", problems[1].message .. problems[2].message)
    assert.has_error(function() kit.start { config = { ship_after = "soon" } } end)
  end)

  it("may have empty lists", function()
    assert.same({}, kit.validate { allow = {} })
    kit.start { config = { allow = {} } }
  end)

  it("are replaced, as in a reload", function()
    local gateway = kit.start { config = { mark = "one" } }
    assert.equal("one", gateway:request({}).headers.x_mark)
    gateway:reload { plugins = { { name = "everything", config = { mark = "two" } } } }
    assert.equal("two", gateway:request({}).headers.x_mark)
  end)

  it("stand on routes, globally and twice", function()
    local gateway = kit.start {
      plugins = { { name = "everything", config = { mark = "route" } }, { name = "everything", as = "again" } },
      global_plugins = { { name = "everything", config = { mark = "global" } } },
    }
    gateway:request {}
    local marks = {}
    for i, line in ipairs(gateway:logs "plugin.log") do marks[i] = line.message end
    table.sort(marks)
    assert.same({ "everything has seen 200", "route has seen 200" }, marks)
  end)

  it("know consumers", function()
    kit.start { consumers = { { name = "ana", groups = { "gold" } } } }
  end)
end)

describe("the plugin's own files", function()
  it("can be tested by themselves", function()
    assert.equal("A!", require("veloflux.plugins.everything.helper").shout "a")
  end)

  it("are there in the gateway, too", function()
    assert.equal("HEY!", kit.start():request(act "shout").body)
  end)
end)

describe("the runner", function()
  local order = {}
  setup(function() order[#order + 1] = "setup" end)
  before_each(function() order[#order + 1] = "before" end)
  after_each(function() order[#order + 1] = "after" end)

  it("runs hooks around a spec", function()
    finally(function() order[#order + 1] = "finally" end)
    order[#order + 1] = "one"
  end)

  it("runs them in order", function()
    assert.same({ "setup", "before", "one", "finally", "after", "before" }, order)
  end)

  pending "has specs that wait to be written"
end)

--- What happens when a process dies or hangs: the others go on, and it is replaced.
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local traffics = require "support.traffic"

local function start(workers)
  local origin = origins.start()
  return servers.start { conf = {
    workers = workers,
    pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
    routes = { { name = "all", pool = "web" } },
  } }
end

local function kill(pid) assert(uv.kill(pid, "sigkill")) end

describe("a killed process", function()
  it("is replaced when it was a worker, whose queue its sibling takes meanwhile", loop.spec(function()
    local server = start(2)
    local victim = children.of(server.pid).worker[1][1]
    kill(victim)
    for _ = 1, 20 do assert.equal(200, clients.get(server.ports.http, "/").status) end
    local at = server:wait_log("worker%.exited.*slot=1 pid=" .. victim .. ' reason="signal 9 %(Killed%)"')
    server:wait_log("worker%.started.*slot=1", at)
    assert.not_equal(victim, children.of(server.pid).worker[1][1])
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("keeps waiting clients when it was the only worker", loop.spec(function()
    local server = start(1)
    kill(children.of(server.pid).worker[1][1])
    assert.equal(200, clients.get(server.ports.http, "/").status) -- waits in the queue of the socket
    server:stop()
  end))

  it("is not missed by the data plane when it was control, and is replaced", loop.spec(function()
    local server = start(1)
    local traffic = traffics.start { port = server.ports.http }
    local victim = children.of(server.pid).control[1]
    kill(victim)
    local at = server:wait_log("control%.exited.*pid=" .. victim)
    server:wait_log("control%.started", at)
    traffic:wait_answers(20)
    assert.same({}, traffic:stop())
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:stop()
  end))

  it("is not waited for long when it was control, however often that happens", loop.spec(function()
    local server = start(1)
    local at, delays = 1, {}
    for i = 1, 6 do
      local victim = children.of(server.pid).control[1]
      kill(victim)
      at = server:wait_log("control%.exited.*pid=" .. victim, at)
      local from, ms = server:wait_log("process%.delayed.*kind=control.*ms=(%d+)", at)
      delays[i] = tonumber(ms)
      at = server:wait_log("control%.started", from)
    end
    for _, ms in ipairs(delays) do assert.is_true(ms <= 800, ms) end
    server:stop()
  end))

  it("can be reloaded by the control that replaces another", loop.spec(function()
    local server = start(1)
    kill(children.of(server.pid).control[1])
    server:wait_log("control%.exited")
    server:signal "sighup" -- comes while there is no control
    server:wait_log("reload%.done.*version=2")
    server:stop()
  end))

  it("has what it had written down published by its replacement", loop.spec(function()
    local server = start(1)
    local path = server.dir .. "/data/last-model.json"
    tempdir.write(path, (tempdir.read(path):gsub('"version":1}', '"version":2}'))) -- died before it said so
    kill(children.of(server.pid).control[1])
    server:wait_log "resume%.done.*version=2"
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:signal "sighup"
    server:wait_log "reload%.done.*version=3"
    server:stop()
  end))

  it("is replaced when it was the checker", loop.spec(function()
    local server = start(1)
    local victim = children.of(server.pid).checker[1]
    kill(victim)
    local at = server:wait_log("checker%.exited.*pid=" .. victim)
    server:wait_log("checker%.started", at)
    server:stop()
  end))

  it("is replaced more slowly the more often it dies young", loop.spec(function()
    local server = start(2)
    local at, began = 0, uv.hrtime()
    for _ = 1, 3 do -- 100, 200 and 400 ms
      kill(children.of(server.pid).worker[1][1])
      at = server:wait_log("worker%.exited.*slot=1", at + 1)
      at = server:wait_log("worker%.started.*slot=1", at)
    end
    local elapsed_ms = (uv.hrtime() - began) / 1e6
    assert.is_true(elapsed_ms >= 690, ("came back after %d ms"):format(elapsed_ms))
    server:stop()
  end))
end)

describe("a process that hangs", function()
  it("has no veto over a reload: it is replaced after two seconds", loop.spec(function()
    local server = start(2)
    local victim = children.of(server.pid).worker[2][1]
    assert(uv.kill(victim, "sigstop"))
    server:signal "sighup"
    server:wait_log("worker%.exited.*pid=" .. victim .. ' reason="killed: silent for 2 s at a reload"')
    server:wait_log("reload%.done.*version=2")
    server:wait_log "worker%.started.*slot=2.*version=2"
    server:stop()
  end))

  it("is not taken for one when the supervisor had no time, either", loop.spec(function()
    local server = start(1)
    local worker = children.of(server.pid).worker[1][1]
    assert(uv.kill(worker, "sigstop"))
    server:signal "sighup"
    children.pause(300) -- the worker is asked
    server:signal "sigstop"
    children.pause(2700)
    server:signal "sigcont"
    children.pause(100)
    assert(uv.kill(worker, "sigcont"))
    server:wait_log("reload%.done.*version=2")
    assert.equal(worker, children.of(server.pid).worker[1][1])
    server:stop()
  end))

  it("is replaced when its heart stops beating", loop.spec(function()
    local server = start(1)
    local victim = children.of(server.pid).checker[1]
    assert(uv.kill(victim, "sigstop"))
    local at = server:wait_log("checker%.exited.*pid=" .. victim .. ' reason="killed: no heartbeat"')
    server:wait_log("checker%.started", at)
    server:stop()
  end))
end)

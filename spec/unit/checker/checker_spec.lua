--- The checker against real sockets: verdicts, reasons, schedules.
local ffi = require "ffi"
local uv = require "luv"
local cloop = require "unit.net.cloop"
local fixture = require "unit.proxy.fixture"
local lib = fixture.lib

ffi.cdef [[
struct vf_checker;
int vf_checker_new(uv_loop_t *, struct vf_state *, int block, struct vf_checker **);
void vf_checker_publish(struct vf_checker *, struct vf_snapshot *);
void vf_checker_free(struct vf_checker *);
void vf_log_setup(int level, int format, const char *process);
]]

local UNKNOWN, UP, DOWN = 0, 1, 2

describe("checker", function()
  local loop, state, checker, servers, snapshot

  -- Starts a server on loopback; `answer(conn, request, n)` is called with the n-th request head.
  local function serve(answer, port)
    local server = { socket = uv.new_tcp(), requests = {}, open = {}, accepted = 0 }
    server.socket:bind("127.0.0.1", port or 0)
    server.port = server.socket:getsockname().port
    server.socket:listen(64, function()
      local conn, head = uv.new_tcp(), ""
      server.socket:accept(conn)
      server.open[conn] = true
      server.accepted = server.accepted + 1
      conn:read_start(function(err, data)
        if err or not data then
          server.open[conn] = nil
          if not conn:is_closing() then conn:close() end
          return
        end
        head = head .. data
        if head:find "\r\n\r\n" then
          server.requests[#server.requests + 1] = head
          if answer then answer(conn, head, #server.requests) end
        end
      end)
    end)
    servers[#servers + 1] = server
    return server
  end

  -- A server whose port nobody listens on, and nobody else can.
  local function refusing()
    local server = { socket = uv.new_tcp(), open = {} }
    server.socket:bind("127.0.0.1", 0)
    server.port = server.socket:getsockname().port
    servers[#servers + 1] = server
    return server
  end

  local function stop(server)
    for conn in pairs(server.open) do
      if not conn:is_closing() then conn:close() end
    end
    server.open = {}
    if not server.socket:is_closing() then server.socket:close() end
  end

  local function answering(status)
    return function(conn)
      conn:write("HTTP/1.1 " .. status .. " X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
      conn:shutdown()
    end
  end

  local function publish(backends, pool)
    local wanted = { backends = backends }
    for key, value in pairs(pool or {}) do wanted[key] = value end
    snapshot = fixture.snapshot(wanted)
    lib.vf_checker_publish(checker, snapshot)
  end

  local function backend(name) return state.backends[fixture.slot(name)] end
  local function reason(name) return ffi.string(backend(name).reason) end
  local function checks() return tonumber(state.blocks[0].totals.checks) end

  local function becomes(name, health)
    loop:drive(function() return backend(name).health == health end, name .. " to become " .. health)
  end

  setup(function() lib.vf_log_setup(4, 1, "spec") end)

  before_each(function()
    loop, state, servers = cloop.new(), fixture.state(), {}
    local out = ffi.new "struct vf_checker *[1]"
    assert.equal(0, lib.vf_checker_new(loop.raw, state, 0, out))
    checker = out[0]
  end)

  after_each(function()
    if checker then lib.vf_checker_free(checker) end
    loop:close()
    for _, server in ipairs(servers) do stop(server) end
    uv.run "nowait"
  end)

  it("finds backends up and down with the first check, at once", function()
    local good, bad = serve(answering(200)), serve(answering(500))
    local closed = refusing()
    local began = uv.hrtime()
    publish {
      { name = "good", port = good.port, health = { interval_ms = 60000 } },
      { name = "bad", port = bad.port, health = { interval_ms = 60000 } },
      { name = "closed", port = closed.port, health = { interval_ms = 60000 } },
      { name = "unchecked", port = closed.port },
    }
    becomes("good", UP)
    becomes("bad", DOWN)
    becomes("closed", DOWN)
    assert.is_true((uv.hrtime() - began) / 1e6 < 60000) -- the second would be then
    assert.same({ "status 200", "status 500, expected 200", "connect: ECONNREFUSED" },
      { reason "good", reason "bad", reason "closed" })
    assert.same({ 200, 500, 0 },
      { backend("good").last_status, backend("bad").last_status, backend("closed").last_status })
    assert.equal(UNKNOWN, backend("unchecked").health)
    assert.same({ 3, 2 }, { checks(), tonumber(state.blocks[0].totals.check_failures) })
  end)

  it("asks what the configuration says", function()
    local server = serve(answering(204))
    publish { { name = "a", port = server.port, health = { path = "/ping?x=1", low = 200, high = 299 } } }
    becomes("a", UP)
    assert.equal("GET /ping?x=1 HTTP/1.1\r\nHost: 127.0.0.1:" .. server.port ..
      "\r\nUser-Agent: veloflux-health\r\nAccept: */*\r\nConnection: close\r\n\r\n", server.requests[1])
    assert.equal("status 204", reason "a")
  end)

  it("follows rise and fall", function()
    local status = 200
    local server = serve(function(conn) answering(status)(conn) end)
    publish { { name = "a", port = server.port, health = { interval_ms = 20, rise = 3, fall = 2 } } }
    becomes("a", UP)
    status = 503
    local before = #server.requests
    becomes("a", DOWN)
    assert.is_true(#server.requests - before >= 2)
    status, before = 200, #server.requests
    becomes("a", UP)
    assert.is_true(#server.requests - before >= 3)
  end)

  it("keeps its interval, give or take ten per cent", function()
    local times = {}
    local server = serve(function(conn)
      times[#times + 1] = uv.hrtime() / 1e6
      answering(200)(conn)
    end)
    publish { { name = "a", port = server.port, health = { interval_ms = 100 } } }
    loop:drive(function() -- a machine that is busy for a moment makes some of them late, and the next ones early
      local mean = #times >= 6 and (times[#times] - times[#times - 5]) / 5
      return mean and mean > 85 and mean < 160
    end, "five checks in time")
  end)

  it("times out, and says after how long", function()
    local server = serve(function() end)
    publish { { name = "a", port = server.port, health = { interval_ms = 5000, timeout_ms = 50 } } }
    becomes("a", DOWN)
    assert.equal("timeout after 50ms", reason "a")
    loop:drive(function() return next(server.open) == nil end, "the connection to close")
  end)

  it("does not blame a backend for the time in which it did not run itself", function()
    local waiting
    local server = serve(function(conn) waiting = conn end)
    publish { { name = "a", port = server.port, health = { interval_ms = 60000, timeout_ms = 150 } } }
    loop:drive(function() return waiting end)
    uv.sleep(400) -- neither loop runs: as if the process were stopped
    loop:drive_for(30)
    answering(200)(waiting)
    becomes("a", UP)
  end)

  it("reads interim answers, slow heads and long bodies", function()
    local interim = serve(function(conn)
      conn:write "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
      conn:write "Content-Length: 0\r\n\r\n"
    end)
    local slow = serve(function(conn)
      local text = "HTTP/1.1 200 OK\r\n\r\n"
      local timer, i = uv.new_timer(), 0
      timer:start(0, 1, function()
        i = i + 1
        if i > #text then
          timer:close()
          conn:shutdown()
        else
          conn:write(text:sub(i, i))
        end
      end)
    end)
    local ended
    local long = serve(function(conn)
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" .. ("x"):rep(100000), function(err)
        ended = err or "sent"
        conn:shutdown()
      end)
    end)
    publish {
      { name = "interim", port = interim.port, health = {} },
      { name = "slow", port = slow.port, health = {} },
      { name = "long", port = long.port, health = {} },
    }
    for _, name in ipairs { "interim", "slow", "long" } do becomes(name, UP) end
    loop:drive(function() return ended ~= nil end)
    assert.equal("sent", ended)
  end)

  it("finds fault with what is no answer", function()
    local noise = serve(function(conn) conn:write "SSH-2.0-OpenSSH_9\r\n" end)
    local mute = serve(function(conn) conn:shutdown() end)
    local endless = serve(function(conn) conn:write("HTTP/1.1 200 " .. ("x"):rep(20000)) end)
    publish {
      { name = "noise", port = noise.port, health = {} },
      { name = "mute", port = mute.port, health = {} },
      { name = "endless", port = endless.port, health = {} },
    }
    for _, name in ipairs { "noise", "mute", "endless" } do becomes(name, DOWN) end
    assert.same({ "malformed answer", "closed before an answer", "malformed answer" },
      { reason "noise", reason "mute", reason "endless" })
  end)

  it("is content with a connection when the check is TCP", function()
    local server = serve()
    local closed = refusing()
    publish {
      { name = "a", port = server.port, health = { type = "tcp" } },
      { name = "b", port = closed.port, health = { type = "tcp" } },
    }
    becomes("a", UP)
    becomes("b", DOWN)
    assert.same({ "connected", "connect: ECONNREFUSED" }, { reason "a", reason "b" })
  end)

  it("introduces itself where the pool speaks the PROXY protocol", function()
    local server = serve(answering(200))
    publish({ { name = "a", port = server.port, health = {} } }, { proxy_protocol = 1 })
    becomes("a", UP)
    assert.matches("^PROXY UNKNOWN\r\nGET /health ", server.requests[1])
  end)

  it("resolves names, and tries every address of one", function()
    local server = serve(answering(200)) -- on 127.0.0.1 only
    publish {
      { name = "named", host = "localhost", port = server.port, health = {} },
      { name = "nowhere", host = "nowhere.invalid", port = 80, health = {} },
    }
    becomes("named", UP)
    becomes("nowhere", DOWN)
    assert.matches("^resolve: ", reason "nowhere")
  end)

  it("keeps the schedule of a backend over a reload, and checks anew what has changed", function()
    local server = serve(answering(200))
    local health = { interval_ms = 60000 }
    publish { { name = "a", port = server.port, health = health } }
    becomes("a", UP)
    publish { { name = "b", port = server.port, health = health }, { name = "a", port = server.port, health = health } }
    becomes("b", UP)
    loop:drive_for(30)
    assert.equal(2, checks())
    health.path = "/other"
    publish { { name = "b", port = server.port, health = health } }
    loop:drive(function() return checks() == 3 end)
    assert.matches("^GET /other ", server.requests[3])
  end)

  it("makes a backend unknown when its check is taken away", function()
    local server = serve(answering(500))
    state.backend_slots[fixture.slot "a"].id = fixture.id "a"
    publish { { name = "a", port = server.port, health = {} } }
    becomes("a", DOWN)
    publish { { name = "a", port = server.port } }
    assert.same({ UNKNOWN, "" }, { backend("a").health, reason "a" })
  end)

  it("leaves the slot of a removed backend alone when it has a new owner", function()
    local server = serve(answering(500))
    state.backend_slots[fixture.slot "a"].id = fixture.id "a"
    publish { { name = "a", port = server.port, health = {} } }
    becomes("a", DOWN)
    state.backend_slots[fixture.slot "a"].id = 99
    publish {}
    assert.equal(DOWN, backend("a").health)
  end)

  it("may be freed in the middle of checks", function()
    local server = serve(function() end)
    publish {
      { name = "a", port = server.port, health = {} },
      { name = "b", host = "nowhere.invalid", port = 80, health = {} },
    }
    loop:drive(function() return #server.requests > 0 end)
    lib.vf_checker_free(checker)
    checker = nil
  end)

  it("checks hundreds with one socket each, and no more than it may", function()
    local server = serve(answering(200))
    local backends = {}
    for i = 1, 600 do
      backends[i] = { name = "many" .. i, port = server.port, health = { interval_ms = 60000, timeout_ms = 10000 } }
    end
    publish(backends)
    loop:drive(function() return checks() == 600 end)
    for i = 1, 600 do assert.equal(UP, backend("many" .. i).health) end
  end)
end)

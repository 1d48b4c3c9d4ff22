--- The limits of the conf file, and what is at stake behind each.
local ffi = require "ffi"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"
local servers = require "support.server"

ffi.cdef [[
struct vf_spec_rlimit { uint64_t cur, max; };
int prlimit(int pid, int resource, const struct vf_spec_rlimit *new_limit, struct vf_spec_rlimit *old_limit);
]]

local RLIMIT_NOFILE = 7
local MEGABYTE = 1024 * 1024

local function assert_problem(status, code, response)
  assert.same({ status, code }, { response.status, rig.code(response) })
end

describe("body_bytes", function()
  it("refuses a length before anything is sent on", loop.spec(function()
    local origin = origins.start()
    local server = rig.start({ origin }, { conf = { limits = { body_bytes = "1k" } } })
    assert.equal(1024, #rig.seen(clients.request(server.ports.http, "POST", "/", nil, ("x"):rep(1024))).body)
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n"
    local response = client:read_response "POST"
    assert_problem(413, "body_too_large", response)
    assert.equal("close", response:get "connection")
    client:close()
    assert.equal(1, #origin.requests)
    server:stop()
  end))

  it("refuses chunks as soon as they are too many", loop.spec(function()
    local origin = origins.start()
    local server = rig.start({ origin }, { conf = { limits = { body_bytes = "1k" } } })
    local client = clients.connect(server.ports.http)
    local chunk = "200\r\n" .. ("x"):rep(512) .. "\r\n"
    client:send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunk .. chunk .. "0\r\n\r\n")
    assert.equal(1024, #rig.seen(client:read_response "POST").body)
    client:send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunk)
    origin:wait_requests(2)
    client:send { chunk, "1\r\n" }
    client:send "x\r\n0\r\n\r\n"
    assert_problem(413, "body_too_large", client:read_response "POST")
    origin.changed:wait("the end of the second request", function() return origin.connections[1].ended end)
    assert.is_falsy(origin.requests[2].complete)
    client:close()
    server:stop()
  end))

  it("is that of the route, else of the pool", loop.spec(function()
    local conf = rig.conf({ origins.start() }, { pool = { limits = { body_bytes = 20 } } })
    conf.limits = { body_bytes = 10 }
    conf.routes[2] = { name = "small", path_prefix = "/small", pool = "web", limits = { body_bytes = 5 } }
    conf.routes[3] = { name = "any", path_prefix = "/any", pool = "web", limits = { body_bytes = "off" } }
    conf.routes[4] = { name = "fixed", path_prefix = "/fixed", respond = { body = "fixed" } }
    local server = servers.start { conf = conf }
    local function status(path, size)
      return clients.request(server.ports.http, "POST", path, nil, ("x"):rep(size)).status
    end
    assert.same({ 200, 413 }, { status("/", 20), status("/", 21) })
    assert.same({ 200, 413 }, { status("/small", 5), status("/small", 6) })
    assert.same({ 200, 200 }, { status("/any", 5), status("/any", 100000) })
    assert.same({ 200, 413 }, { status("/fixed", 10), status("/fixed", 11) })
    server:stop()
  end))
end)

describe("limits of the head", function()
  local shared, server = loop.scope(), nil
  setup(shared:spec(function()
    local conf = rig.conf({ origins.start() },
      { conf = { limits = { header_bytes = "2k", header_count = 10, uri_bytes = 200 } } })
    conf.listeners = {
      { name = "http", address = "127.0.0.1:0" },
      { name = "wide", address = "127.0.0.1:0",
        limits = { header_bytes = "64k", uri_bytes = "16k", header_count = 300 } },
    }
    server = servers.start { conf = conf }
  end))
  teardown(rig.closer(shared, function() return server end))

  local function answer(head, listener)
    local client = clients.connect(server.ports[listener or "http"])
    client:send(head .. "\r\n\r\n")
    local response = client:read_response()
    client:close()
    return response
  end

  it("refuse long targets with 414", shared:spec(function()
    assert.equal(200, answer("GET /" .. ("x"):rep(199) .. " HTTP/1.1\r\nHost: a").status)
    assert_problem(414, "uri_too_long", answer("GET /" .. ("x"):rep(200) .. " HTTP/1.1\r\nHost: a"))
    assert_problem(414, "uri_too_long", answer("GET /" .. ("x"):rep(10000) .. " HTTP/1.1\r\nHost: a"))
    assert.equal(200, answer("GET /" .. ("x"):rep(10000) .. " HTTP/1.1\r\nHost: a", "wide").status)
  end))

  it("refuse large and many fields with 431", shared:spec(function()
    local nine = ("X-A: b\r\n"):rep(9)
    assert.equal(200, answer("GET / HTTP/1.1\r\n" .. nine .. "Host: a").status)
    assert_problem(431, "too_many_headers", answer("GET / HTTP/1.1\r\nX-B: c\r\n" .. nine .. "Host: a"))
    assert_problem(431, "header_too_large", answer("GET / HTTP/1.1\r\nHost: a\r\nX-Large: " .. ("x"):rep(2048)))
    assert.equal(200, answer("GET / HTTP/1.1\r\nHost: a\r\nX-Large: " .. ("x"):rep(2048), "wide").status)
    assert.equal(200, answer("GET / HTTP/1.1\r\n" .. ("X-A: b\r\n"):rep(299) .. "Host: a", "wide").status)
  end))

  it("refuse a head that never ends, without waiting for its end", shared:spec(function()
    local client = clients.connect(server.ports.http)
    client:send("GET / HTTP/1.1\r\nHost: a\r\nX-Large: " .. ("x"):rep(4000))
    assert_problem(431, "header_too_large", client:read_response())
    client:close()
  end))
end)

describe("connections", function()
  it("are a ceiling: whoever comes later waits, and is served in time", loop.spec(function()
    local origin = origins.start()
    local server = rig.start({ origin }, { conf = { limits = { connections = 3 } } })
    local open = {}
    for i = 1, 3 do
      open[i] = clients.connect(server.ports.http)
      open[i]:request("GET", "/" .. i)
      assert.equal(200, open[i]:read_response().status)
    end
    local waiting = clients.connect(server.ports.http) -- by the kernel
    waiting:request("GET", "/waiting")
    server:wait_log "listener%.full .*connections=3"
    for i = 1, 3 do -- those inside go on
      open[i]:request("GET", "/again")
      assert.equal(200, open[i]:read_response().status)
    end
    assert.equal(6, #origin.requests)
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    open[2]:close()
    assert.equal("/waiting", rig.seen(waiting:read_response()).target)
    waiting:close()
    local tasks = {}
    for i = 1, 10 do
      tasks[i] = function() assert.equal("/" .. i, rig.seen(clients.get(server.ports.http, "/" .. i)).target) end
    end
    clients.together(unpack(tasks))
    local lines = 0
    for _, line in ipairs(server:log_lines()) do lines = lines + (line:find("listener.full", 1, true) and 1 or 0) end
    assert.equal(1, lines) -- although it was full again and again
    open[1]:close()
    open[3]:close()
    server:stop()
  end))
end)

describe("descriptors", function()
  it("that run out while nobody is connected are waited for", loop.spec(function()
    local server = rig.start({ origins.start() })
    local pid, usual, none = rig.worker(server), ffi.new "struct vf_spec_rlimit", ffi.new "struct vf_spec_rlimit"
    assert.equal(200, clients.get(server.ports.http, "/").status)
    assert.equal(0, ffi.C.prlimit(pid, RLIMIT_NOFILE, nil, usual))
    none.max = usual.max
    assert.equal(0, ffi.C.prlimit(pid, RLIMIT_NOFILE, none, nil))
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    children.eventually("a failure to accept", function()
      local metrics = clients.get(server.ports.admin, "/metrics").body
      return tonumber(metrics:match "\nveloflux_accept_failures_total (%d+)") > 0
    end)
    assert.equal(0, ffi.C.prlimit(pid, RLIMIT_NOFILE, usual, nil))
    assert.equal(200, client:read_response().status)
    client:close()
    server:stop()
  end))
end)

describe("buffer_memory", function()
  local function resident(server)
    return tonumber(children.status(rig.worker(server), "VmRSS"):match "%d+") / 1024
  end

  it("bounds what is held for readers that stand still; when they go on, nothing is lost", loop.spec(function()
    local piece = ("0123456789abcdef"):rep(64 * 1024 / 16)
    local origin = origins.start(function(conn)
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      for _ = 1, 4 * MEGABYTE / #piece do conn:write(("%x\r\n"):format(#piece) .. piece .. "\r\n") end
      conn:write "0\r\n\r\n"
    end)
    local server = rig.start({ origin }, { conf = { limits = { buffer_memory = "1m" } } })
    local before, still = resident(server), {}
    for i = 1, 40 do
      still[i] = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
      still[i]:request("GET", "/" .. i)
    end
    origin:wait_requests(40)
    children.pause(100) -- let it read whatever it would
    local bound = os.getenv "VF_SAN" and 100 or 8
    assert.is_true(resident(server) - before < bound, ("%d MB more than before"):format(resident(server) - before))
    for i = 1, 40 do
      still[i].stream:resume()
      local response = still[i]:read_response()
      assert.same({ true, 4 * MEGABYTE }, { response.complete, #response.body })
      still[i]:close()
    end
    server:stop()
  end))
end)

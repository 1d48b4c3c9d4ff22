--- How an instance starts, says that it is there, and stops.
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"

-- A conf with one pool, the backends of which are `...` (origins).
local function conf_of(...)
  local backends = {}
  for i, origin in ipairs { ... } do backends[i] = { address = "127.0.0.1:" .. origin.port } end
  return { pools = { { name = "web", backends = backends } }, routes = { { name = "all", pool = "web" } } }
end

local function with(conf, changes)
  for key, value in pairs(changes) do conf[key] = value end
  return conf
end

local function listening_socket()
  local tcp = uv.new_tcp()
  assert(tcp:bind("127.0.0.1", 0))
  assert(tcp:listen(1, function() end))
  loop.defer(function() tcp:close() end)
  return tcp:getsockname().port
end

-- Runs `run -c` on a conf that cannot work. Returns exit code and what it wrote to standard error.
local function run_bad(conf)
  local dir = tempdir.new()
  tempdir.write(dir .. "/veloflux.yaml", servers.encode(conf))
  local code, _, err = servers.command { "run", "-c", dir .. "/veloflux.yaml" }
  return code, err
end

describe("starting and stopping", function()
  it("serves, with one process for each part, and stops on SIGTERM", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = with(conf_of(origin), { workers = 2 }) }
    assert.equal(200, clients.get(server.ports.http, "/").status)
    local running = children.of(server.pid)
    assert.same({ 1, 1, 1, 1, 4 },
      { #running.control, #running.checker, #running.worker[1], #running.worker[2], running.count })
    server:stop()
    assert.is_false(children.is_alive(running.worker[1][1]))
    for _, name in ipairs { "veloflux.pid", "control.sock" } do
      assert.is_nil(uv.fs_stat(server.dir .. "/data/" .. name))
    end
  end))

  it("serves a listener with the longest name", loop.spec(function()
    local name = ("n"):rep(64)
    local server = servers.start { conf = with(conf_of(origins.start()), {
      listeners = { { name = name, address = "127.0.0.1:0" } } }) }
    assert.equal(200, clients.get(server.ports[name], "/").status)
    server:stop()
  end))

  -- The first worker that is READY serves for all of them, so it holds all sockets: more than a thousand here.
  it("serves many listeners with many workers", loop.spec(function()
    local listeners = {}
    for i = 1, 60 do listeners[i] = { name = "l" .. i, address = "127.0.0.1:0" } end
    local server = servers.start { conf = with(conf_of(origins.start()), { workers = 18, listeners = listeners }) }
    for i = 1, 60 do assert.equal(200, clients.get(server.ports["l" .. i], "/").status) end
    server:stop()
  end))

  local function finishes(signal) it("finishes what is under way on " .. signal, loop.spec(function()
    local go = loop.condition()
    local may_answer, has_request = false, false
    local origin = origins.start(function(conn)
      has_request = true
      go:notify()
      go:wait("permission to answer", function() return may_answer end)
      conn:write(origins.response(200, nil, "late"))
    end)
    local server = servers.start { conf = conf_of(origin) }
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    go:wait("the request", function() return has_request end)
    server:signal(signal)
    server:wait_log "stopping"
    may_answer = true
    go:notify()
    local response = client:read_response()
    assert.same({ 200, "late" }, { response.status, response.body })
    client:expect_end()
    assert.equal(0, server.process:wait_exit().code)
  end)) end
  finishes "sigterm"
  finishes "sigquit"

  it("stops at once on a second SIGTERM", loop.spec(function()
    local origin = origins.start(function(conn) conn:read_some "nothing" end)
    local server = servers.start { conf = conf_of(origin) }
    local client = clients.connect(server.ports.http)
    client:request("GET", "/")
    origin:wait_requests(1)
    server:signal "sigterm"
    server:wait_log "stopping"
    server:signal "sigint"
    assert.equal(0, server.process:wait_exit().code)
    client:expect_end()
  end))

  it("refuses a second instance on the same data directory and names the first", loop.spec(function()
    local server = servers.start { conf = conf_of(origins.start()) }
    local code, _, err = servers.command { "run", "-c", server.file }
    assert.equal(1, code)
    assert.matches(("data_dir: %s/data is in use by process %d"):format(server.dir:gsub("%-", "%%-"), server.pid), err)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("says which address is in use", loop.spec(function()
    local port = listening_socket()
    local address = "127.0.0.1:" .. port
    local code, err = run_bad(with(conf_of(), {
      pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } },
      listeners = { { name = "a", address = "127.0.0.1:0" }, { name = "b", address = address } },
    }))
    assert.equal(1, code)
    assert.matches("listeners%[1%]%.address: " .. address:gsub("%.", "%%.") .. " is in use", err)
    code, err = run_bad(with(conf_of(), {
      pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } },
      admin = { address = address, auth = { enabled = false } },
    }))
    assert.equal(1, code)
    assert.matches("admin%.address: " .. address:gsub("%.", "%%.") .. " is in use", err)
  end))

  it("ends with every problem of a bad conf file", loop.spec(function()
    local code, err = run_bad "pools:\n- { name: web, algoritm: random, backends: [] }\nworkers: many\n"
    assert.equal(1, code)
    assert.matches("veloflux%.yaml:2: pools%[0%]%.algoritm: unknown key, did you mean algorithm%?", err)
    assert.matches("veloflux%.yaml:3: workers:", err)
  end))

  it("keeps a pid file while it runs, where the conf says", loop.spec(function()
    local conf = with(conf_of(origins.start()), { pid_file = "first.pid" })
    local server = servers.start { conf = conf }
    assert.equal(("%d\n"):format(server.pid), tempdir.read(server.dir .. "/first.pid"))
    conf.pid_file = "second.pid"
    server:write_conf(conf)
    server:signal "sighup"
    server:wait_log "reload.done"
    assert.is_nil(tempdir.read(server.dir .. "/first.pid"))
    assert.equal(("%d\n"):format(server.pid), tempdir.read(server.dir .. "/second.pid"))
    server:stop()
    assert.is_nil(tempdir.read(server.dir .. "/second.pid"))
  end))

  it("lets its children drain and end when it is killed", loop.spec(function()
    local server = servers.start { conf = with(conf_of(origins.start()), { workers = 2 }) }
    local running = children.of(server.pid)
    uv.kill(server.pid, "sigkill")
    for _, pid in ipairs { running.control[1], running.checker[1], running.worker[1][1], running.worker[2][1] } do
      children.wait_gone(pid)
    end
    server.process:wait_exit()
  end))

  it("forwards from one address to another without a conf file", loop.spec(function()
    local origin = origins.start()
    local port = listening_socket() -- in use by us: shows the message, then a free one serves
    local code, _, err = servers.command { "proxy", "--from", "127.0.0.1:" .. port, "--to", "127.0.0.1:1" }
    assert.equal(1, code)
    assert.matches("is in use", err)
    local proxy = process.spawn(servers.binary(),
      { "proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:" .. origin.port })
    local line = proxy:wait_line(proxy.stderr, '"name":"http","address":"127.0.0.1:(%d+)"')
    proxy:wait_line(proxy.stderr, '"ready"')
    assert.equal(200, clients.get(tonumber(line[2]), "/").status)
    proxy:signal "sigterm"
    assert.equal(0, proxy:wait_exit().code)
  end))
end)

describe("the service manager", function()
  -- A datagram socket that a service manager would listen on, through a helper, because luv has none of its kind.
  local function manager()
    local path = tempdir.new() .. "/notify"
    local script = ([[
      local ffi = require "ffi"
      ffi.cdef "int socket(int, int, int); int bind(int, const void *, unsigned); long recv(int, void *, size_t, int);"
      ffi.cdef "struct sockaddr_un { unsigned short family; char path[108]; };"
      local fd = ffi.C.socket(1, 2, 0) -- AF_UNIX, SOCK_DGRAM
      local name = ffi.new("struct sockaddr_un", 1, %q)
      assert(ffi.C.bind(fd, name, ffi.sizeof(name)) == 0)
      local buffer = ffi.new "char[4096]"
      print "bound"
      while true do
        io.stdout:flush()
        print((ffi.string(buffer, ffi.C.recv(fd, buffer, 4096, 0)):gsub("\n", " ")))
      end
    ]]):format(path)
    local helper = process.spawn(uv.exepath(), { "-e", script })
    helper:wait_line(helper.stdout, "bound")
    return helper, path
  end

  it("hears of start, reload, upgrade and stop", loop.spec(function()
    local helper, path = manager()
    local server = servers.start { conf = conf_of(origins.start()), env = { NOTIFY_SOCKET = path } }
    local at = helper:wait_line(helper.stdout, "^READY=1 MAINPID=" .. server.pid)[1]
    server:signal "sighup"
    at = helper:wait_line(helper.stdout, "^RELOADING=1 MONOTONIC_USEC=%d+$", at + 1)[1]
    at = helper:wait_line(helper.stdout, "^READY=1", at + 1)[1]
    server:signal "sigusr2"
    at = helper:wait_line(helper.stdout, "^RELOADING=1", at + 1)[1]
    at = helper:wait_line(helper.stdout, "^READY=1 MAINPID=" .. server.pid, at + 1)[1]
    server:stop()
    helper:wait_line(helper.stdout, "^STOPPING=1", at + 1)
  end))
end)

describe("privileges", function()
  local is_root = uv.getuid() == 0
  local function root_only(name, body)
    if is_root then it(name, loop.spec(body)) else pending(name .. " (needs root)") end
  end

  root_only("are dropped by everybody but the supervisor", function()
    local server = servers.start { conf = with(conf_of(origins.start()), { user = "nobody" }) }
    local running = children.of(server.pid)
    local nobody = "65534%s+65534%s+65534%s+65534"
    for _, pid in ipairs { running.control[1], running.checker[1], running.worker[1][1] } do
      assert.matches(nobody, children.status(pid, "Uid"))
      assert.equal("1", children.status(pid, "NoNewPrivs"))
    end
    assert.matches("^0%s", children.status(server.pid, "Uid"))
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end)

  root_only("that are missing are an error before anything is published", function()
    local conf = with(conf_of(), {
      pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } },
      listeners = { { name = "low", address = "127.0.0.1:81" } },
    })
    local dir = tempdir.new()
    tempdir.write(dir .. "/veloflux.yaml", servers.encode(conf))
    assert(uv.fs_chmod(dir, tonumber("777", 8)))
    local code, _, err = process.run("/usr/bin/setpriv",
      { "--reuid=65534", "--regid=65534", "--clear-groups", servers.binary(), "run", "-c", dir .. "/veloflux.yaml" })
    assert.equal(1, code)
    assert.matches("listeners%[0%]%.address: 127%.0%.0%.1:81 needs privileges to bind", err)
  end)
end)

--- What tenants have used: exact to the request through crashes and restarts of everything.
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local traffics = require "support.traffic"

local CLIENTS = 6

local function conf_for(origin, data_dir)
  return {
    data_dir = data_dir, workers = 2,
    tenants = { { name = "acme", hosts = { "acme.example" } } },
    pools = { { name = "web", shared = true, backends = { { address = "127.0.0.1:" .. origin.port } } } },
    routes = { { name = "all", pool = "web" }, { name = "theirs", tenant = "acme", pool = "web" } },
  }
end

-- Starts by way of a shell script; `prelude` runs before.
local function start(conf, prelude)
  local script = tempdir.new() .. "/veloflux"
  tempdir.write(script, ("#!/bin/sh\n%s\nexec %s \"$@\"\n"):format(prelude, servers.binary()))
  assert(uv.fs_chmod(script, tonumber("755", 8)))
  local original = servers.binary
  servers.binary = function() return script end
  local ok, server = pcall(servers.start, { conf = conf })
  servers.binary = original
  return ok and server or error(server, 0)
end

-- In a process group of its own, which is killed as one.
local function start_group(conf)
  return start(conf, '[ -n "$IN_SESSION" ] || IN_SESSION=1 exec setsid "$0" "$@"')
end

local function kill_group(server)
  local pids = server.process:children()
  assert(uv.kill(-server.pid, "sigkill"))
  server.process:wait_exit()
  for _, pid in ipairs(pids) do children.wait_gone(pid) end
end

local function metric(server, pattern)
  local text = clients.get(server.ports.admin, "/metrics").body
  return tonumber(text:match("\n" .. pattern .. " (%d+)")) or error("no " .. pattern .. " in\n" .. text, 2)
end

local function requests_of(server, tenant)
  return metric(server, ('veloflux_tenant_requests_total{tenant="%s"}'):format(tenant))
end

local function bytes_out_of(server, tenant)
  return metric(server, ('veloflux_tenant_bandwidth_bytes{tenant="%s",direction="out"}'):format(tenant))
end

describe("what tenants have used", function()
  it("is all that clients were answered, when everything is killed under load", loop.spec(function()
    local origin, data_dir = origins.start(), tempdir.new()
    local answered, most = 0, 0
    for _ = 1, 3 do
      local server = start_group(conf_for(origin, data_dir))
      local before = requests_of(server, "default")
      assert.is_true(before >= answered and before <= most,
        ("%d counted, %d answered, at most %d sent"):format(before, answered, most))
      local traffic = traffics.start { port = server.ports.http, clients = CLIENTS }
      traffic:wait_answers(150)
      kill_group(server)
      traffic:stop()
      answered, most = answered + traffic.answers, most + traffic.answers + CLIENTS
    end
    local server = servers.start { conf = conf_for(origin, data_dir) }
    local counted = requests_of(server, "default")
    assert.is_true(counted >= answered and counted <= most,
      ("%d counted, %d answered, at most %d sent"):format(counted, answered, most))
    assert.equal(0, requests_of(server, "acme"))
    server:stop()
  end))

  it("is exact when a process is killed and when the server is stopped", loop.spec(function()
    local origin, data_dir = origins.start(), tempdir.new()
    local conf = conf_for(origin, data_dir)
    local server = servers.start { conf = conf }
    local bytes = 0
    for i = 1, 20 do
      if i == 10 then
        local victim = children.of(server.pid).worker[1][1]
        assert(uv.kill(victim, "sigkill"))
        children.wait_gone(victim)
      end
      local response = clients.get(server.ports.http, "/", { Host = "acme.example" })
      assert.equal(200, response.status)
      bytes = bytes + #response.body
    end
    children.eventually("all counted", function() return bytes_out_of(server, "acme") == bytes end)
    server:stop()
    conf.tenants = { { name = "newcomer", hosts = { "new.example" } }, conf.tenants[1] } -- other slots
    server = servers.start { conf = conf }
    assert.same({ 20, 0, 0, bytes },
      { requests_of(server, "acme"), requests_of(server, "newcomer"), requests_of(server, "default"),
        bytes_out_of(server, "acme") })
    assert.equal(200, clients.get(server.ports.http, "/", { Host = "acme.example" }).status)
    assert.equal(21, requests_of(server, "acme"))
    server:stop()
  end))

  it("includes what the children of a killed supervisor still finish", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn, request)
      if request.target == "/slow" then gate:wait("the gate", function() return is_open end) end
      conn:write(origins.response(200, nil, "done"))
    end)
    local data_dir = tempdir.new()
    local conf = conf_for(origin, data_dir)
    conf.timeouts = { drain = "1m", drain_idle = "10ms" }
    local first = servers.start { conf = conf }
    local slow = clients.connect(first.ports.http)
    slow:request("GET", "/slow")
    origin:wait_requests(1)
    local orphans = children.of(first.pid).worker
    assert(uv.kill(first.pid, "sigkill"))
    first.process:wait_exit()
    local second = servers.start { conf = conf }
    for _ = 1, 10 do assert.equal(200, clients.get(second.ports.http, "/").status) end
    assert.equal(10, requests_of(second, "default"))
    is_open = true
    gate:notify()
    assert.equal(200, slow:read_response().status)
    slow:close()
    assert.equal(11, requests_of(second, "default"))
    for _, pids in pairs(orphans) do children.wait_gone(pids[1]) end
    second:stop()
  end))

  it("begins anew, and says so, when the file is damaged", loop.spec(function()
    local data_dir = tempdir.new()
    tempdir.write(data_dir .. "/usage.counters", ("garbage"):rep(1000))
    local server = servers.start { conf = conf_for(origins.start(), data_dir) }
    local _, kept = server:wait_log "usage%.begun_anew.*kept_as=(%S+) reason="
    assert.equal(("garbage"):rep(1000), tempdir.read(data_dir .. "/" .. kept))
    assert.equal(0, requests_of(server, "default"))
    server:stop()
  end))

  it("is not begun where there is no room for it", loop.spec(function()
    local dir = tempdir.new()
    local file, script = dir .. "/veloflux.yaml", dir .. "/limited"
    assert(uv.fs_mkdir(dir .. "/data", 448))
    tempdir.write(file, servers.encode(conf_for(origins.start(), dir .. "/data")))
    -- a disk of 1 MiB, in a mount name space of its own
    tempdir.write(script, ("mount -t tmpfs -o size=1m none %s/data || exit 77; exec %s run -c %s"):format(dir,
      servers.binary(), file))
    local as_root = uv.getuid() == 0 and {} or { "--map-root-user" }
    as_root[#as_root + 1] = "--mount"
    as_root[#as_root + 1] = "/bin/sh"
    as_root[#as_root + 1] = script
    local code, out, err = process.run("/usr/bin/unshare", as_root)
    if code == 77 or err:find "^unshare: " then return pending("this machine lets nobody mount: " .. err) end
    assert.equal(1, code, out)
    assert.matches("start%.failed.*data_dir: cannot make %S+/usage%.counters %(usage counters%): No space left", err)
  end))
end)

--- Upgrades in place: the same process, the next binary, nobody cut off.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local traffics = require "support.traffic"

ffi.cdef "int setgroups(size_t, const uint32_t *);"

local function conf_for(origin)
  return {
    workers = 2,
    pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
    routes = { { name = "all", pool = "web" } },
    -- long enough for a client between two requests: it is told to close instead of being cut off
    timeouts = { drain = "20s", drain_idle = "20s", drain_long = "1h" },
  }
end

-- Starts a copy of the binary, so that a spec may put another in its place.
local function start_copy(origin, user)
  local dir = tempdir.new()
  local copy = dir .. "/veloflux"
  assert(uv.fs_copyfile(servers.binary(), copy))
  local original = servers.binary
  servers.binary = function() return copy end
  local conf = conf_for(origin)
  conf.user = user
  local ok, server = pcall(servers.start, { conf = conf })
  servers.binary = original
  return ok and server or error(server, 0), copy
end

local function replace(path, with)
  local new = path .. ".new"
  assert(uv.fs_copyfile(with, new))
  assert(uv.fs_chmod(new, tonumber("755", 8)))
  assert(uv.fs_rename(new, path))
end

describe("an upgrade", function()
  it("executes the new binary in the same process and loses no request", loop.spec(function()
    local server, path = start_copy(origins.start())
    local before = children.of(server.pid)
    local traffic = traffics.start { port = server.ports.http, clients = 6 }
    replace(path, servers.binary())
    for generation = 2, 3 do
      server:signal "sigusr2"
      server:wait_log("upgrade%.done.*generation=" .. generation)
      traffic:wait_answers(50)
    end
    assert.same({}, traffic:stop())
    local metrics = clients.get(server.ports.admin, "/metrics").body
    assert.equal(traffic.answers, tonumber(metrics:match 'tenant_requests_total{tenant="default"} (%d+)'))
    children.wait_gone(before.worker[1][1])
    children.eventually("one generation", function() return children.of(server.pid).count == 4 end)
    assert.equal(path, uv.fs_readlink(("/proc/%d/exe"):format(server.pid)))
    assert.equal(("%d\n"):format(server.pid), tempdir.read(server.dir .. "/data/veloflux.pid"))
    server:signal "sighup"
    server:wait_log "reload%.done.*version=2"
    assert.equal(200, clients.get(server.ports.admin, "/health").status)
    server:stop()
  end))

  it("changes nothing when the new binary fails its probe", loop.spec(function()
    local server, path = start_copy(origins.start())
    local before = children.of(server.pid)
    replace(path, "/bin/false")
    server:signal "sigusr2"
    server:wait_log 'upgrade%.rejected.*reason="the probe ended with exit code 1"'
    assert.same(before, children.of(server.pid))
    assert.equal(200, clients.get(server.ports.http, "/").status)
    replace(path, "/bin/true") -- exit code 0 is not enough
    server:signal "sigusr2"
    server:wait_log "upgrade%.rejected.*is not VeloFlux"
    assert.same(before, children.of(server.pid))
    replace(path, servers.binary())
    server:signal "sigusr2"
    server:wait_log "upgrade%.done.*generation=2"
    server:stop()
  end))

  local root_only = uv.getuid() == 0 and it or function(name) pending(name .. " (needs root)") end
  root_only("is probed without the privileges of the supervisor, its groups among them", loop.spec(function()
    local groups = ffi.new("uint32_t[1]", 4)
    assert.equal(0, ffi.C.setgroups(1, groups))
    local server, path = start_copy(origins.start(), "nobody")
    assert.equal(0, ffi.C.setgroups(0, groups))
    local source = server.dir .. "/probe.c"
    tempdir.write(source, [[
      #include <stdio.h>
      #include <unistd.h>
      int main(void)
      {
          gid_t groups[16];
          int n = getgroups(16, groups);
          fprintf(stderr, "probe uid=%d gid=%d", (int)getuid(), (int)getgid());
          for (int i = 0; i < n; i++)
              fprintf(stderr, " group=%d", (int)groups[i]);
          fprintf(stderr, " end\n");
          return 0;
      }]])
    assert.equal(0, (process.run("/usr/bin/env", { "cc", "-o", server.dir .. "/probe", source })))
    replace(path, server.dir .. "/probe")
    server:signal "sigusr2"
    server:wait_log "upgrade%.rejected.*is not VeloFlux"
    local line = server:wait_log "^probe uid="
    assert.equal("probe uid=65534 gid=65534 group=65534 end", server:log_lines()[line])
    server:stop()
  end))

  it("is refused while the conf file is bad", loop.spec(function()
    local server = start_copy(origins.start())
    server:write_conf "pools: 1\n"
    server:signal "sigusr2"
    server:wait_log "upgrade%.rejected"
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("lets a tunnel of the old generation live on, and three generations at most", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request:get "upgrade" then
        conn:write "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        while true do
          local bytes = conn:read_some "tunnel bytes"
          if not bytes then return end
          conn:write(bytes)
        end
      end
      conn:write(origins.response(200))
    end)
    local server = start_copy(origin)
    local tunnels = {}
    local function open_tunnel()
      local client = clients.connect(server.ports.http)
      client:request("GET", "/", { Connection = "Upgrade", Upgrade = "echo" })
      assert.equal(101, client:read_head().status)
      tunnels[#tunnels + 1] = client
    end
    for generation = 2, 3 do
      open_tunnel()
      server:signal "sigusr2"
      server:wait_log("upgrade%.done.*generation=" .. generation)
    end
    open_tunnel()
    server:signal "sigusr2"
    server:wait_log 'upgrade%.rejected.*reason="three generations are running'
    for _, client in ipairs(tunnels) do
      client:send "ping"
      assert.equal("ping", client.stream:read_exact(4))
      client:close()
    end
    children.eventually("one generation", function() return children.of(server.pid).count == 4 end)
    server:stop()
  end))
end)

-- The sizes of a backend's state and of a slot stand side by side in the data that the layout hash is made from.
local function layout_bytes()
  local header = assert(tempdir.read "src/snapshot/state.h"):gsub("_Atomic ", "")
  for _, name in ipairs { "vf_backend_state", "vf_state_slot" } do
    ffi.cdef((assert(header:match("\nstruct " .. name .. " {.-\n};"))))
  end
  local sizes = ffi.new("uint64_t[4]", ffi.sizeof "struct vf_backend_state",
    ffi.offsetof("struct vf_backend_state", "reason"), ffi.offsetof("struct vf_backend_state", "drain"),
    ffi.sizeof "struct vf_state_slot")
  return ffi.string(sizes, ffi.sizeof(sizes))
end

-- A copy of the binary that takes state areas of its own for those of another layout, and the other way round.
local function copy_of_other_layout(path)
  local bytes, needle = assert(tempdir.read(servers.binary())), layout_bytes()
  local at = assert(bytes:find(needle, 1, true), "the layout is not in the binary")
  assert(not bytes:find(needle, at + 1, true), "it is there twice")
  tempdir.write(path, bytes:sub(1, at - 1) .. string.char(bytes:byte(at) + 1) .. bytes:sub(at + 1))
  assert(uv.fs_chmod(path, tonumber("755", 8)))
end

local function counter(server, pattern)
  local text = clients.get(server.ports.admin, "/metrics").body
  return tonumber(text:match("\nveloflux_" .. pattern .. " (%d+)"))
end

describe("an upgrade to a binary with another state area", function()
  it("loses no request and nothing of what tenants use; other counters begin anew", loop.spec(function()
    local server, path = start_copy(origins.start())
    local other = tempdir.new() .. "/other"
    copy_of_other_layout(other)
    local traffic = traffics.start { port = server.ports.http, clients = 6 }
    for generation, binary in ipairs { false, other, servers.binary() } do
      if binary then
        replace(path, binary)
        traffic:wait_answers(100)
        local before, at = traffic.answers, #server:log_lines() + 1
        server:signal "sigusr2"
        server:wait_log('upgrade%.state_renewed.*counters begin anew', at)
        server:wait_log("upgrade%.done.*generation=" .. generation, at)
        traffic:wait_answers(100)
        local requests = counter(server, 'http_requests_total{status="2xx"}')
        assert.is_true(requests > 0 and requests <= traffic.answers - before + 6)
      end
    end
    assert.same({}, traffic:stop())
    children.eventually("one generation", function() return children.of(server.pid).count == 4 end)
    assert.equal(traffic.answers, counter(server, 'tenant_requests_total{tenant="default"}'))
    server:stop()
  end))
end)

describe("the handover table", function()
  it("is refused by a probe that does not understand it", loop.spec(function()
    local file = tempdir.new() .. "/table"
    tempdir.write(file, "veloflux-handover 999\nend\n")
    local code = process.run("/bin/sh", { "-c", 'exec "$0" --role=probe 3<"$1"', servers.binary(), file })
    assert.equal(1, code)
  end))
end)

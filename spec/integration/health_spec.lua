--- Health in the running proxy: active checks, passive ejection, failover; what clients see of it.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

-- Answers with the origin's name; /health with `origin.status`.
local function handler(conn, request)
  local status = request.target == "/health" and request.origin.status or 200
  conn:write(origins.response(status, nil, request.origin.name, request.method))
end

local function start_origin(name)
  local origin = origins.start(handler, { name = name })
  origin.status = 200
  return origin
end

local function address(origin) return { address = "127.0.0.1:" .. origin.port } end

local CHECK = { type = "http", path = "/health", interval = "100ms", timeout = "1m", rise = 2, fall = 2 }

local function start(origins_used, pool)
  local backends = {}
  for i, origin in ipairs(origins_used) do backends[i] = address(origin) end
  local web = { name = "web", backends = backends }
  for key, value in pairs(pool or {}) do web[key] = value end
  return servers.start { conf = { pools = { web }, routes = { { name = "site", path_prefix = "/", pool = "web" } } } }
end

-- GETs `n` times; returns how many answers came from whom (or with which status, when not 200).
local function tally(server, n)
  local counts = {}
  for _ = 1, n do
    local response = clients.get(server.ports.http, "/")
    local key = response.status == 200 and response.body or response.status
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

local function wait_state(server, state, origin, from)
  return server:wait_log(("backend%%.%s .*backend=127%%.0%%.0%%.1:%d%%s"):format(state, origin.port), from)
end

describe("active health", function()
  it("takes a failing backend out and back, and says why", loop.spec(function()
    local a, b = start_origin "a", start_origin "b"
    local server = start({ a, b }, { health_check = CHECK })
    wait_state(server, "up", a)
    wait_state(server, "up", b)
    assert.same({ a = 5, b = 5 }, tally(server, 10))
    b.status = 500
    local line = wait_state(server, "down", b)
    assert.matches('reason="status 500, expected 200"', server:log_lines()[line])
    assert.same({ a = 10 }, tally(server, 10))
    b.status = 200
    wait_state(server, "up", b, line)
    assert.same({ a = 5, b = 5 }, tally(server, 10))
    server:stop()
  end))

  it("answers 503 when every backend is down, and serves again when one is back", loop.spec(function()
    local a = start_origin "a"
    a.status = 503
    local server = start({ a }, { health_check = CHECK })
    local line = wait_state(server, "down", a)
    assert.same({ [503] = 3 }, tally(server, 3))
    a.status = 200
    wait_state(server, "up", a, line)
    assert.same({ a = 3 }, tally(server, 3))
    server:stop()
  end))

  it("never sends a client to a backend that is dead at the start, once it was checked", loop.spec(function()
    local a, dead = start_origin "a", start_origin "dead"
    dead:refuse()
    local server = start({ dead, a }, { health_check = { type = "tcp", interval = "1m", timeout = "1m" } })
    wait_state(server, "down", dead)
    assert.same({ a = 10 }, tally(server, 10))
    server:stop()
  end))

  it("keeps what it knows over a reload", loop.spec(function()
    local a, b = start_origin "a", start_origin "b"
    b.status = 500
    local check = { type = "http", path = "/health", interval = "1m", timeout = "1m", fall = 1 }
    local conf = {
      pools = { { name = "web", health_check = check, backends = { address(a), address(b) } } },
      routes = { { name = "site", path_prefix = "/", pool = "web" } },
    }
    local server = servers.start { conf = conf }
    wait_state(server, "down", b)
    conf.routes[2] = { name = "other", path_prefix = "/other", pool = "web" }
    server:write_conf(conf)
    assert.is_true(server:reload())
    assert.same({ a = 10 }, tally(server, 10))
    server:stop()
  end))
end)

describe("failover", function()
  it("hides a dead backend from clients, checks or not", loop.spec(function()
    local a, b, c = start_origin "a", start_origin "b", start_origin "c"
    local server = start { a, b, c }
    assert.same({ a = 3, b = 3, c = 3 }, tally(server, 9))
    b:close()
    local counts = tally(server, 30)
    assert.equal(30, counts.a + counts.c)
    server:stop()
  end))

  it("ejects after three failed connections, so that the dead one costs nothing more", loop.spec(function()
    local a, dead = start_origin "a", start_origin "dead"
    dead:refuse()
    local server = start { a, dead }
    assert.same({ a = 20 }, tally(server, 20))
    server:wait_log "backend%.ejected .*failures=3 for_ms=10000"
    local failures = 0
    for _, line in ipairs(server:log_lines()) do
      if line:find("backend.connect_failed", 1, true) then failures = failures + 1 end
    end
    assert.equal(3, failures)
    server:stop()
  end))

  it("does not eject the only backend: it serves as soon as it is back", loop.spec(function()
    local a = start_origin "a"
    a:refuse()
    local server = start { a }
    assert.same({ [502] = 6 }, tally(server, 6))
    local again = origins.start(handler, { name = "again", port = a.port })
    again.status = 200
    assert.same({ again = 3 }, tally(server, 3))
    server:stop()
  end))
end)

--- Passive health of backends that take connections and then end them: what counts against one, and what does not.
local clients = require "support.client"
local h2_origins = require "support.h2_origin"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"
local servers = require "support.server"

local PARTS = {
  nothing = "",
  head = "HTTP/1.1 200 OK\r\nContent-Len",
  length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
  chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}

--- An origin that sends `part` of an answer to each request, and ends the connection ("close" or "reset").
local function breaking(part, ending)
  return origins.start(function(conn)
    if part ~= "" then conn:write(part) end
    conn[ending](conn)
  end)
end

--- The failures in a row that a server knows of an origin.
local function failures_of(server, origin)
  local metrics = clients.get(server.ports.admin, "/metrics").body
  local name = ('veloflux_backend_consecutive_failures{pool="web",backend="%s"'):format(origin.address)
  local from = assert(metrics:find(name, 1, true), metrics)
  return tonumber(metrics:match("} (%d+)", from))
end

--- Asks so often that a backend that is not ejected gets more than three of the requests.
local function ask(server, method, path)
  for _ = 1, 20 do clients.request(server.ports.http, method or "GET", path or "/") end
end

describe("a backend that takes connections and", function()
  it("closes or resets three of them in a row, before or within its answer, is ejected", loop.spec(function()
    local conf, bad_of = { pools = {}, routes = {} }, {}
    for what, part in pairs(PARTS) do
      for _, ending in ipairs { "close", "reset" } do
        local name = ("%s-%s"):format(ending, what)
        local good, bad = rig.named "good", breaking(part, ending)
        table.insert(conf.pools, { name = name, backends = { { address = good.address }, { address = bad.address } } })
        table.insert(conf.routes, { name = name, path_prefix = "/" .. name, pool = name })
        bad_of[name] = bad
      end
    end
    local server = servers.start { conf = conf }
    for name, bad in pairs(bad_of) do
      ask(server, "GET", "/" .. name)
      server:wait_log(("backend%%.ejected .*pool=%s .*failures=3 for_ms=10000"):format(name:gsub("-", "%%-")))
      assert.same({ name, 3 }, { name, #bad.requests })
    end
    server:stop()
  end))

  it("ends them before a request came whole is ejected, whatever the method", loop.spec(function()
    local good, bad = rig.named "good", breaking("", "close")
    bad.preface = function(conn) conn:close() end
    local server = rig.start { good, bad }
    ask(server, "POST")
    server:wait_log "backend%.ejected"
    assert.equal(3, bad.accepted)
    server:stop()
  end))

  it("ends them is not ejected when it is the last one, or where the pool says so", loop.spec(function()
    local bad, good = breaking("", "close"), rig.named "good"
    for used, options in pairs { [{ bad }] = {}, [{ bad, good }] = { pool = { passive_health = false } } } do
      local server, before = rig.start(used, options), #bad.requests
      ask(server)
      assert.is_true(#bad.requests - before >= 10)
      server:stop()
    end
  end))

  it("ends them is tried again, and forgiven by a whole answer", loop.spec(function()
    local origin = breaking("", "close")
    local server = rig.start { origin }
    for n = 1, 2 do
      clients.request(server.ports.http, "POST", "/")
      assert.equal(n, failures_of(server, origin))
    end
    origin.handler = origins.echo
    assert.equal(200, clients.get(server.ports.http, "/").status)
    assert.equal(0, failures_of(server, origin))
    server:stop()
  end))

  it("speaks HTTP/2 and ends the connection is ejected", loop.spec(function()
    local good = h2_origins.start(function(call) call:head(204, {}, true) end)
    local bad = h2_origins.start(function(call)
      if call:get ":path" == "/part" then call:head(200, {}) end
      call.conn:close()
    end)
    local server = rig.start({ good, bad }, { pool = { protocol = "h2" } })
    for i = 1, 20 do clients.get(server.ports.http, i % 4 < 2 and "/" or "/part") end
    server:wait_log "backend%.ejected .*failures=3"
    assert.equal(3, #bad.calls)
    server:stop()
  end))
end)

describe("no failure of a backend is", function()
  --- Runs `play(server, origin)` on a server with one origin, which has no failure then.
  local function blameless(handler, play)
    return loop.spec(function()
      local origin = origins.start(handler)
      local server = rig.start { origin }
      play(server, origin)
      assert.equal(0, failures_of(server, origin))
      server:stop()
    end)
  end

  for _, ending in ipairs { "close", "reset" } do
    it("a kept connection that ends (" .. ending .. ") when the next request comes", blameless(function(conn, request)
      if request.number > 1 then return conn[ending](conn) end
      origins.echo(conn, request)
    end, function(server)
      assert.equal(200, clients.request(server.ports.http, "POST", "/").status)
      assert.equal(502, clients.request(server.ports.http, "POST", "/").status)
    end))
  end

  it("a kept connection that ends while it rests", blameless(nil, function(server, origin)
    for _ = 1, 3 do
      assert.equal(200, clients.get(server.ports.http, "/").status)
      origin:retire_connections()
    end
  end))

  it("a client that goes before the answer, or within it", blameless(function(conn, request)
    if request.target == "/part" then conn:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello" end
    conn:read_rest()
  end, function(server, origin)
    for i, path in ipairs { "/none", "/part", "/none" } do
      local client = clients.connect(server.ports.http)
      client:request("GET", path)
      origin:wait_requests(i)
      if path == "/part" then client:read_head() end
      client:reset()
      server:wait_access_log(i)
    end
  end))

  it("an error, or an answer that takes too long", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request.target == "/slow" then return conn:read_rest() end
      conn:write(origins.response(500, nil, ""))
    end)
    local server = rig.start({ origin }, { conf = { routes = { { name = "site", path_prefix = "/", pool = "web" },
      { name = "slow", path_prefix = "/slow", pool = "web", timeouts = { response = "50ms" } } } } })
    assert.equal(500, clients.get(server.ports.http, "/").status)
    assert.equal(504, clients.get(server.ports.http, "/slow").status)
    assert.equal(0, failures_of(server, origin))
    server:stop()
  end))
end)

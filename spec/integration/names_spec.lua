--- Backends that have names: resolved, followed, and survived when they cannot be.
local clients = require "support.client"
local dns = require "unit.net.dns_server"
local h2_origins = require "support.h2_origin"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local function handler(conn, request)
  conn:write(origins.response(200, nil, request.origin.name, request.method))
end

local function start(zone, backends, protocol)
  local server = dns.start(zone)
  loop.defer(function() server:close() end)
  local conf = {
    pools = { { name = "web", backends = backends, protocol = protocol } },
    routes = { { name = "site", path_prefix = "/", pool = "web" } },
  }
  return servers.start { conf = conf, env = { VF_DNS_SERVERS = server.address } }, server
end

-- GETs until the answer's status is `status`; every answer until then has one of `allowed`.
local function wait_status(server, status, allowed)
  while true do
    local response = clients.get(server.ports.http, "/")
    if response.status == status then return response end
    assert.is_true(allowed[response.status] ~= nil, "status " .. response.status)
  end
end

describe("a backend with a name", function()
  it("is resolved and served", loop.spec(function()
    local origin = origins.start(handler, { name = "named" })
    local server = start({ ["web.test"] = { A = { "127.0.0.1" } } }, { { address = "web.test:" .. origin.port } })
    assert.equal("named", wait_status(server, 200, { [502] = true, [503] = true }).body)
    server:stop()
  end))

  it("is served when only one of its addresses is alive", loop.spec(function()
    local origin = origins.start(handler, { name = "here" })
    local server = start({}, { { address = "localhost:" .. origin.port } })
    for _ = 1, 10 do assert.equal("here", wait_status(server, 200, { [502] = true, [503] = true }).body) end
    server:stop()
  end))

  it("is tried at its other addresses before a client sees a failure", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, { Connection = "close" }, request.origin.name, request.method))
      conn:shutdown()
    end, { name = "alive" })
    local zone = { ["web.test"] = { A = { "127.0.0.1", "127.0.0.77", "127.0.0.78" } } }
    local server = start(zone, { { address = "web.test:" .. origin.port } })
    wait_status(server, 200, { [502] = true, [503] = true })
    for _ = 1, 10 do assert.equal("alive", clients.get(server.ports.http, "/").body) end
    for _, line in ipairs(server:log_lines()) do assert.is_nil(line:find("backend.ejected", 1, true)) end
    server:stop()
  end))

  it("moves when its address does", loop.spec(function()
    local origin = origins.start(handler, { name = "there" })
    local zone = { ["web.test"] = { A = { "127.0.0.77" }, ttl = 1 } } -- nobody listens there
    local server = start(zone, { { address = "web.test:" .. origin.port } })
    assert.equal(502, wait_status(server, 502, { [503] = true }).status)
    zone["web.test"].A = { "127.0.0.1" }
    assert.equal("there", wait_status(server, 200, { [502] = true, [503] = true }).body)
    server:stop()
  end))

  -- Starts with `old` and `new` on one port of two addresses; the name moves from the first to the second.
  local function follow(old, new, protocol)
    local zone = { ["web.test"] = { A = { "127.0.0.1" }, ttl = 1 } }
    local server = start(zone, { { address = "web.test:" .. old.port } }, protocol)
    assert.equal("old", wait_status(server, 200, { [502] = true, [503] = true }).body)
    zone["web.test"].A = { "127.0.0.2" }
    assert.equal(old.port, new.port)
    repeat
      local response = clients.get(server.ports.http, "/")
      assert.equal(200, response.status)
    until response.body == "new"
    server:stop()
  end

  it("leaves kept connections behind when its address moves", loop.spec(function()
    local old = origins.start(handler, { name = "old" })
    follow(old, origins.start(handler, { name = "new", host = "127.0.0.2", port = old.port }))
    assert.equal(1, old.accepted)
  end))

  it("leaves connections of HTTP/2 behind when its address moves", loop.spec(function()
    local function answer_with(name)
      return function(call)
        call:head(200, {})
        call:data(name, true)
      end
    end
    local old = h2_origins.start(answer_with "old")
    follow(old, h2_origins.start(answer_with "new", { host = "127.0.0.2", port = old.port }), "h2")
  end))

  it("that does not exist costs clients nothing when there is another", loop.spec(function()
    local origin = origins.start(handler, { name = "good" })
    local server = start({}, { { address = "nowhere.test:80" }, { address = "127.0.0.1:" .. origin.port } })
    for _ = 1, 10 do assert.equal("good", clients.get(server.ports.http, "/").body) end
    server:stop()
  end))

  it("that does not exist yet is served from when it does", loop.spec(function()
    local origin = origins.start(handler, { name = "late" })
    local zone = {}
    local server = start(zone, { { address = "late.test:" .. origin.port } })
    local first = clients.get(server.ports.http, "/")
    assert.is_true(first.status == 502 or first.status == 503)
    zone["late.test"] = { A = { "127.0.0.1" } }
    assert.equal("late", wait_status(server, 200, { [502] = true, [503] = true }).body)
    server:stop()
  end))
end)

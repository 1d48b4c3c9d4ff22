--- What a backend learns of the client: forwarding fields, whom they are believed from, PROXY headers.
local bit = require "bit"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

-- A PROXY header of version 2 for TCP over IPv4.
local function version_2(source, source_port, target, target_port)
  local function bytes(ip) return string.char(ip:match "(%d+)%.(%d+)%.(%d+)%.(%d+)") end
  local function word(n) return string.char(bit.rshift(n, 8), bit.band(n, 255)) end
  return SIGNATURE .. "\33\17" .. word(12) .. bytes(source) .. bytes(target) .. word(source_port) .. word(target_port)
end

local function seen_by_backend(server, fields)
  return rig.seen(clients.get(server.ports.http, "/", fields))
end

local FORGED = {
  ["X-Forwarded-For"] = "203.0.113.7, 10.1.1.1", ["X-Forwarded-Proto"] = "https",
  ["X-Forwarded-Host"] = "public.test", ["X-Request-Id"] = "from-before", Forwarded = "for=203.0.113.7",
}

describe("forwarding fields", function()
  it("tell about the client, and nothing that it claims", loop.spec(function()
    local server = rig.start({ origins.start() }, { pool = { forwarded = true } })
    local fields = { Host = "site.test" }
    for name, value in pairs(FORGED) do fields[name] = value end
    local seen = seen_by_backend(server, fields)
    assert.same({ "127.0.0.1", "http", "site.test", 'for=127.0.0.1;host="site.test";proto=http', "1.1 veloflux" }, {
      seen.get "x-forwarded-for", seen.get "x-forwarded-proto", seen.get "x-forwarded-host", seen.get "forwarded",
      seen.get "via",
    })
    assert.matches("^%x+$", seen.get "x-request-id")
    assert.equal(32, #seen.get "x-request-id")
    server:stop()
  end))

  it("do not let a client speak through a field that the pool does not write", loop.spec(function()
    local server = rig.start({ origins.start() })
    local seen = seen_by_backend(server, FORGED)
    assert.equal("127.0.0.1", seen.get "x-forwarded-for")
    assert.is_nil(seen.get "forwarded")
    seen = seen_by_backend(server, { ["X-Real-IP"] = "203.0.113.7", ["x-forwarded-port"] = "1", ["X-Forwarded-"] = "3",
      ["X-Forwarded-Prefix"] = "/evil", ["X-Real"] = "4" })
    assert.same({ n = 5, nil, nil, nil, "3", "4" }, { n = 5, seen.get "x-real-ip", seen.get "x-forwarded-port",
      seen.get "x-forwarded-prefix", seen.get "x-forwarded-", seen.get "x-real" })
    server:stop()
  end))

  it("and those that the configuration sets are no client's to name away", loop.spec(function()
    local set = { headers = { request = { set = { ["X-Set"] = "1" } }, response = { set = { ["X-Guard"] = "2" } } } }
    local server = rig.start({ origins.start(function(conn, request)
      if request.target == "/named" then
        return conn:write "HTTP/1.1 200 OK\r\nConnection: X-Guard, X-Own\r\nX-Own: 3\r\nContent-Length: 0\r\n\r\n"
      end
      origins.echo(conn, request)
    end) }, { route = set })
    local seen = seen_by_backend(server,
      { Connection = "X-Set, X-Forwarded-For, X-Request-Id, X-Own", ["X-Own"] = "3" })
    assert.same({ "1", "127.0.0.1" }, { seen.get "x-set", seen.get "x-forwarded-for" })
    assert.is_truthy(seen.get "x-request-id")
    assert.is_nil(seen.get "x-own")
    local response = clients.get(server.ports.http, "/named")
    assert.equal("2", response:get "x-guard")
    assert.is_nil(response:get "x-own")
    server:stop()
  end))

  it("may be set by the configuration, and come from trusted proxies, under any name", loop.spec(function()
    local set = { headers = { request = { set = { ["X-Forwarded-Port"] = "443" } } } }
    local server = rig.start({ origins.start() }, { route = set })
    local seen = seen_by_backend(server, { ["X-Forwarded-Port"] = "1" })
    assert.equal("443", seen.get "x-forwarded-port")
    server:stop()
    server = rig.start({ origins.start() }, { conf = { trusted_proxies = { "127.0.0.1/32" } } })
    seen = seen_by_backend(server, { ["X-Forwarded-Port"] = "444", ["X-Real-IP"] = "203.0.113.7" })
    assert.same({ "444", "203.0.113.7" }, { seen.get "x-forwarded-port", seen.get "x-real-ip" })
    server:stop()
  end))

  it("are believed and continued when a trusted proxy sends them", loop.spec(function()
    local server = rig.start({ origins.start() },
      { pool = { forwarded = true }, conf = { trusted_proxies = { "127.0.0.0/8", "10.0.0.0/8" } } })
    local seen = seen_by_backend(server, FORGED)
    assert.same({ "203.0.113.7, 10.1.1.1, 127.0.0.1", "https", "public.test", "from-before" }, {
      seen.get "x-forwarded-for", seen.get "x-forwarded-proto", seen.get "x-forwarded-host", seen.get "x-request-id",
    })
    assert.matches("^for=203%.0%.113%.7, for=127%.0%.0%.1;", seen.get "forwarded")
    assert.equal("203.0.113.7", server:wait_access_log(1)[1].client)
    server:stop()
  end))

  it("name the last client that no trusted proxy vouches for", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { trusted_proxies = { "127.0.0.1/32" } } })
    local cases = { "203.0.113.7, 198.51.100.1", "2001:db8::7", "junk, 198.51.100.1, 127.0.0.1", "not an address" }
    for _, list in ipairs(cases) do seen_by_backend(server, { ["X-Forwarded-For"] = list }) end
    local named = {}
    for i, entry in ipairs(server:wait_access_log(#cases)) do named[i] = entry.client end
    assert.same({ "198.51.100.1", "2001:db8::7", "198.51.100.1", "127.0.0.1" }, named)
    server:stop()
  end))

  it("give every request an id of its own, which answers of ours repeat", loop.spec(function()
    local server = rig.start({ origins.start() }, { route = { path_prefix = "/served" } })
    local ids, client = {}, clients.connect(server.ports.http)
    for _ = 1, 20 do
      client:request("GET", "/served")
      local id = rig.seen(client:read_response()).get "x-request-id"
      assert.is_nil(ids[id])
      ids[id] = true
    end
    client:request("GET", "/missing")
    local problem = require("cjson").decode(client:read_response().body)
    assert.equal(problem.request_id, server:wait_access_log(21)[21].request_id)
    client:close()
    server:stop()
  end))

  it("replace an id that could do harm, even of a trusted proxy", loop.spec(function()
    local server = rig.start({ origins.start() }, { conf = { trusted_proxies = { "127.0.0.1/32" } } })
    for _, id in ipairs { 'a"b', "a b", ("x"):rep(129), "<script>" } do
      assert.matches("^%x+$", seen_by_backend(server, { ["X-Request-Id"] = id }).get "x-request-id")
    end
    server:stop()
  end))

  it("can be left out of a pool", loop.spec(function()
    local server = rig.start({ origins.start() }, { pool = { x_forwarded = false, via = false } })
    local seen = seen_by_backend(server, { Via = "1.1 before" })
    assert.same({ "1.1 before" }, { seen.get "via", seen.get "x-forwarded-for", seen.get "x-forwarded-proto",
      seen.get "x-forwarded-host", seen.get "forwarded" })
    server:stop()
  end))

  it("add Via to answers where a pool wants it", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, { Via = "1.0 origin" }, request.get and request:get "via"))
    end)
    local server = rig.start({ origin }, { pool = { via = { request = false, response = true } } })
    local response = clients.get(server.ports.http, "/")
    assert.same({ "1.0 origin, 1.1 veloflux", "" }, { response:get "via", response.body })
    server:stop()
    server = rig.start { origin }
    response = clients.get(server.ports.http, "/")
    assert.same({ "1.0 origin", "1.1 veloflux" }, { response:get "via", response.body })
    server:stop()
  end))
end)

describe("PROXY headers of clients", function()
  local LISTENERS = { { name = "http", address = "127.0.0.1:0", proxy_protocol = true } }
  local shared, server = loop.scope(), nil
  setup(shared:spec(function()
    server = rig.start({ origins.start() }, { conf = { listeners = LISTENERS } })
  end))
  teardown(rig.closer(shared, function() return server end))

  local function client_of(pieces)
    local client = clients.connect(server.ports.http)
    client:send(pieces)
    local seen = rig.seen(client:read_response())
    client:close()
    return seen.get "x-forwarded-for"
  end

  local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  it("of version 1 and 2 name the client", shared:spec(function()
    assert.equal("203.0.113.9", client_of("PROXY TCP4 203.0.113.9 198.51.100.1 1234 80\r\n" .. GET))
    assert.equal("2001:db8::9", client_of("PROXY TCP6 2001:db8::9 2001:db8::1 1234 80\r\n" .. GET))
    assert.equal("203.0.113.9", client_of(version_2("203.0.113.9", 1234, "198.51.100.1", 80) .. GET))
  end))

  it("may come in pieces", shared:spec(function()
    assert.equal("203.0.113.9", client_of { "PROXY TC", "P4 203.0.113.9 198.51.100.1 1234 80\r", "\n", GET })
    local header = version_2("203.0.113.9", 1234, "198.51.100.1", 80)
    assert.equal("203.0.113.9", client_of { header:sub(1, 5), header:sub(6, 20), header:sub(21) .. GET:sub(1, 9),
      GET:sub(10) })
  end))

  it("that name nobody leave the peer", shared:spec(function()
    assert.equal("127.0.0.1", client_of("PROXY UNKNOWN\r\n" .. GET))
    assert.equal("127.0.0.1", client_of(SIGNATURE .. "\32\0\0\0" .. GET)) -- LOCAL
  end))

  it("are required, and have to be right", shared:spec(function()
    for _, bytes in ipairs { GET, "PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n" .. GET, SIGNATURE .. "\49\17\0\0" .. GET } do
      local client = clients.connect(server.ports.http)
      client:send(bytes)
      local _, rest = client:expect_end()
      assert.equal("", rest)
    end
    server:wait_log "client%.bad_proxy_header"
  end))
end)

describe("PROXY headers to backends", function()
  for version, read in pairs {
    v1 = function(conn) return conn:read_until "\r\n" end,
    v2 = function(conn) return conn:read_exact(28) end,
  } do
    it(version .. " come first on every connection, which serves one client", loop.spec(function()
      local headers = {}
      local origin = origins.start(nil, { preface = function(conn) headers[#headers + 1] = read(conn) end })
      local server = rig.start({ origin }, { pool = { proxy_protocol = version } })
      for i = 1, 2 do
        local client = clients.connect(server.ports.http)
        client:request("GET", "/")
        assert.equal(i, rig.seen(client:read_response()).connection)
        local port = client.stream.tcp:getsockname().port
        local expected = version == "v1"
          and ("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n"):format(port, server.ports.http)
          or version_2("127.0.0.1", port, "127.0.0.1", server.ports.http)
        assert.equal(expected, headers[i])
        client:close()
      end
      server:stop()
    end))
  end
end)

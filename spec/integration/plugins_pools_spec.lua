--- Plugins that ask pools of the model by name: balanced, failed over, limited and counted as requests of clients are,
-- on connections that both use.
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local HANDLER = [[
local function answer(...)
  local list = { n = select("#", ...), ... }
  for i = 1, list.n do list[i] = list[i] == nil and "nil" or tostring(list[i]) end
  return pdk.response.exit(200, table.concat(list, "|"))
end

function Plugin:access(conf)
  if conf.target then return pdk.service.set_target("127.0.0.1", conf.target) end
  local options = { pool = conf.pool, path = "/asked?a=1", headers = conf.headers, timeout = conf.timeout,
    tenant = conf.tenant, max_redirects = conf.redirects }
  local res, err, code = pdk.http.request(conf.url or options, conf.url and {} or nil)
  if not res then return answer(nil, err, code) end
  return answer(res.status, res.body)
end
]]

local SCHEMA = [[ return { pool = { type = "string" }, url = { type = "string" }, target = { type = "integer" },
  timeout = { type = "number" }, tenant = { type = "string" }, redirects = { type = "integer" },
  headers = { type = "map", values = { type = "string" } } } ]]

--- Answers with the name of the origin, the target and the Host field.
local function named(name)
  return origins.start(function(conn, request)
    conn:write(origins.response(200, nil, table.concat({ name, request.target, request:get "host" or "" }, " "),
      request.method))
  end, { name = name })
end

--- Starts the binary.
-- @param pools list
-- @param configs path -> configuration of the plugin
local function start(pools, configs, more)
  local routes = { { name = "web", path_prefix = "/", pool = pools[1].name } }
  for name, config in pairs(configs) do
    routes[#routes + 1] = { name = name, path_prefix = "/" .. name, pool = pools[1].name,
      plugins = { { name = "ask", config = config } } }
  end
  local conf = { pools = pools, routes = routes }
  for key, value in pairs(more or {}) do conf[key] = value end
  return plugins.start({ ask = { handler = HANDLER, schema = SCHEMA } }, { conf = conf })
end

local function pool(name, ...)
  local made = { name = name, backends = select("#", ...) > 0 and {} or nil }
  for i, backend in ipairs { ... } do
    made.backends[i] = type(backend) == "string" and { address = backend } or { address = backend.address }
  end
  return made
end

local function metric(server, name)
  local text = clients.get(server.ports.admin, "/metrics").body
  local value
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, #name) == name then value = (value or 0) + tonumber(line:match "%S+$") end
  end
  return value
end

--- Returns the address of a port that nobody listens on.
local function nowhere()
  local origin = origins.start()
  origin:close()
  return origin.address
end

describe("plugins ask pools", function()
  it("by name: balanced, on connections that requests of clients use, too", loop.spec(function()
    local one, two = named "one", named "two"
    local run = start({ pool("web", one, two) }, { ask = { pool = "web" } })
    local seen = {}
    for _ = 1, 4 do
      local body = clients.get(run.port, "/ask").body
      local name = body:match "^200|(%a+) /asked%?a=1 web$"
      assert.is_truthy(name, body)
      seen[name] = (seen[name] or 0) + 1
    end
    assert.same({ one = 2, two = 2 }, seen)
    clients.get(run.port, "/")
    clients.get(run.port, "/")
    assert.same({ 1, 1 }, { one.accepted, two.accepted })
    assert.equal(2 + 4, metric(run.server, "veloflux_backend_requests_total"))
    assert.equal(4, metric(run.server, "veloflux_backend_reused_connections_total"))
    assert.equal(2, metric(run.server, "veloflux_backend_connections_idle"))
    assert.equal(2, metric(run.server, "veloflux_backend_connections_open"))
    assert.equal(0, metric(run.server, "veloflux_backend_in_flight"))
    run.server:stop()
  end))

  it("and their backends are failed over and ejected", loop.spec(function()
    local good = named "good"
    local bad = pool("asked", nowhere(), good)
    bad.passive_health = true
    local run = start({ pool("web", good), bad }, { ask = { pool = "asked" } })
    for _ = 1, 8 do assert.matches("^200|good", clients.get(run.port, "/ask").body) end
    assert.equal(3, metric(run.server, "veloflux_backend_connect_failures_total"))
    run.server:wait_log "backend.ejected"
    run.server:stop()
  end))

  it("and their backends that end connections are ejected, those that end kept ones are not", loop.spec(function()
    local good, n = named "good", 0
    local bad = origins.start(function(conn, request)
      n = n + 1
      if n % 2 == 0 then conn:write "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut" end
      conn:close()
      return request
    end)
    local fragile = origins.start(function(conn, request)
      if request.number > 1 then return conn:close() end
      conn:write(origins.response(200, nil, "once"))
    end)
    local asked = pool("asked", bad, good)
    asked.passive_health = true
    local run = start({ pool("web", good), asked, pool("fragile", fragile) },
      { ask = { pool = "asked" }, fragile = { pool = "fragile" } })
    for _ = 1, 8 do clients.get(run.port, "/ask") end
    run.server:wait_log "backend.ejected .*pool=asked .*failures=3"
    assert.equal(3, #bad.requests)
    for _ = 1, 3 do assert.matches("^200|once", clients.get(run.port, "/fragile").body) end
    assert.equal(0, metric(run.server, 'veloflux_backend_consecutive_failures{pool="fragile"'))
    run.server:stop()
  end))

  it("that cannot be asked, and learn why", loop.spec(function()
    local one, held = named "one", origins.start(function() end)
    local full = pool("full", held)
    full.max_connections = 1
    local run = start({ pool("web", one), pool("empty"), pool("gone", nowhere(), nowhere()), full }, {
      unknown = { pool = "nobody" }, empty = { pool = "empty" }, gone = { pool = "gone" },
      other = { pool = "web", tenant = "acme" }, full = { pool = "full" },
    }, { tenants = { { name = "acme", hosts = { "acme.example" } } } })
    local function ask(name) return clients.get(run.port, "/" .. name).body end
    assert.equal('nil|GET http://nobody/asked?a=1: the tenant default has no pool called "nobody"|unknown',
      ask "unknown")
    assert.equal('nil|GET http://web/asked?a=1: the tenant acme has no pool called "web"|unknown', ask "other")
    assert.equal("nil|GET http://empty/asked?a=1: pool empty: no backend is available|unavailable", ask "empty")
    assert.equal("nil|GET http://gone/asked?a=1: pool gone: no backend can be reached|unreachable", ask "gone")
    local first = clients.connect(run.port)
    first:request("GET", "/full")
    held:wait_requests(1)
    assert.equal("nil|GET http://full/asked?a=1: pool full: all backends are at their connection limit|too_many",
      ask "full")
    first:reset()
    run.server:stop()
  end))

  it("of their route's tenant, or shared by the default tenant", loop.spec(function()
    local web, own, shared, private = named "web", named "own", named "shared", named "private"
    local pools = { pool("web", web), pool("mine", own), pool("all", shared), pool("secret", private),
      pool("mine", web) }
    pools[2].tenant, pools[3].shared, pools[5].shared = "acme", true, true
    local run = plugins.start({ ask = { handler = [[
      function Plugin:access()
        local name = pdk.request.get_path():sub(2)
        local res, _, code = pdk.http.request { pool = name }
        local ok = pdk.service.set_upstream(name)
        if not res or not ok then return pdk.response.exit(200, tostring(code) .. " " .. tostring(ok)) end
        pdk.service.request.set_header("X-Asked", (res.body:match "^%a+"))
      end
    ]] } }, { conf = { pools = pools, tenants = { { name = "acme", hosts = { "acme.test" } } },
      routes = { { name = "r", tenant = "acme", pool = "mine", plugins = { { name = "ask" } } } } } })
    local function ask(path) return clients.get(run.port, path, { Host = "acme.test" }).body end
    assert.equal("own /mine acme.test", ask "/mine")
    assert.equal("shared /all acme.test", ask "/all")
    assert.equal("unknown nil", ask "/secret")
    run.server:stop()
  end))

  it("within the limits of the pool", loop.spec(function()
    local held = origins.start(function() end) -- never answers
    local slow = pool("slow", held)
    slow.max_connections, slow.timeouts = 1, { response = "50ms" }
    local run = start({ pool("web", named "one"), slow }, { ask = { pool = "slow" } })
    assert.equal("nil|GET http://slow/asked?a=1: response: timed out|timeout", clients.get(run.port, "/ask").body)
    assert.equal(1, metric(run.server, "veloflux_backend_timeouts_total"))
    assert.equal(0, metric(run.server, "veloflux_backend_connections_open{pool=\"slow\""))
    run.server:stop()
  end))

  it("and share what service.set_target has connected to", loop.spec(function()
    local one, two = named "one", named "two"
    local run = start({ pool("web", one) }, { target = { target = two.port },
      ask = { url = "http://" .. two.address .. "/asked" } })
    assert.equal(200, clients.get(run.port, "/target").status)
    assert.matches("^200|two /asked", clients.get(run.port, "/ask").body)
    assert.equal(200, clients.get(run.port, "/target").status)
    assert.equal(1, two.accepted)
    run.server:write_conf(run.conf)
    assert.is_true((run.server:reload()))
    assert.matches("^200|two /asked", clients.get(run.port, "/ask").body)
    assert.equal(1, two.accepted) -- a reload closes nothing that is still good
    run.server:stop()
  end))

  it("and follow redirects within them", loop.spec(function()
    local one = origins.start(function(conn, request)
      if request.target == "/asked?a=1" then
        conn:write(origins.response(302, { Location = "/other" }, ""))
      else
        conn:write(origins.response(200, nil, request.target))
      end
    end)
    local run = start({ pool("web", one) }, { ask = { pool = "web", redirects = 1 } })
    assert.equal("200|/other", clients.get(run.port, "/ask").body)
    assert.equal(1, one.accepted)
    run.server:stop()
  end))

  it("that want to know whom they serve", loop.spec(function()
    local prefaces = {}
    local one = origins.start(nil, { preface = function(conn) prefaces[#prefaces + 1] = conn:read_until "\r\n" end })
    local told = pool("told", one)
    told.proxy_protocol = "v1"
    local run = start({ pool("web", named "one"), told }, { ask = { pool = "told" } })
    assert.equal("200", clients.get(run.port, "/ask").body:sub(1, 3))
    assert.matches("^PROXY TCP4 127.0.0.1 ", prefaces[1])
    assert.equal("200", clients.get(run.port, "/ask").body:sub(1, 3))
    assert.equal(2, one.accepted) -- the next request may be another client's
    run.server:stop()
  end))

  it("and leave nothing behind when their client goes", loop.spec(function()
    local asked = origins.start(function() end)
    local run = start({ pool("web", named "one"), pool("slow", asked) }, { ask = { pool = "slow" } })
    local client = clients.connect(run.port)
    client:send "GET /ask HTTP/1.1\r\nHost: x\r\n\r\n"
    asked:wait_requests(1)
    assert.equal(1, metric(run.server, "veloflux_backend_in_flight"))
    client:reset()
    children.eventually("the end of the request", function()
      return metric(run.server, "veloflux_backend_in_flight") == 0
    end)
    assert.equal(0, metric(run.server, "veloflux_backend_connections_open"))
    run.server:stop()
  end))
end)

--- Connections to the admin address of the real binary: kept, bounded, timed out, drained; whose pages may use it, and
-- how often a client may ask.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local others = require "unit.store.other"
local servers = require "support.server"

local JSON = { ["Content-Type"] = "application/json" }

local function start(conf)
  conf.admin = conf.admin or {}
  conf.admin.address = "127.0.0.1:0"
  conf.admin.auth = conf.admin.auth or { enabled = false }
  local server = servers.start { conf = conf }
  return server, server.ports.admin
end

local function with(...)
  local all = {}
  for _, map in ipairs { ... } do
    for name, value in pairs(map) do all[name] = value end
  end
  return all
end

describe("connections to the admin address", function()
  it("are kept for many requests, in a row and at once, each with an id of its own", loop.spec(function()
    local server, port = start {}
    local client, ids = clients.connect(port), {}
    local function answered(status)
      local response = client:read_response()
      assert.equal(status, response.status, response.body)
      local id = response:get "x-request-id"
      assert.matches("^%x+$", id)
      assert.is_nil(ids[id])
      ids[id] = true
      return response
    end
    for _ = 1, 20 do
      client:request("GET", "/api/pools")
      answered(200)
    end
    client:request("POST", "/api/pools", JSON, '{"name":"web"}')
    answered(201)
    client:request("POST", "/api/pools", JSON, '{"name":')
    assert.equal("invalid", cjson.decode(answered(400).body).code)
    client:request("GET", "/api/none")
    answered(404)
    client:send(("GET /api/pools/web HTTP/1.1\r\nHost: a\r\n\r\n"):rep(3))
    for _ = 1, 3 do assert.equal("web", cjson.decode(answered(200).body).name) end
    client:request("GET", "/api/pools", { Connection = "close" })
    answered(200)
    assert.equal("eof", client:expect_end())
    server:stop()
  end))

  it("invite content that is asked for, and refuse it before it is sent", loop.spec(function()
    local server, port = start {}
    local client = clients.connect(port)
    client:request("POST", "/api/pools", with(JSON, { Expect = "100-continue", ["Content-Length"] = 14 }))
    assert.equal(100, client:read_head("POST").status)
    client:send '{"name":"web"}'
    assert.equal(201, client:read_response("POST").status)
    client:request("POST", "/api/pools", with(JSON, { Expect = "100-continue", ["Content-Length"] = 2 ^ 31 }))
    local refused = client:read_response "POST"
    assert.equal(413, refused.status)
    assert.same({}, refused.interim)
    assert.equal("eof", client:expect_end())
    server:stop()
  end))

  it("have the limits of the conf for heads", loop.spec(function()
    local server, port = start { limits = { header_bytes = "2k", header_count = 20, uri_bytes = 512 } }
    local function status_of(target, fields)
      local response = clients.request(port, "GET", target, fields)
      assert.equal("application/problem+json", response:get "content-type")
      return response.status
    end
    assert.equal(414, status_of("/api/pools?" .. ("a"):rep(600)))
    assert.equal(431, status_of("/api/pools", { ["X-A"] = ("a"):rep(3000) }))
    local many = {}
    for i = 1, 30 do many["X-" .. i] = "a" end
    assert.equal(431, status_of("/api/pools", many))
    assert.equal(200, clients.get(port, "/api/pools").status)
    server:stop()
  end))

  it("are ended when they stand still: in a head, in content, between requests", loop.spec(function()
    -- each with one limit that is short: the others are not to end what is only slow
    local server, port = start { timeouts = { client_header = "100ms" } }
    local client = clients.connect(port)
    client:send "GET /api/pools HTT"
    assert.equal(408, client:read_response().status)
    assert.equal("eof", client:expect_end())
    server:stop()
    server, port = start { timeouts = { client_body = "100ms" } }
    client = clients.connect(port)
    client:request("POST", "/api/pools", with(JSON, { ["Content-Length"] = 100 }))
    client:send '{"name":'
    assert.equal(408, client:read_response("POST").status)
    assert.equal("eof", client:expect_end())
    server:stop()
    server, port = start { timeouts = { client_idle = "100ms" } }
    client = clients.connect(port)
    client:request("GET", "/api/pools")
    assert.equal(200, client:read_response().status)
    assert.equal("eof", client:expect_end())
    server:stop()
  end))

  it("end behind the answer when the node drains, and what is under way ends well", loop.spec(function()
    local server, port = start {}
    local idle, busy = clients.connect(port), clients.connect(port)
    idle:request("GET", "/api/pools")
    assert.equal(200, idle:read_response().status)
    busy:request("POST", "/api/pools", with(JSON, { ["Content-Length"] = 14 }))
    busy:send '{"name'
    local drained = clients.request(port, "POST", "/api/system/drain", JSON, "{}")
    assert.equal(200, drained.status)
    busy:send '":"web"}'
    local answer = busy:read_response "POST"
    if answer.status == 503 then -- too late for a change: said so, with all of it
      assert.equal("unavailable", cjson.decode(answer.body).code)
    else
      assert.equal(201, answer.status, answer.body)
    end
    assert.equal("eof", busy:expect_end())
    assert.equal("eof", idle:expect_end())
    assert.equal(0, server.process:wait_exit().code)
  end))

  it("may have gone, all of them, before what they asked for has its answer", loop.spec(function()
    local server, port = start {}
    local other = others.open(server.dir .. "/data/veloflux.db")
    other:run "BEGIN IMMEDIATE" -- the store waits for somebody else's transaction
    local client = clients.connect(port)
    local pool = { name = "late", backends = { { address = "127.0.0.1:1" } } }
    client:request("POST", "/api/pools", JSON, cjson.encode(pool))
    server:wait_log "admin%.write.*path=/api/pools"
    for _ = 1, 50 do assert.equal(200, clients.get(port, "/health").status) end -- it is with the store by then
    client:reset()
    server:signal "sigterm"
    server:wait_log "worker%.exited" -- and control has nobody left either, by and by
    other:run "ALTER TABLE versions RENAME TO versions_of_yore"
    other:run "COMMIT" -- and the request is refused
    other:close()
    server:wait_log "control%.exited.*drained"
    assert.equal(0, server.process:wait_exit().code)
  end))

  it("share the time: one that asks for much holds nobody up", loop.spec(function()
    local server, port = start {}
    local operations = {}
    for i = 1, 10000 do
      operations[i] = ('{"action":"add","data":{"name":"r%d","path":"/%d","respond":{"status":200}}}'):format(i, i)
    end
    local answers, response = 0, nil
    clients.together(function()
      response = clients.request(port, "POST", "/api/bulk/routes", JSON,
        '{"operations":[' .. table.concat(operations, ",") .. "]}")
      local place = response:get "location"
      repeat
        response = clients.get(port, place)
      until cjson.decode(response.body).status == "completed"
      response = clients.get(port, "/api/routes")
    end, function()
      local other = clients.connect(port)
      while not response or not response:get "x-total-count" do
        other:request("GET", "/health")
        assert.equal(200, other:read_response().status)
        answers = answers + 1
      end
      other:close()
    end)
    assert.equal("10000", response:get "x-total-count")
    assert.is_true(answers >= 20, answers .. " answers")
    server:stop()
  end))
end)

describe("pages of other sites", function()
  local ORIGIN = { Origin = "https://dash.example.com" }

  it("may use the admin API when the conf names their origin", loop.spec(function()
    local server, port = start { admin = { auth = { password = "correct horse" },
      cors = { origins = { "https://dash.example.com" } } } }
    local ask = { ["Access-Control-Request-Method"] = "POST", ["Access-Control-Request-Headers"] = "authorization" }
    local response = clients.request(port, "OPTIONS", "/api/pools", with(ORIGIN, ask))
    assert.equal(204, response.status) -- before they have credentials
    assert.equal("https://dash.example.com", response:get "access-control-allow-origin")
    assert.matches("POST", response:get "access-control-allow-methods")
    assert.equal("authorization", response:get "access-control-allow-headers")
    local admin = { Authorization = "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==" }
    response = clients.request(port, "POST", "/api/pools", with(ORIGIN, admin, JSON,
      { ["Sec-Fetch-Site"] = "cross-site" }), '{"name":"web"}')
    assert.equal(201, response.status, response.body)
    assert.equal("https://dash.example.com", response:get "access-control-allow-origin")
    assert.matches("ETag", response:get "access-control-expose-headers")
    response = clients.request(port, "POST", "/api/pools", with(ORIGIN, JSON), '{"name":"web"}')
    assert.equal(401, response.status)
    assert.equal("https://dash.example.com", response:get "access-control-allow-origin")
    local other = { Origin = "https://evil.example" }
    response = clients.request(port, "OPTIONS", "/api/pools", with(other, ask))
    assert.equal(401, response.status)
    assert.is_nil(response:get "access-control-allow-origin")
    response = clients.request(port, "POST", "/api/pools", with(other, admin, JSON), '{"name":"x"}')
    assert.equal(403, response.status)
    assert.equal("Origin", response:get "vary")
    assert.is_nil(response:get "access-control-allow-origin")
    server:stop()
  end))
end)

describe("the rate limit of the admin address", function()
  it("refuses what is too much of one client, and lets probes through", loop.spec(function()
    local server, port = start { admin = { rate_limit = { requests = 1, per = "1h", burst = 3 } } }
    for _ = 1, 3 do assert.equal(200, clients.get(port, "/api/pools").status) end
    local refused = clients.get(port, "/api/pools")
    assert.equal(429, refused.status)
    assert.equal("too_many_requests", cjson.decode(refused.body).code)
    assert.is_true(tonumber(refused:get "retry-after") > 3000)
    for _ = 1, 5 do assert.equal(200, clients.get(port, "/health").status) end
    local code = servers.command { "status", "-c", server.file } -- over control.sock
    assert.equal(0, code)
    server:stop()
  end))
end)

--- Handlers written for Kong, in the real binary with one line changed; and one for APISIX, ported by hand. The first
-- four of Kong's are those that docs/plugins/porting.md shows, the others do what widespread plugins do.
local cjson = require "cjson"
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local FOLDER = "docs/plugins/porting"
local THEIRS, OURS = "local kong = kong\n", 'local kong = require "veloflux.pdk"\n'

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

--- Reads a handler of Kong's and changes its one line.
local function ported(name)
  local handler = read(("%s/kong/%s/handler.lua"):format(FOLDER, name))
  assert(handler:sub(1, #THEIRS) == THEIRS and not handler:find("veloflux", 1, true))
  return { [name] = { handler = OURS .. handler:sub(#THEIRS + 1),
    schema = read(("%s/kong/%s/schema.lua"):format(FOLDER, name)) } }
end

local function spec_of(name, config, run, options)
  return loop.spec(function()
    options = options or {}
    options.plugins = { { name = name, config = config } }
    local rig = plugins.start(ported(name), options)
    run(rig)
    rig.server:stop()
  end)
end

describe("a handler of Kong's, one line changed,", function()
  it("gives requests an id", spec_of("trace-id", { echo_downstream = true, generator = "counter" }, function(rig)
    local answer = clients.get(rig.port, "/")
    local id = answer:get "x-trace-id"
    assert.matches("^%x+%-%x+%-%x+%-%x+%-%x+#1$", id)
    assert.equal(id, plugins.field(answer, "X-Trace-Id"))
    answer = clients.get(rig.port, "/", { ["X-Trace-Id"] = "mine" })
    assert.equal("mine", answer:get "x-trace-id")
    assert.equal("mine", plugins.field(answer, "X-Trace-Id"))
  end))

  it("closes a route", spec_of("closed", { retry_after = 5, except = true }, function(rig)
    local answer = clients.get(rig.port, "/a?b=1")
    assert.equal(503, answer.status)
    assert.equal("5", answer:get "retry-after")
    assert.equal("GET /a?b=1 is closed", cjson.decode(answer.body).message)
    rig.server:wait_log "plugin%.log.*severity=notice.*closed: all"
    rig.conf.routes[1].plugins[1].config = { status_code = 410, body = "gone\n" }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    answer = clients.get(rig.port, "/")
    assert.equal(410, answer.status)
    assert.equal("gone\n", answer.body)
    assert.equal("text/plain", answer:get "content-type")
    rig.conf.trusted_proxies = { "127.0.0.1" }
    rig.conf.routes[1].plugins[1].config = { except = true }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.equal(200, clients.get(rig.port, "/").status)
  end))

  it("knows consumers", spec_of("team-auth", {}, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.equal(401, answer.status)
    assert.equal('Team realm="gateway"', answer:get "www-authenticate")
    assert.equal("No team in the request", cjson.decode(answer.body).message)
    assert.equal(401, clients.get(rig.port, "/", { ["X-Team"] = "green" }).status)
    answer = clients.get(rig.port, "/", { ["X-Team"] = "blue" })
    assert.equal(200, answer.status)
    assert.equal("blue", plugins.field(answer, "X-Consumer-Username"))
    assert.equal("17", plugins.field(answer, "X-Consumer-Custom-Id"))
    assert.is_nil(plugins.field(answer, "X-Team"))
  end, { conf = { consumers = { { name = "blue", custom_id = "17" } } } }))

  it("changes content both ways", spec_of("redact", { names = { "password" } }, function(rig)
    local answer = clients.request(rig.port, "POST", "/", { ["Content-Type"] = "application/json" },
      '{"user":{"password":"x"},"list":[]}')
    assert.equal('{"user":{"password":"***"},"list":[]}', plugins.seen(answer).body:gsub('^{"list":%[%],(.*)}$',
      '{%1,"list":[]}'))
    rig.origin.handler = function(conn)
      conn:write(origins.response(200, { ["Content-Type"] = "application/json" }, '{"password":"secret"}'))
    end
    assert.equal('{"password":"***"}', clients.get(rig.port, "/").body)
  end))
end)

describe("a handler of Kong's that does more, one line changed,", function()
  local TOKENS = { { token = "t1", sub = "zoe", scopes = { "read", "write" } }, { token = "t2", sub = "max" } }

  it("introspects tokens, with a cache", spec_of("introspection", { tokens = TOKENS, run_on_preflight = false },
    function(rig)
      local answer = clients.get(rig.port, "/")
      assert.same({ 401, "Bearer", "Unauthorized" }, { answer.status, answer:get "www-authenticate",
        cjson.decode(answer.body).message })
      for _, hit in ipairs { "3", "1" } do
        answer = clients.get(rig.port, "/a?x=1&access_token=wrong", { Authorization = "bearer t1" })
        assert.same({ 200, "zoe", hit }, { answer.status, plugins.field(answer, "X-Userinfo"),
          plugins.field(answer, "X-Hit-Level") })
      end
      assert.equal("/a?x=1", plugins.seen(answer).target)
      assert.is_nil(plugins.field(answer, "Authorization"))
      local scopes = {}
      for _, pair in ipairs(plugins.seen(answer).fields) do
        if pair[1]:lower() == "x-scopes" then scopes[#scopes + 1] = pair[2] end
      end
      assert.same({ "read", "write" }, scopes)
      assert.equal(401, clients.get(rig.port, "/?access_token=t3").status)
      assert.matches("The token is not active", clients.get(rig.port, "/?access_token=t3").body)
      assert.equal(204, clients.get(rig.port, "/x/..//logout", { Authorization = "Bearer t1" }).status)
      answer = clients.get(rig.port, "/?access_token=t1")
      assert.equal("3", plugins.field(answer, "X-Hit-Level"))
      assert.equal(200, clients.request(rig.port, "OPTIONS", "/").status)
    end))

  it("lets nobody in as somebody", spec_of("introspection", { tokens = TOKENS, anonymous = "guest" }, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.same({ 200, "true" }, { answer.status, plugins.field(answer, "X-Anonymous-Consumer") })
  end, { conf = { consumers = { { name = "guest" } } } }))

  it("routes by header fields", loop.spec(function()
    local green, blue = origins.start(), origins.start()
    local rig = plugins.start(ported "route-by-header", { plugins = { { name = "route-by-header", config = { rules = {
      { condition = { ["X-Color"] = "green", ["X-Beta"] = "1" }, upstream_name = "green" },
      { condition = { ["X-Color"] = "none" }, upstream_name = "nowhere" },
      { condition = { ["X-Color"] = "blue" }, host = "127.0.0.1", port = blue.port } } } } } })
    rig.conf.pools[2] = { name = "green", backends = { { address = green.address } } }
    rig.conf.routes[1].path_regex = "^/v(?<version>\\d+)/"
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    local answer = clients.get(rig.port, "/v2/x", { ["X-Color"] = "green", ["X-Beta"] = "1" })
    assert.same({ "green", "web http", "200", "/versions/2" }, { answer:get "x-routed", answer:get "x-service",
      answer:get "x-upstream-status", plugins.seen(answer).target })
    assert.equal(1, #green.requests)
    answer = clients.get(rig.port, "/v3/x", { ["X-Color"] = "blue", Host = "shop.test" })
    assert.same({ "127.0.0.1", "127.0.0.1" }, { answer:get "x-routed", plugins.field(answer, "Host") })
    assert.equal(1, #blue.requests)
    assert.equal("default", clients.get(rig.port, "/v3/x", { ["X-Color"] = "green" }):get "x-routed")
    assert.equal(503, clients.get(rig.port, "/v3/x", { ["X-Color"] = "none" }).status)
    rig.server:stop()
  end))

  it("guards against content", spec_of("body-guard", { allowed_payload_size = 30, size_unit = "bytes", max_depth = 3,
    require_content_length = true }, function(rig)
      local function post(body, fields)
        local all = { ["Content-Type"] = "application/json" }
        for name, value in pairs(fields or {}) do all[name] = value end
        return clients.request(rig.port, "POST", "/", all, body)
      end
      assert.equal(200, post('{"a":[{}]}').status)
      assert.equal(413, post(("x"):rep(31)).status)
      assert.matches("Request size limit exceeded", post(("x"):rep(31)).body)
      local deep = post '{"a":[[[1]]]}'
      assert.same({ 400, '{"message":"too deep"}', "application/json" }, { deep.status, deep.body,
        deep:get "content-type" })
      assert.equal("invalid json body", cjson.decode(post('{"a":').body).message)
      assert.equal(200, post("{{{", { ["Content-Type"] = "text/plain" }).status)
      assert.equal(200, clients.get(rig.port, "/").status)
      local client = clients.connect(rig.port)
      client:request("POST", "/", { ["Transfer-Encoding"] = "chunked" })
      client:send "0\r\n\r\n"
      assert.equal(411, client:read_response().status)
      client:close()
    end))

  it("makes JSON of forms, and wraps answers", spec_of("form-to-json", { drop = { "secret" } }, function(rig)
    rig.origin.handler = function(conn, request)
      rig.seen = request
      conn:write(origins.response(201, { ["Content-Type"] = "application/json" }, '{"n":[1,2]}'))
    end
    local answer = clients.request(rig.port, "POST", "/a?b=2&a", { ["Content-Type"] =
      "application/x-www-form-urlencoded" }, "x=1&x=2&secret=3&flag")
    assert.same({ 200, "application/json; charset=utf-8" }, { answer.status, answer:get "content-type" })
    local body = cjson.decode(answer.body)
    assert.same({ data = { n = { 1, 2 } }, status = 201, source = "service", bytes = 11 }, body)
    assert.same({ "PUT", "/a?a&b=2&via=gateway&via=plugin" }, { rig.seen.method, rig.seen.target })
    assert.same({ x = { "1", "2" }, flag = true }, cjson.decode(rig.seen.body))
  end))

  it("writes an audit log", spec_of("audit-log", { custom_fields = { team = "edge",
    secret = "{vault://env/none-such}" } },
    function(rig)
      clients.get(rig.port, "/a%20b?c=1", { Authorization = "Basic x" })
      local _, line = rig.server:wait_log 'plugin%.log.*severity=notice.*message="%[audit%] (.*)"$'
      local entry = cjson.decode((line:gsub("\\(.)", "%1")))
      assert.same({ "audit", "edge", "/a%20b?c=1", "GET", 200, "all", "web", "service" }, { entry.tag,
        entry.custom.team,
        entry.request.uri, entry.request.method, entry.response.status, entry.route.name, entry.service.name,
        entry.source })
      assert.is_nil(entry.request.headers.authorization)
      assert.is_number(entry.audit.took_ms)
      assert.matches("^%x+%-%x+%-4%x+%-%x+%-%x+$", entry.audit.node)
      assert.matches("^%x+%-%x+%-8%x+%-%x+%-%x+$", entry.audit.plugin)
      assert.is_true(entry.latencies.request >= 0 and entry.latencies.kong >= 0 and entry.latencies.proxy >= 0)
    end))

  it("wants https", spec_of("https-only", { trust_forwarded = true, status = 308 }, function(rig)
    local answer = clients.get(rig.port, "/a?b=1", { Host = "shop.test:8080" })
    assert.same({ 308, "https://shop.test/a?b=1" }, { answer.status, answer:get "location" })
    answer = clients.get(rig.port, "/", { Host = "shop.test", ["X-Forwarded-Proto"] = "https",
      ["X-Forwarded-For"] = "192.0.2.7:999", ["X-Client-Cert"] = "forged" })
    assert.same({ 200, "max-age=600" }, { answer.status, answer:get "strict-transport-security" })
    assert.matches("^https://shop.test:%d+ 192.0.2.7:999$", plugins.field(answer, "X-Seen-As"))
    assert.is_nil(plugins.field(answer, "X-Client-Cert"))
  end, { conf = { trusted_proxies = { "127.0.0.1" } } }))
end)

describe("a plugin of APISIX's, ported,", function()
  it("does what it did", loop.spec(function()
    local rig = plugins.start({}, { plugins = { { name = "tag-requests", config = { tag = "blue",
      refuse = { "BadBot" } } } }, conf = { plugin_path = { uv.cwd() .. "/" .. FOLDER .. "/ported" } } })
    local answer = clients.get(rig.port, "/a?debug=1")
    assert.equal("blue", plugins.field(answer, "X-Tag"))
    assert.equal("blue /a?debug=1", answer:get "x-tagged")
    rig.server:wait_log "debug asked for: /a"
    answer = clients.get(rig.port, "/a", { ["User-Agent"] = "BadBot" })
    assert.equal(403, answer.status)
    assert.equal("refused: 127.0.0.1", cjson.decode(answer.body).message)
    rig.server:stop()
  end))
end)

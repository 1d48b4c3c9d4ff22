--- Plugins in the control process: what strangers' files do, and what becomes of bad ones. The binary is the real one.
require "support.library"
local uv = require "luv"
local apis = require "support.api"
local children = require "support.children"
local clients = require "support.client"
local encoding = require "veloflux.pdk.encoding"
local loop = require "support.loop"
local plugins = require "support.plugins"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local HEAD = "local pdk = require 'veloflux.pdk'\n"

--- Writes a definition of api.lua: a GET at `path` unless `more` says otherwise.
local function endpoint(path, body, more)
  return ("{ method = 'GET', path = '%s', permission = 'user', summary = 'X.', %s\n handler = function(request) "
    .. "%s end },\n"):format(path, more or "", body)
end

local function api_of(...) return HEAD .. "return {\n" .. table.concat { ... } .. "}\n" end

--- Runs a spec on a server whose plugins are these.
local function spec(sources, body, more)
  return loop.spec(function()
    local folder = plugins.write(sources)
    local conf = { plugin_path = { folder } }
    for name, value in pairs(more or {}) do conf[name] = value end
    local server = servers.start { conf = conf }
    body(apis.of(server), server, folder, conf)
    server:stop()
  end)
end

--- Starts what waits for an answer. Returns a function that waits for it, too.
local function in_background(ask)
  local answer
  loop.spawn(function() answer = ask() end)
  return function() return children.eventually("the answer", function() return answer end) end
end

local function write(folder, name, text) tempdir.write(("%s/x/%s.lua"):format(folder, name), text) end

describe("an endpoint of a plugin", function()
  it("gets what its schemas say, and answers what it returns", spec({ x = { api = api_of(
    endpoint("/api/x/{name}", "return 200, { name = request.params.name, query = request.query }",
      "query = { n = { type = 'integer', default = 5, max = 9 }, on = { type = 'boolean' },"
      .. " tags = { type = 'array', elements = { type = 'string' } } },"),
    endpoint("/api/x", "return 201, request.body, { ['X-Made'] = 'yes' }", "method = 'POST', request = { size = "
      .. "{ type = 'integer', required = true }, name = { type = 'string', default = 'none' } },"),
    endpoint("/api/text", "return 200, 'plain ' .. request.identity.name"),
    endpoint("/api/nothing", "return 204", "method = 'DELETE',"),
    endpoint("/open", "return 200, { open = request.identity == nil }", "permission = 'none',"),
    endpoint("/api/raw", "return 200, request.body", "method = 'PUT', request_type = { 'text/csv' },"),
    endpoint("/api/bad", "return 'fine'"))
  } }, function(api)
    assert.same({ name = "a b", query = { n = 5 } }, api.is(api.get "/api/x/a%20b", 200))
    assert.same({ n = 7, on = true, tags = { "a", "b" } },
      api.is(api.get "/api/x/a?n=7&on&tags=a&tags=b", 200).query)
    assert.equal("n", api.problem(api.get "/api/x/a?n=10", 400, "invalid").errors[1].parameter)
    assert.equal("m", api.problem(api.get "/api/x/a?m=1", 400, "invalid").errors[1].parameter)
    assert.equal("n", api.problem(api.get "/api/x/a?n=1&n=2", 400, "invalid").errors[1].parameter)
    local made = api.post("/api/x", { size = 3 })
    assert.same({ size = 3, name = "none" }, api.is(made, 201))
    assert.equal("yes", made:get "x-made")
    assert.same({ size = 3, name = "${HOME}" }, api.is(api.post("/api/x", { size = 3, name = "${HOME}" }), 201))
    api.problem(api.post("/api/x", { size = "three" }), 400, "invalid", "/size")
    api.problem(api.post("/api/x", { size = 3, colour = 1 }), 400, "invalid", "/colour")
    assert.same({ size = 3, name = "none" },
      api.is(api.post("/api/x", { size = 3, colour = 1 }, { Prefer = "handling=lenient" }), 201))
    api.problem(api.post("/api/x", "{\"size\":3,\"size\":4}"), 400, "invalid")
    api.problem(api.post("/api/x", "size=3", { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
    api.problem(api.get("/api/x/a", { Accept = "text/html" }), 406, "not_acceptable")
    api.problem(api.delete "/api/x", 405, "method_not_allowed")
    assert.equal("POST, OPTIONS", api.delete("/api/x"):get "allow")
    assert.equal("plain anonymous", api.get("/api/text", { Accept = "*/*" }).body)
    assert.equal(204, api.delete("/api/nothing").status)
    api.problem(api.delete("/api/nothing", { a = 1 }), 400, "invalid", "/a")
    assert.is_true(api.is(api.get "/open", 200).open)
    assert.equal("a,b\n", api.put("/api/raw", "a,b\n", { ["Content-Type"] = "text/csv" }).body)
    api.problem(api.put("/api/raw", "{}"), 415, "unsupported_media_type")
    api.problem(api.get "/api/bad", 500, "internal_error")
    local document = api.is(api.get "/api/openapi.json", 200)
    local operation = document.paths["/api/x"].post
    assert.same({ "x" }, operation.tags)
    assert.equal("integer", operation.requestBody.content["application/json"].schema.properties.size.type)
    assert.equal("user", operation["x-permission"])
    assert.same({}, document.paths["/open"].get.security)
  end))

  it("has the core's preconditions, and repeats what was asked for twice", spec({ x = { entities =
    "return { { kind = 'counters', schema = { n = { type = 'integer', default = 0 } } } }", api = api_of(
    endpoint("/api/counters/{name}/state", "return 200, { n = pdk.model.find('counters', request.params.name).n }",
      "etag = function(request) local it = pdk.model.find('counters', request.params.name)"
      .. " if not it then return pdk.problem.new('not_found', 'There is none.') end return it.version end,"),
    endpoint("/api/counters/{name}/up", [[
      local it = pdk.model.find("counters", request.params.name)
      local result, problem = pdk.transaction.apply({ { op = "merge", kind = "counters", name = it.name,
        value = { n = it.n + 1 } } })
      if not result then return problem end
      return 200, result.preview or { n = result.objects[1].n }]], "method = 'POST', dry_run = true,"
      .. "etag = function(request) return pdk.model.find('counters', request.params.name).version end,"))
  } }, function(api)
    api.is(api.post("/api/counters", { name = "a" }), 201)
    local state = api.get "/api/counters/a/state"
    assert.equal(0, api.is(state, 200).n)
    local tag = state:get "etag"
    assert.equal(304, api.get("/api/counters/a/state", { ["If-None-Match"] = tag }).status)
    api.problem(api.get "/api/counters/b/state", 404, "not_found")
    assert.equal(1, api.is(api.post("/api/counters/a/up", nil, { ["If-Match"] = tag }), 200).n)
    api.problem(api.post("/api/counters/a/up", nil, { ["If-Match"] = tag }), 412, "stale")
    local first = api.post("/api/counters/a/up", nil, { ["Idempotency-Key"] = "once" })
    local again = api.post("/api/counters/a/up", nil, { ["Idempotency-Key"] = "once" })
    assert.same({ 2, 2, "true" }, { first.json.n, again.json.n, again:get "idempotency-replayed" })
    assert.equal("counters: 1 changed", api.is(api.post "/api/counters/a/up?dry_run=true", 200).summary)
    assert.equal(2, api.is(api.get "/api/counters/a/state", 200).n)
  end))

  it("serves kinds at further paths, and objects that it judges itself", spec({ x = { entities =
    "return { { kind = 'widgets', schema = { size = { type = 'integer', default = 1 } } } }", api = api_of(
    "{ kind = 'widgets', path = '/api/shop/widgets' }, { kind = 'consumers', path = '/api/people' },\n",
    endpoint("/api/any", "return 200, { list = pdk.json.is_array(request.body.list), "
      .. "none = request.body.none == pdk.json.null }", "method = 'POST', request = 'object',"))
  } }, function(api)
    local made = api.post("/api/shop/widgets", { name = "a", size = 2 })
    assert.equal(2, api.is(made, 201).size)
    assert.equal("/api/shop/widgets/a", made:get "location")
    api.problem(api.post("/api/shop/widgets", { name = "a" }), 409, "exists")
    assert.equal(2, api.is(api.get "/api/widgets/a", 200).size)
    assert.equal(3, api.is(api.put("/api/shop/widgets/a", { size = 3 }), 200).size)
    assert.equal(1, #api.is(api.get "/api/shop/widgets?size=3", 200))
    assert.equal(204, api.delete("/api/shop/widgets/a").status)
    api.is(api.post("/api/people", { name = "ana" }), 201)
    assert.equal("ana", api.is(api.get "/api/consumers/ana", 200).name)
    assert.same({ list = true, none = true }, api.is(api.post("/api/any", '{"list":[],"none":null}'), 200))
    api.problem(api.post("/api/any", "[]"), 400, "invalid")
    api.problem(api.post("/api/any", "x", { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
    local document = api.is(api.get "/api/openapi.json", 200)
    assert.equal("widgets:read", document.paths["/api/shop/widgets/{id}"].get["x-permission"])
  end))

  it("asks for its permission", spec({ x = { api = api_of(endpoint("/api/x", "return 200, {}"),
    endpoint("/open", "return 200, {}", "permission = 'none',")) } }, function(api)
    api.problem(api.get "/api/x", 401, "unauthorized")
    api.is(api.get "/open", 200)
  end, { admin = { address = "127.0.0.1:0", auth = { enabled = true, password = "a long password" } } }))

  it("of tenants sees and changes the tenant's only", spec({ x = { api = api_of(
    endpoint("/api/own", [[
      local names = {}
      for i, pool in ipairs(pdk.model.list "pools") do names[i] = pool.name end
      local other = pdk.model.find("pools", "theirs", "other")
      return 200, { names = names, other = other and other.name, tenant = request.identity.tenant }]],
      "of_tenant = true,"),
    endpoint("/api/make/{tenant}", [[
      local result, problem = pdk.transaction.apply({ { op = "create", kind = "pools", name = "made",
        tenant = request.params.tenant ~= "none" and request.params.tenant or nil, value = { name = "made" } } })
      if not result then return problem end
      return 201, { tenant = result.objects[1].tenant_id }]], "of_tenant = true, method = 'POST',"),
    endpoint("/api/any", [[
      local result, problem = pdk.transaction.apply { { op = "create", kind = "pools", value = request.body } }
      if not result then return problem end
      return 201, { tenant = result.objects[1].tenant_id }]], "of_tenant = true, request = 'object', method = 'POST',"),
    endpoint("/api/platform", "return 200, {}")) } }, function(api)
    local password = { Authorization = "Basic " .. encoding.base64_encode "admin:a long password" }
    for _, name in ipairs { "acme", "other" } do
      api.is(api.post("/api/tenants", { name = name, hosts = { name .. ".test" } }, password), 201)
    end
    api.is(api.post("/api/pools", { name = "own", tenant_id = "acme" }, password), 201)
    api.is(api.post("/api/pools", { name = "theirs", tenant_id = "other" }, password), 201)
    local key = api.is(api.post("/api/apikeys", { name = "ci", role = "admin", tenant_id = "acme" }, password), 201).key
    local own = { Authorization = "Bearer " .. key }
    assert.same({ names = { "own" }, tenant = "acme" }, api.is(api.get("/api/own", own), 200))
    assert.equal("theirs", api.is(api.get("/api/own", password), 200).other)
    assert.equal("acme", api.is(api.post("/api/make/none", nil, own), 201).tenant)
    api.problem(api.post("/api/make/other", nil, own), 404, "not_found")
    assert.equal("acme", api.is(api.post("/api/any", { name = "any" }, own), 201).tenant)
    api.problem(api.post("/api/any", { name = "more", tenant = "other" }, own), 404, "not_found", "/tenant")
    api.problem(api.post("/api/any", { name = "more", tenant = "default" }, own), 404, "not_found", "/tenant")
    assert.equal(4, #api.is(api.get("/api/pools", password), 200))
    api.problem(api.get("/api/platform", own), 403, "forbidden")
  end, { admin = { address = "127.0.0.1:0", auth = { enabled = true, password = "a long password" } } }))

  it("may wait, while others are answered", spec({ x = { api = api_of(
    endpoint("/api/wait", "pdk.shared:set('waits', true) while not pdk.shared:get 'go' do"
      .. " pdk.timer.sleep(0.01) end return 200, { done = true }"),
    endpoint("/api/state", "return 200, { waits = pdk.shared:get 'waits' or false }"),
    endpoint("/api/go", "pdk.shared:set('go', true) return 204", "method = 'POST',")) } }, function(api)
    local answered = in_background(function() return api.is(api.get "/api/wait", 200) end)
    children.eventually("the handler to wait", function() return api.is(api.get "/api/state", 200).waits end)
    api.is(api.get "/api/pools", 200)
    assert.equal(204, api.post("/api/go").status)
    assert.is_true(answered().done)
  end))

  it("calls others with pdk.http, on connections that are kept, but no pools", loop.spec(function()
    local origin = require("support.origin").start(function(conn)
      conn:write(require("support.origin").response(200, {}, "from afar", "GET"))
    end)
    local folder = plugins.write { x = { api = api_of(endpoint("/api/x", ([[
      local answer, err = pdk.http.get "http://%s/"
      if not answer then return 502, err end
      return 200, answer.body]]):format(origin.address)), endpoint("/api/name", ([[
      local answer, err = pdk.http.get "http://%s/"
      return 200, answer and answer.body or err]]):format((origin.address:gsub("^127.0.0.1", "localhost")))),
      endpoint("/api/pool", [[
      local _, err, code = pdk.http.request { pool = "web", path = "/" }
      return 200, code .. ": " .. err]])) } }
    local server = servers.start { conf = { plugin_path = { folder } } }
    for _ = 1, 3 do
      local answer = clients.get(server.ports.admin, "/api/x")
      assert.same({ 200, "from afar" }, { answer.status, answer.body })
    end
    assert.equal(1, origin.accepted)
    assert.equal("from afar", clients.get(server.ports.admin, "/api/name").body)
    assert.equal("not_available: GET http://web/: pools can be asked in workers only",
      clients.get(server.ports.admin, "/api/pool").body)
    server:stop()
  end))

  it("is ended when its client goes, or when it takes too long", spec({ x = { api = api_of(
    endpoint("/api/wait", "pdk.shared:set('state', 'waits') local ok, why = pcall(pdk.timer.sleep, 3600)"
      .. " pdk.shared:set('state', why) pdk.timer.sleep(3600)"),
    endpoint("/api/late", "pdk.timer.sleep(3600)", "timeout = 0.3,"),
    endpoint("/api/state", "return 200, { state = pdk.shared:get 'state' or 'none' }")) } },
    function(api, server)
      local client = require("support.stream").connect(server.ports.admin)
      client:write "GET /api/wait HTTP/1.1\r\nHost: x\r\n\r\n"
      local function state() return api.is(api.get "/api/state", 200).state end
      children.eventually("the handler to wait", function() return state() == "waits" end)
      client:reset()
      children.eventually("the handler to be told", function() return state() == "the client is gone" end)
      local late = api.problem(api.get "/api/late", 503, "unavailable")
      assert.equal("The plugin of this path took too long.", late.detail)
      server:wait_log "plugin%.late.*plugin=x.*what=\"?GET /api/late"
    end))

  it("is done once for an Idempotency-Key, though its client goes", spec({ x = { api = api_of(
    endpoint("/api/make", [[
      local count = pdk.shared:incr("count", 1, 0)
      local result, problem = pdk.transaction.apply { { op = "create", kind = "pools", name = "made-" .. count,
        value = {} } }
      if not result then return problem end
      pdk.shared:set("state", "waits")
      while not pdk.shared:get "go" do pdk.timer.sleep(0.01) end
      return 201, { name = result.objects[1].name }]], "method = 'POST',"),
    endpoint("/api/go", "pdk.shared:set('go', true) return 204", "method = 'POST',"),
    endpoint("/api/state", "return 200, { state = pdk.shared:get 'state' or 'none' }")) } }, function(api, server)
      local client = require("support.stream").connect(server.ports.admin)
      client:write "POST /api/make HTTP/1.1\r\nHost: x\r\nIdempotency-Key: once\r\nContent-Length: 0\r\n\r\n"
      children.eventually("the handler to wait", function()
        return api.is(api.get "/api/state", 200).state == "waits"
      end)
      client:reset()
      for _ = 1, 10 do api.is(api.get "/api/state", 200) end -- what has come before them was heeded
      api.problem(api.post("/api/make", nil, { ["Idempotency-Key"] = "once" }), 409, "in_progress")
      assert.equal(204, api.post("/api/go").status)
      local again = children.eventually("the first to end", function()
        local response = api.post("/api/make", nil, { ["Idempotency-Key"] = "once" })
        return response.status ~= 409 and response
      end)
      assert.same({ name = "made-1" }, api.is(again, 201))
      assert.equal("true", again:get "idempotency-replayed")
      assert.equal(1, #api.is(api.get "/api/pools", 200))
    end))

  it("fails alone", spec({ x = { api = api_of(
    endpoint("/api/raise", "error('broken ' .. request.params.none)"),
    endpoint("/api/spin", "while true do pcall(function() while true do end end) end"),
    endpoint("/api/memory", "local list = {} while true do list[#list + 1] = ('x'):rep(1000) .. #list end"),
    endpoint("/api/phase", "return 200, { path = pdk.request.get_path() }"),
    endpoint("/api/exit", "pdk.response.exit(200, 'x')"),
    endpoint("/api/yield", "coroutine.yield(1)"),
    endpoint("/api/own", "coroutine.wrap(function() pdk.timer.sleep(1) end)()"),
    endpoint("/api/kind", "return 200, pdk.model.list 'gadgets'"),
    endpoint("/api/fine", "return 200, {}")) } }, function(api, server)
      local function fails(path, message)
        api.problem(api.get(path), 500, "internal_error")
        server:wait_log("plugin%.failed.*plugin=x.*phase=control.*" .. message)
        api.is(api.get "/api/fine", 200)
      end
      fails("/api/raise", "attempt to concatenate")
      fails("/api/spin", "cut off: it ran for longer than 1000 ms without waiting")
      fails("/api/memory", "not enough memory")
      fails("/api/phase", "request.get_path cannot be called in the control phase, only in: rewrite")
      fails("/api/exit", "response.exit cannot be called in the control phase")
      fails("/api/yield", "there is nobody to yield to")
      fails("/api/kind", "there are no gadgets")
      fails("/api/own", "waiting inside a coroutine of the plugin's own is not possible")
      assert.matches('veloflux_plugin_errors_total{plugin="x",phase="control"} 8', api.get("/metrics").body)
    end, { plugin_limits = { memory = "16m", cpu = "1s" } })) -- time enough to take all that memory

  it("may do what our own do: greet, show the page, describe and reload", spec({ x = { api = api_of(
    endpoint("/api/greet", "return 200, { name = request.identity and request.identity.name or 'stranger' }",
      "greets = true,"),
    endpoint("/api/page", "return 200, pdk.state.page(pdk.json.null)", "response_type = 'text/html',"),
    endpoint("/api/kinds", "return 200, { kinds = pdk.schemas.kinds(), none = pdk.schemas.get 'cats' == nil,"
      .. " title = pdk.json.decode(pdk.schemas.get 'pools').title,"
      .. " paths = pdk.json.decode(pdk.schemas.openapi()).paths['/api/kinds'] ~= nil }"),
    endpoint("/api/again", [[
      local result, problem = pdk.configuration.reload()
      if not result then return problem end
      return 200, result]], "method = 'POST', dry_run = true, probation = false,")) } }, function(api, server)
    local password = { Authorization = "Basic " .. encoding.base64_encode "admin:a long password" }
    assert.same({ "stranger", "admin" },
      { api.is(api.get "/api/greet", 200).name, api.is(api.get("/api/greet", password), 200).name })
    api.problem(api.get("/api/greet", { Authorization = "Basic eA==" }), 401, "unauthorized")
    password.Accept = "text/html"
    local page = api.get("/api/page", password)
    assert.matches("^text/html", page:get "content-type")
    assert.matches("<title>", page.body)
    password.Accept = nil
    local told = api.is(api.get("/api/kinds", password), 200)
    assert.same({ true, true, "pool" }, { told.none, told.paths, told.title })
    assert.is_truthy(table.concat(told.kinds, " "):find "consumers credentials")
    api.problem(api.post("/api/again?probation=30s", nil, password), 400, "invalid")
    assert.is_true(api.is(api.post("/api/again?dry_run=true", nil, password), 200).dry_run)
    local done = api.post("/api/again", nil, password)
    assert.equal(tostring(api.is(done, 200).version), done:get "veloflux-version")
    server:write_conf { pools = { { nam = "x" } } }
    local refused = api.problem(api.post("/api/again", nil, password), 422, "config_rejected")
    assert.matches("did you mean name", refused.detail)
  end, { admin = { address = "127.0.0.1:0", auth = { enabled = true, password = "a long password" } } }))

  it("rests when it fails too often", spec({ x = { api = api_of(endpoint("/api/raise", "error 'broken'")) } },
    function(api, server)
      for _ = 1, 3 do api.problem(api.get "/api/raise", 500, "internal_error") end
      local rests = api.problem(api.get "/api/raise", 503, "unavailable")
      assert.equal("The plugin of this path fails too often: it rests.", rests.detail)
      server:wait_log "plugin%.tripped.*plugin=x"
    end, { plugin_limits = { trip = { errors = 3, window = "1h", pause = "1h" } } }))

  it("cannot be called in workers what is control's", spec({ x = { handler = [[
    function Plugin:access() local ok, why = pcall(pdk.transaction.apply, {}) pdk.response.exit(200, why) end]] } },
    function(_, server)
      local answer = clients.get(server.ports.http, "/")
      assert.matches("transaction.apply cannot be called in the access phase, only in: control", answer.body)
    end, { routes = { { name = "all", respond = { status = 204 }, plugins = { { name = "x" } } } } }))
end)

describe("the code of a plugin in control", function()
  local STATE = endpoint("/api/state", "return 200, { waits = pdk.shared:get 'waits' or false }")

  it("is replaced as a whole, and what runs finishes on the code it began with", spec({ x = { api = api_of(STATE,
    endpoint("/api/old", "return 200, { code = 1 }"),
    endpoint("/api/wait", "pdk.shared:set('waits', true) while not pdk.shared:get 'go' do"
      .. " pdk.timer.sleep(0.01) end return 200, { code = 1 }")) } }, function(api, server, folder)
    local answered = in_background(function() return api.is(api.get "/api/wait", 200) end)
    children.eventually("the handler to wait", function() return api.is(api.get "/api/state", 200).waits end)
    write(folder, "api", api_of(STATE, endpoint("/api/wait", "return 200, { code = 2 }"),
      endpoint("/api/go", "pdk.shared:set('go', true) return 204", "method = 'POST',")))
    assert.is_true(server:reload())
    assert.equal(2, api.is(api.get "/api/wait", 200).code)
    api.problem(api.get "/api/old", 404, "not_found")
    assert.is_nil(api.is(api.get "/api/openapi.json", 200).paths["/api/old"])
    assert.equal(204, api.post("/api/go").status)
    assert.equal(1, answered().code)
  end))

  it("is refused with file and line, and what runs goes on", spec({ x = { api = api_of(
    endpoint("/api/x", "return 200, { code = 1 }")) } }, function(api, server, folder, conf)
    local function refused(file, text, message)
      write(folder, file, text)
      local done, said = server:reload()
      assert.is_false(done)
      assert.matches(message, said)
      local code, out, err = servers.command { "check", "-c", server.file }
      assert.equal(1, code)
      assert.matches(message, out .. err)
      assert.equal(1, api.is(api.get "/api/x", 200).code)
      uv.fs_unlink(("%s/x/%s.lua"):format(folder, file))
    end
    refused("jobs", "return {", "x/jobs.lua:1: ")
    refused("jobs", "error 'boom'", "x/jobs.lua:1: boom")
    refused("jobs", "while true do end", "x/jobs.lua: does not come to an end")
    refused("jobs", HEAD .. "pdk.http.get 'http://x/'", "x/jobs.lua:2: .*while the plugin's code is loaded")
    refused("jobs", "return { { name = 'a', run = function() end } }", "x/jobs.lua: %[1%]%.every: expected either")
    refused("entities", "return { { kind = 'pools', schema = {} } }", "x/entities.lua:1: the kind pools is taken, by")
    refused("channels", "return { { path = 5 } }", "x/channels.lua.*channel 5: path: expected a string, got a number")
    write(folder, "api", api_of(endpoint("/api/x", "return 200, { code = 1 }")))
    assert.is_true(server:reload())
    assert.is_truthy(conf)
  end))

  it("may not take what others have", loop.spec(function()
    local one = api_of(endpoint("/api/x/{id}", "return 200, {}"))
    local folder = plugins.write { x = { api = one } }
    local server = servers.start { conf = { plugin_path = { folder } } }
    local function refused(sources, message)
      plugins.write(sources, folder)
      local done, said = server:reload()
      assert.is_false(done)
      assert.matches(message, said)
      local _, out, err = servers.command { "check", "-c", server.file }
      assert.matches(message, out .. err)
    end
    refused({ y = { api = api_of(endpoint("/api/pools/{pool}", "return 200, {}")) } },
      "y/api.lua: GET /api/pools/{pool} is taken, by VeloFlux itself")
    refused({ y = { api = api_of(endpoint("/api/x/{name}", "return 200, {}")) } },
      "y/api.lua: GET /api/x/{name} is taken, by the plugin x")
    local both = "return { { path = '/api/x/status', permission = 'user', type = 's' },"
      .. " { path = '/api/ws/status', permission = 'user', type = 's' } }"
    refused({ y = { api = "return {}", channels = both } },
      "y/channels.lua: GET /api/ws/status is taken, by the plugin status")
    uv.fs_unlink(folder .. "/y/channels.lua")
    refused({ y = { api = api_of(endpoint("/api/ys/{id}", "return 200, {}")),
      entities = "return { { kind = 'ys', schema = {} } }" } },
      "y/%w+.lua: GET /api/ys/{id} is taken, by the plugin y")
    server:stop()
  end))

  it("is no plugin for routes without a handler", loop.spec(function()
    local folder = plugins.write { x = { api = api_of(endpoint("/api/x", "return 200, {}")) } }
    local file = tempdir.new() .. "/conf.yaml"
    tempdir.write(file, servers.encode { plugin_path = { folder }, plugins = { { name = "x" } } })
    local code, out, err = servers.command { "check", "-c", file }
    assert.equal(1, code)
    assert.matches("plugins%[0%].name: the plugin x has no handler.lua: it works in control", out .. err)
  end))
end)

describe("records of a plugin", function()
  local function kind(version, migrations, field)
    return ("return { { kind = 'parts', schema = { %s = { type = 'integer', default = 0 },"
      .. " key = { type = 'string', secret = true } }, version = %d, migrations = { %s } } }"):format(field or "size",
      version, migrations or "")
  end

  it("are brought to the version that the plugin has now", spec({ x = { entities = kind(1) } },
    function(api, server, folder)
      api.is(api.post("/api/parts", { name = "a", size = 4, key = "secret words" }), 201)
      local before = api.is(api.get "/api/config", 200).version
      write(folder, "entities", kind(2, "[2] = function(record) error 'it is lost' end"))
      local done, said = server:reload()
      assert.is_false(done)
      assert.matches("parts of the plugin x: migration 2 failed: .*it is lost", said)
      assert.equal(4, api.is(api.get "/api/parts/a", 200).size)
      write(folder, "entities", kind(2, "[2] = function(record) record.width, record.size = record.size * 2, nil end",
        "width"))
      assert.is_true(server:reload())
      assert.equal(8, api.is(api.get "/api/parts/a", 200).width)
      api.is(api.patch("/api/parts/a", { width = 9 }), 200)
      assert.equal(9, api.is(api.get "/api/parts/a", 200).width)
      api.is(api.post(("/api/config/versions/%d/rollback"):format(before)), 200)
      assert.equal(8, api.is(api.get "/api/parts/a", 200).width)
      assert.equal("*****", api.is(api.get "/api/parts/a", 200).key)
    end))

  it("are kept when they cannot be read at a start", loop.spec(function()
    local folder = plugins.write { x = { entities = kind(1) } }
    local server = servers.start { conf = { plugin_path = { folder } } }
    local api = apis.of(server)
    api.is(api.post("/api/pools", { name = "web" }), 201)
    api.is(api.post("/api/parts", { name = "a", size = 4 }), 201)
    server:stop()
    write(folder, "entities", kind(2, "[2] = function(record) error 'it is lost' end"))
    local again = servers.start { conf = { plugin_path = { folder }, data_dir = server.dir .. "/data" } }
    api = apis.of(again)
    again:wait_log "conf%.warning.*parts default/a is kept, but cannot be read: .*migration 2 failed"
    api.is(api.get "/api/pools/web", 200)
    api.problem(api.get "/api/parts/a", 404, "not_found")
    api.problem(api.post("/api/parts", { name = "a" }), 409, "exists")
    write(folder, "entities", kind(2, "[2] = function(record) record.size = record.size + 1 end"))
    assert.is_true(again:reload())
    assert.equal(5, api.is(api.get "/api/parts/a", 200).size)
    again:stop()
  end))

  it("seal secrets inside of their fields, too", spec({ x = { entities = [[
    return { { kind = "parts", schema = {
      key = { type = "string", secret = true },
      login = { type = "record", fields = { name = { type = "string" }, word = { type = "string", secret = true } } },
      tokens = { type = "array", elements = { type = "string", secret = true } },
      by_name = { type = "map", keys = { type = "string" }, values = { type = "string", secret = true } } } } }]],
    api = api_of(endpoint("/api/own", "return 200, pdk.model.find('parts', 'a')")) } }, function(api, server)
      local secret = { login = { name = "ana", word = "secret one" }, tokens = { "secret two", "secret three" },
        by_name = { first = "secret four" } }
      api.is(api.post("/api/parts", { name = "a", login = secret.login, tokens = secret.tokens,
        by_name = secret.by_name }), 201)
      local own, shown = api.is(api.get "/api/own", 200), api.is(api.get "/api/parts/a", 200)
      for name, value in pairs(secret) do assert.same(value, own[name]) end
      assert.same({ { name = "ana", word = "*****" }, { "*****", "*****" }, { first = "*****" } },
        { shown.login, shown.tokens, shown.by_name })
      assert.is_nil(tempdir.read(server.dir .. "/data/last-model.json"):find("secret ", 1, true))
    end))

  it("seal secrets, which only their own plugin sees", spec({
    x = { entities = kind(1), api = api_of(endpoint("/api/own",
      "return 200, { key = pdk.model.find('parts', 'a').key }")) },
    y = { api = api_of(endpoint("/api/other", "return 200, { key = pdk.model.find('parts', 'a').key }")) },
  }, function(api, server)
    api.is(api.post("/api/parts", { name = "a", key = "secret words" }), 201)
    assert.equal("secret words", api.is(api.get "/api/own", 200).key)
    assert.equal("*****", api.is(api.get "/api/other", 200).key)
    assert.is_nil(api.get("/api/config/export").body:find("secret words", 1, true))
    assert.is_nil(tempdir.read(server.dir .. "/data/last-model.json"):find("secret words", 1, true))
  end))
end)

describe("a job of a plugin", function()
  local function job(fields) return HEAD .. ("return { { name = 'j', every = 0.1, %s } }\n"):format(fields) end

  local function told(api, is_good)
    return children.eventually("the job to be told of", function()
      for _, found in ipairs(api.is(api.get "/api/jobs", 200)) do
        if found.name == "j" and is_good(found) then return found end
      end
    end)
  end

  it("never runs twice at a time", spec({ x = { jobs = job [[run = function()
      local now = pdk.shared:incr("now", 1, 0)
      pdk.shared:set("most", math.max(now, pdk.shared:get "most" or 0))
      pdk.timer.sleep(0.25)
      pdk.shared:incr("now", -1)
    end]], api = api_of(endpoint("/api/most", "return 200, { most = pdk.shared:get 'most' or 0 }")) } },
    function(api)
      told(api, function(found) return found.runs >= 3 end)
      assert.equal(1, api.is(api.get "/api/most", 200).most)
    end))

  it("never runs twice at a time when its code goes and comes meanwhile", function()
    local JOB = [[run = function()
      local now = pdk.shared:incr("now", 1, 0)
      pdk.shared:incr("begun", 1, 0)
      pdk.shared:set("most", math.max(now, pdk.shared:get "most" or 0))
      pdk.timer.sleep(2)
      pdk.shared:incr("now", -1)
    end]]
    spec({ x = { jobs = job(JOB), api = api_of(endpoint("/api/most",
      "return 200, { most = pdk.shared:get 'most' or 0, begun = pdk.shared:get 'begun' or 0 }")) } },
    function(api, server, folder)
      local function wait_begun(n)
        return children.eventually(n .. " runs to begin", function()
          local found = api.is(api.get "/api/most", 200)
          return found.begun >= n and found
        end)
      end
      local function reload(text)
        write(folder, "jobs", text)
        assert.is_true(server:reload())
      end
      wait_begun(1)
      reload(job(JOB .. ", description = 'second'"))
      assert.is_true(told(api, function() return true end).running)
      reload(job(JOB .. ", description = 'third'"))
      assert.equal(1, wait_begun(2).most)
      reload "return {}"
      reload(job(JOB .. ", description = 'back'"))
      assert.equal(1, wait_begun(3).most)
    end)()
  end)

  it("that never ends, raises or spins is ended, counted and run again", spec({ x = { jobs = job [[timeout = 0.3,
    run = function(job)
      if job.run == 1 then pdk.timer.sleep(3600) end
      if job.run == 2 then error "broken" end
      if job.run == 3 then while true do end end
    end]] } }, function(api, server)
      local found = told(api, function(found) return found.runs >= 4 end)
      assert.same({ 3, "ok" }, { found.errors, found.last_result })
      server:wait_log "plugin%.late.*what=\"?job j"
      server:wait_log "plugin%.failed.*broken"
      server:wait_log "plugin%.failed.*cut off"
      api.is(api.get "/api/pools", 200)
    end))

  it("goes with its code", spec({ x = { jobs = job "run = function() end" } }, function(api, server, folder)
    told(api, function(found) return found.runs >= 1 end)
    write(folder, "jobs", job "scope = 'cluster', run = function(job) assert(job.is_leader()) end")
    assert.is_true(server:reload())
    local found = told(api, function(found) return found.scope == "cluster" and found.runs >= 2 end)
    assert.equal(0, found.errors)
    write(folder, "jobs", "return {}")
    write(folder, "api", api_of(endpoint("/api/x", "return 200, {}")))
    assert.is_true(server:reload())
    assert.same({}, api.is(api.get "/api/jobs", 200))
  end))
end)

--- What routes do to requests and answers: targets, redirects, fixed answers, edits of fields.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"
local servers = require "support.server"

local function pooled(name, fields)
  fields.name, fields.pool = name, "web"
  return fields
end

describe("the target that a backend gets", function()
  local shared, server = loop.scope(), nil
  setup(shared:spec(function()
    server = servers.start { conf = {
      pools = { { name = "web", backends = { { address = origins.start().address } } } },
      routes = {
        pooled("as-sent", { path_prefix = "/as-sent" }),
        pooled("strip", { path_prefix = "/strip", strip_prefix = true }),
        pooled("prefix", { path_prefix = "/old", rewrite = "/new" }),
        pooled("slash", { path_prefix = "/slash", rewrite = "/" }),
        pooled("exact", { path = "/exact", rewrite = "/other" }),
        pooled("captures", { path_regex = [[^/v(\d+)/([a-z]+)(/x)?$]], rewrite = "/api/$2/$1$3$$" }),
      },
    } }
  end))
  teardown(rig.closer(shared, function() return server end))

  for sent, expected in pairs {
    ["/as-sent/a%2Db?q=%20&r"] = "/as-sent/a%2Db?q=%20&r",
    ["/as-sent//x/?"] = "/as-sent//x/?",
    ["/as-sent/./a/../b%7E?q=.."] = "/as-sent/b~?q=..",
    ["/strip"] = "/",
    ["/strip?x=/strip"] = "/?x=/strip",
    ["/strip/"] = "/",
    ["/strip/a/b?x=1"] = "/a/b?x=1",
    ["/strip/%61%20b"] = "/a%20b",
    ["/strip//host.example/x"] = "//host.example/x",
    ["/old"] = "/new",
    ["/old/a?x=1"] = "/new/a?x=1",
    ["/slash"] = "/",
    ["/slash/a"] = "/a",
    ["/exact?x=1"] = "/other?x=1",
    ["http://localhost/as-sent/a?b"] = "/as-sent/a?b",
    ["http://localhost/strip/a"] = "/a",
  } do
    it(("of %s is %s"):format(sent, expected), shared:spec(function()
      assert.equal(expected, rig.seen(clients.get(server.ports.http, sent)).target)
    end))
  end

  it("is filled in from captures", shared:spec(function()
    assert.equal("/api/users/12$?q=1", rig.seen(clients.get(server.ports.http, "/v12/users?q=1")).target)
    assert.equal("/api/users/1/x$", rig.seen(clients.get(server.ports.http, "/v1/users/x")).target)
  end))
end)

describe("answers of a route itself", function()
  local shared, server = loop.scope(), nil
  setup(shared:spec(function()
    server = servers.start { conf = {
      headers = { response = { set = { ["X-From"] = "edge" } } },
      routes = {
        { name = "simple", path = "/simple", redirect = "https://example.com/" },
        { name = "secure", path_prefix = "/secure", redirect = { to = "https://$host$path?$query", status = 308 } },
        { name = "captured", path_regex = "^/u/([^/]+)/(.*)$", redirect = { to = "/users/$1?rest=$2", status = 302 } },
        { name = "text", path_prefix = "/text", respond = { body = "hello", status = 418 },
          headers = { response = { add = { ["X-Text"] = "1" } } } },
        { name = "json", path = "/json", respond = { body = '{"a":1}', type = "application/json" } },
        { name = "empty", path = "/empty", respond = { status = 204 } },
        { name = "same", path = "/same", respond = { status = 304 } },
      },
    } }
  end))
  teardown(rig.closer(shared, function() return server end))

  it("redirect", shared:spec(function()
    local response = clients.get(server.ports.http, "/simple")
    assert.same({ 301, "https://example.com/", "" }, { response.status, response:get "location", response.body })
    assert.equal("edge", response:get "x-from")
  end))

  it("redirect with host, path and query", shared:spec(function()
    local response = clients.get(server.ports.http, "/secure/%61/b?x=1&y", { Host = "Shop.example.com:8000" })
    assert.same({ 308, "https://Shop.example.com/secure/a/b?x=1&y" }, { response.status, response:get "location" })
  end))

  it("redirect with captures", shared:spec(function()
    local response = clients.get(server.ports.http, "/u/ana/a/b")
    assert.same({ 302, "/users/ana?rest=a/b" }, { response.status, response:get "location" })
  end))

  it("keep a redirect in one field, whatever the path holds", shared:spec(function()
    local response = clients.get(server.ports.http, "/secure/%0d%0aX-Evil:%201")
    assert.is_nil(response:get "x-evil")
    assert.is_truthy(response.status == 308 or response.status == 400)
  end))

  it("say nothing of a length that they do not know", shared:spec(function()
    for path, status in pairs { ["/empty"] = 204, ["/same"] = 304 } do
      local response = clients.get(server.ports.http, path)
      assert.same({ status, nil, nil }, { response.status, response:get "content-length",
        response:get "transfer-encoding" })
    end
  end))

  it("say a fixed text", shared:spec(function()
    local response = clients.get(server.ports.http, "/text/x")
    assert.same({ 418, "hello", "text/plain", "5", "1", "edge" }, {
      response.status, response.body, response:get "content-type", response:get "content-length",
      response:get "x-text", response:get "x-from",
    })
    response = clients.get(server.ports.http, "/json")
    assert.same({ 200, '{"a":1}', "application/json" }, { response.status, response.body, response:get "content-type" })
    response = clients.get(server.ports.http, "/empty")
    assert.same({ 204, "", nil }, { response.status, response.body, response:get "content-length" })
  end))

  it("come after the content of the request, on one connection", shared:spec(function()
    local client = clients.connect(server.ports.http)
    for _ = 1, 3 do
      client:request("POST", "/text", nil, ("x"):rep(1000))
      assert.equal("hello", client:read_response("POST").body)
      client:send "POST /json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
      assert.equal('{"a":1}', client:read_response("POST").body)
    end
  end))
end)

describe("edits of fields", function()
  local function edit(name, extra)
    local edits = { set = { ["X-" .. name] = name }, add = { ["X-Level"] = name } }
    for key, value in pairs(extra or {}) do edits[key] = value end
    return edits
  end

  local shared, server, answered = loop.scope(), nil, nil
  setup(shared:spec(function()
    local origin = origins.start(function(conn, request)
      if request.target:find "^/answer" then
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Level: origin\r\nServer: origin/1.0\r\n"
          .. "X-Secret: 1\r\nX-Secret: 2\r\n\r\n")
      else
        origins.echo(conn, request)
      end
    end)
    server = servers.start { conf = {
      headers = { request = edit("global", { remove = { "X-Client" } }), response = edit("global") },
      listeners = { { name = "http", address = "127.0.0.1:0",
        headers = { request = edit "listener", response = edit("listener", { remove = { "x-secret" } }) } } },
      pools = { { name = "web", backends = { { address = origin.address } },
        headers = { request = edit "pool", response = edit("pool", { remove = { "Server" } }) } } },
      routes = {
        pooled("host", { path_prefix = "/host", headers = { request = { set = { Host = "internal.test" } } } }),
        pooled("reset", { path_prefix = "/reset", headers = { request = {
          remove = { "X-Level" }, set = { ["X-Global"] = "route" }, add = { ["X-Many"] = { "1", "2" } },
        } } }),
        pooled("site", { path_prefix = "/", headers = { request = edit "route", response = edit "route" } }),
      },
    } }
    answered = clients.get(server.ports.http, "/answer")
  end))
  teardown(rig.closer(shared, function() return server end))

  it("add up from the widest level to the narrowest", shared:spec(function()
    local seen = rig.seen(clients.get(server.ports.http, "/", { ["X-Level"] = "client", ["x-client"] = "1" }))
    assert.equal("client, global, listener, pool, route", seen.get "x-level")
    for _, name in ipairs { "global", "listener", "pool", "route" } do assert.equal(name, seen.get("x-" .. name)) end
    assert.is_nil(seen.get "x-client")
    assert.equal("origin, global, listener, pool, route", answered:get "x-level")
    for _, name in ipairs { "global", "listener", "pool", "route" } do
      assert.equal(name, answered:get("x-" .. name))
    end
    assert.same({}, { answered:get "x-secret", answered:get "server" })
  end))

  it("of a narrower level see those of a wider one", shared:spec(function()
    local seen = rig.seen(clients.get(server.ports.http, "/reset", { ["X-Level"] = "client" }))
    assert.same({ "route", "1, 2" }, { seen.get "x-global", seen.get "x-many" })
    assert.is_nil(seen.get "x-level")
  end))

  it("may give the backend another Host; the client's stays in X-Forwarded-Host", shared:spec(function()
    local seen = rig.seen(clients.get(server.ports.http, "/host", { Host = "public.test" }))
    assert.same({ "internal.test", "public.test" }, { seen.get "host", seen.get "x-forwarded-host" })
    seen = rig.seen(clients.get(server.ports.http, "/", { Host = "public.test:80" }))
    assert.equal("public.test:80", seen.get "host")
  end))
end)

--- Which route answers: hosts, paths, methods, conditions, tenants.
local clients = require "support.client"
local loop = require "support.loop"
local rig = require "support.rig"
local servers = require "support.server"

-- A route that answers with its own name.
local function fixed(name, fields)
  fields.name, fields.respond = name, { body = name }
  return fields
end

describe("the route", function()
  local shared, server = loop.scope(), nil
  setup(shared:spec(function()
    server = servers.start { conf = { routes = {
      fixed("exact-host", { host = "a.example.com", path = "/only" }),
      fixed("exact-host-api", { host = "a.example.com", path_prefix = "/api" }),
      fixed("wildcard", { host = "*.example.com", path_prefix = "/" }),
      fixed("fallback", { host = "*", path_prefix = "/", priority = 1000 }),
      fixed("several", { hosts = { "one.test", "two.test", "*.three.test" }, path_prefix = "/" }),

      fixed("exact", { host = "paths.test", path = "/api/v1" }),
      fixed("regex", { host = "paths.test", path_regex = [[^/api/v\d+$]] }),
      fixed("prefix", { host = "paths.test", path_prefix = "/api/" }),
      fixed("longer", { host = "paths.test", path_prefix = "/api/users" }),
      fixed("first", { host = "paths.test", path_prefix = "/first", priority = 1 }),
      fixed("behind-first", { host = "paths.test", path = "/first/exact" }),
      fixed("below-all", { host = "paths.test", path = "/api/users/exact", priority = -1 }),

      fixed("reads", { host = "methods.test", path_prefix = "/m", methods = { "GET" } }),
      fixed("writes", { host = "methods.test", path_prefix = "/m", methods = { "POST", "DELETE" } }),
      fixed("any", { host = "methods.test", path_prefix = "/any" }),

      fixed("plain", { host = "match.test", path_prefix = "/" }),
      fixed("header", { host = "match.test", path_prefix = "/", match = { headers = { ["X-Kind"] = "beta" } } }),
      fixed("pattern", { host = "match.test", path_prefix = "/",
        match = { headers = { ["X-Kind"] = { regex = "^v[0-9]+$" } } } }),
      fixed("present", { host = "match.test", path_prefix = "/",
        match = { headers = { ["X-Any"] = { present = true } } } }),
      fixed("query", { host = "match.test", path_prefix = "/", match = { query = { mode = "dark" } } }),
      fixed("both", { host = "match.test", path_prefix = "/",
        match = { headers = { ["X-Kind"] = "beta" }, query = { mode = { regex = "^d" } } } }),
      fixed("absent", { host = "absent.test", path_prefix = "/",
        match = { headers = { Cookie = { present = false } } } }),
    } } }
  end))
  teardown(rig.closer(shared, function() return server end))

  local function answer(host, path, fields, method)
    local sent = { Host = host }
    for name, value in pairs(fields or {}) do sent[name] = value end
    local response = clients.request(server.ports.http, method or "GET", path, sent)
    if response.status == 200 then return response.body end
    return response.status, response
  end

  it("is one for exactly this host, else for its wildcard, else for all", shared:spec(function()
    assert.equal("exact-host", answer("a.example.com", "/only"))
    assert.equal("wildcard", answer("a.example.com", "/other"))
    assert.equal("wildcard", answer("b.example.com", "/only"))
    assert.equal("fallback", answer("x.b.example.com", "/only"))
    assert.equal("fallback", answer("example.com", "/only"))
    assert.equal("fallback", answer("127.0.0.1", "/"))
    assert.equal("fallback", answer("[::1]:80", "/"))
  end))

  it("is found whatever the case, port and final dot of the host", shared:spec(function()
    for _, host in ipairs { "A.Example.COM", "a.example.com:8000", "a.example.com.", "a.EXAMPLE.com.:1" } do
      assert.equal("exact-host", answer(host, "/only"))
    end
  end))

  it("may have several hosts", shared:spec(function()
    assert.equal("several", answer("one.test", "/"))
    assert.equal("several", answer("two.test", "/x"))
    assert.equal("several", answer("x.three.test", "/"))
    assert.equal("fallback", answer("three.test", "/"))
  end))

  it("is taken from the target in absolute form", shared:spec(function()
    assert.equal("exact-host", answer("one.test", "http://a.example.com/only"))
  end))

  it("is the exact path, then the pattern, then the longest prefix", shared:spec(function()
    assert.equal("exact", answer("paths.test", "/api/v1"))
    assert.equal("exact", answer("paths.test", "/api/v1?x=1"))
    assert.equal("regex", answer("paths.test", "/api/v22"))
    assert.equal("prefix", answer("paths.test", "/api/v22/x"))
    assert.equal("longer", answer("paths.test", "/api/users/7"))
  end))

  it("has a prefix that ends at a segment", shared:spec(function()
    assert.equal("prefix", answer("paths.test", "/api"))
    assert.equal("prefix", answer("paths.test", "/api/"))
    assert.equal("prefix", answer("paths.test", "/api/usersx"))
    assert.equal("fallback", answer("paths.test", "/apix"))
    assert.equal("fallback", answer("paths.test", "/API"))
  end))

  it("goes by priority before anything else within a host", shared:spec(function()
    assert.equal("first", answer("paths.test", "/first/exact"))
    assert.equal("longer", answer("paths.test", "/api/users/exact"))
  end))

  it("sees paths in their normal form", shared:spec(function()
    assert.equal("exact", answer("paths.test", "/%61pi/v1"))
    assert.equal("exact", answer("paths.test", "/x/../api/./v1"))
    assert.equal("exact", answer("paths.test", "/x/%2e%2e/api/v1"))
    assert.equal("fallback", answer("paths.test", "//api/v1"))
    assert.equal(400, answer("paths.test", "/../api/v1"))
    assert.equal(400, answer("paths.test", "/api%2Fv1"))
  end))

  it("is for its methods; others learn which there are", shared:spec(function()
    assert.equal("reads", answer("methods.test", "/m"))
    assert.equal("writes", answer("methods.test", "/m", nil, "POST"))
    assert.equal("writes", answer("methods.test", "/m", nil, "DELETE"))
    assert.equal("any", answer("methods.test", "/any", nil, "PUT"))
  end))

  it("falls back to another class of hosts before it refuses a method", shared:spec(function()
    assert.equal("fallback", answer("methods.test", "/m", nil, "PUT"))
  end))

  it("looks at header fields and query, most conditions first", shared:spec(function()
    assert.equal("plain", answer("match.test", "/"))
    assert.equal("header", answer("match.test", "/", { ["x-kind"] = "beta" }))
    assert.equal("plain", answer("match.test", "/", { ["X-Kind"] = "BETA" }))
    assert.equal("pattern", answer("match.test", "/", { ["X-Kind"] = "v12" }))
    assert.equal("present", answer("match.test", "/", { ["X-Any"] = "" }))
    assert.equal("query", answer("match.test", "/?a=b&mode=dark"))
    assert.equal("plain", answer("match.test", "/?mode=light&amode=dark"))
    assert.equal("both", answer("match.test", "/?mode=dusk", { ["X-Kind"] = "beta" }))
    assert.equal("absent", answer("absent.test", "/"))
    assert.equal("fallback", answer("absent.test", "/", { Cookie = "a=b" }))
  end))
end)

describe("without a route", function()
  it("the answer is 404, or 405 with the methods that there are", loop.spec(function()
    local server = servers.start { conf = { routes = {
      fixed("reads", { path_prefix = "/m", methods = { "GET" } }),
      fixed("writes", { path_prefix = "/m", methods = { "POST", "DELETE" } }),
    } } }
    local missing = clients.get(server.ports.http, "/elsewhere")
    assert.same({ 404, "no_route", "application/problem+json" },
      { missing.status, rig.code(missing), missing:get "content-type" })
    local refused = clients.request(server.ports.http, "PUT", "/m/1", nil, "body")
    assert.same({ 405, "method_not_allowed" }, { refused.status, rig.code(refused) })
    local allowed = {}
    for method in refused:get("allow"):gmatch "%u+" do allowed[#allowed + 1] = method end
    table.sort(allowed)
    assert.same({ "DELETE", "GET", "POST" }, allowed)
    assert.equal(405, clients.request(server.ports.http, "HEAD", "/m/1").status)
    server:stop()
  end))

  it("extension methods are known by name, where routes say so", loop.spec(function()
    local server = servers.start { conf = { routes = {
      fixed("brew", { path_prefix = "/m", methods = { "GET", "BREW", "X-COPY" } }),
      fixed("when", { path_prefix = "/m", methods = { "WHEN" } }),
    } } }
    local function ask(method) return clients.request(server.ports.http, method, "/m", nil, "hi") end
    assert.equal("brew", ask("X-COPY").body)
    assert.equal("when", ask("WHEN").body)
    local refused = ask "X-COP"
    assert.same({ 405, "GET, BREW, X-COPY, WHEN" }, { refused.status, refused:get "allow" })
    server:stop()
  end))

  it("browsers get a page", loop.spec(function()
    local server = servers.start { conf = { routes = { fixed("one", { path = "/one" }) } } }
    local response = clients.get(server.ports.http, "/two", { Accept = "text/html,application/xhtml+xml,*/*;q=0.8" })
    assert.same({ 404, "text/html; charset=utf-8" }, { response.status, response:get "content-type" })
    assert.matches("no_route", response.body)
    server:stop()
  end))
end)

describe("tenants", function()
  local function conf()
    return {
      tenants = {
        { name = "acme", hosts = { "acme.test", "*.acme.test" } },
        { name = "rest", hosts = { "rest.test" }, active = false },
      },
      routes = {
        fixed("ours", { path_prefix = "/" }),
        fixed("theirs", { tenant = "acme", path_prefix = "/shop" }),
        fixed("named", { tenant = "acme", host = "b.acme.test", path_prefix = "/" }),
        fixed("asleep", { tenant = "rest", path_prefix = "/" }),
      },
    }
  end

  it("own their hosts: their routes come first there", loop.spec(function()
    local server = servers.start { conf = conf() }
    local function answer(host, path)
      local response = clients.get(server.ports.http, path, { Host = host })
      return response.status == 200 and response.body or response.status
    end
    assert.equal("ours", answer("any.test", "/shop"))
    assert.equal("theirs", answer("acme.test", "/shop/1"))
    assert.equal("theirs", answer("a.acme.test", "/shop"))
    assert.equal("named", answer("b.acme.test", "/"))
    assert.equal("ours", answer("acme.test", "/")) -- the platform's routes for every host come last
    assert.equal("ours", answer("a.acme.test", "/other"))
    assert.equal(503, answer("rest.test", "/"))
    server:stop()
  end))

  it("cannot use the hosts and pools of others", loop.spec(function()
    local bad = conf()
    bad.pools = {
      { name = "private", tenant = "acme", backends = { { address = "127.0.0.1:1" } } },
      { name = "common", shared = true, backends = { { address = "127.0.0.1:1" } } },
    }
    bad.routes[#bad.routes + 1] = { name = "thief", host = "acme.test", path_prefix = "/", pool = "common" }
    bad.routes[#bad.routes + 1] = { name = "guest", path_prefix = "/g", pool = "private" }
    bad.routes[#bad.routes + 1] = { name = "customer", tenant = "acme", path_prefix = "/c", pool = "common" }
    local dir = require("support.tempdir").new()
    require("support.tempdir").write(dir .. "/bad.yaml", servers.encode(bad))
    local code, _, err = servers.command { "check", "-c", dir .. "/bad.yaml" }
    assert.equal(1, code)
    assert.matches("routes%[4%]%.host.*acme", err)
    assert.matches('routes%[5%]%.pool: unknown pool "private"', err)
    assert.matches("2 problems", err)
  end))
end)

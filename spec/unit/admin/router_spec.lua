local routers = require "veloflux.admin.router"

local function endpoint(method, path) return { method = method, path = path, open = true, handler = function() end } end

local function router_of(...)
  local router = routers.new()
  for _, one in ipairs { ... } do router:register(one) end
  return router
end

describe("admin router", function()
  it("finds by method and path, with what the names matched", function()
    local list, one = endpoint("GET", "/api/pools"), endpoint("PUT", "/api/pools/{pool}/backends/{id}")
    local router = router_of(list, one)
    assert.equal(list, (router:find("GET", "/api/pools")))
    local found, params = router:find("PUT", "/api/pools/web/backends/127.0.0.1:80")
    assert.equal(one, found)
    assert.same({ pool = "web", id = "127.0.0.1:80" }, params)
  end)

  it("prefers what is written out", function()
    local any, health = endpoint("GET", "/api/status/{part}"), endpoint("GET", "/api/status/health")
    local router = router_of(any, health)
    assert.equal(health, (router:find("GET", "/api/status/health")))
    assert.equal(any, (router:find("GET", "/api/status/other")))
  end)

  it("takes paths literally", function()
    local router = router_of(endpoint("GET", "/a.b+c"), endpoint("GET", "/v-1.0/{x}"))
    assert.is_nil((router:find("GET", "/aXb+c")))
    assert.is_table((router:find("GET", "/v-1.0/y")))
    assert.is_nil((router:find("GET", "/v-1x0/y")))
    assert.is_nil((router:find("GET", "/v-1.0/{x}/z")))
    assert.is_nil((router:find("GET", "/v-1.0/")))
  end)

  it("answers HEAD by GET, unless there is one", function()
    local get, head = endpoint("GET", "/a"), endpoint("HEAD", "/b")
    local router = router_of(get, head, endpoint("GET", "/b"))
    assert.equal(get, (router:find("HEAD", "/a")))
    assert.equal(head, (router:find("HEAD", "/b")))
  end)

  it("answers 404, 405 with Allow, and OPTIONS", function()
    local router = router_of(endpoint("GET", "/a"), endpoint("DELETE", "/a"), endpoint("POST", "/a"))
    local none, result = router:find("GET", "/x")
    assert.is_nil(none)
    assert.equal(404, result.status)
    result = select(2, router:find("PUT", "/a"))
    assert.equal(405, result.status)
    assert.same({ "Allow", "GET, HEAD, POST, DELETE, OPTIONS" }, result.headers)
    result = select(2, router:find("OPTIONS", "/a"))
    assert.equal(204, result.status)
    assert.same({ "Allow", "GET, HEAD, POST, DELETE, OPTIONS" }, result.headers)
    result = select(2, router:find("OPTIONS", "*"))
    assert.equal(204, result.status)
  end)

  it("takes an endpoint once, and only with a permission or open", function()
    local router = router_of(endpoint("GET", "/a"))
    assert.has_error(function() router:register(endpoint("GET", "/a")) end, "GET /a is registered already")
    assert.has_error(function() router:register { method = "GET", path = "/b", handler = print } end)
  end)
end)

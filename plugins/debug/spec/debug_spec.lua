local kit = require "veloflux.kit"

describe("debug", function()
  local gateway
  before_each(function()
    local routes = {}
    for i = 1, 4 do routes[i] = { name = "r" .. i, path = "/" .. i, respond = { status = 200 } } end
    gateway = kit.start { control = true, conf = { routes = routes } }
  end)

  local function get(what, identity) return gateway:call { path = "/api/debug/" .. what, identity = identity } end

  it("lists what runs, in parts", function()
    local all = get "routes"
    assert.same({ 200, 4 }, { all.status, #all.body })
    assert.equal("4", all.headers["X-Total-Count"])
    assert.is_nil(all.headers.link)
    local part = get "routes?limit=3"
    assert.equal('</api/debug/routes?limit=3&cursor=3>; rel="next"', part.headers.link)
    local rest = get "routes?limit=3&cursor=3"
    assert.same({ 3, 1 }, { #part.body, #rest.body })
    assert.is_nil(rest.headers.link)
    for _, wrong in ipairs { "?cursor=3", "?limit=0", "?limit=501", "?limit=x", "?colour=red" } do
      assert.equal(400, get("routes" .. wrong).status, wrong)
    end
    for _, what in ipairs { "pools", "backends", "performance" } do assert.equal(200, get(what).status, what) end
  end)

  it("explains what would become of a request", function()
    local answer = gateway:call { method = "POST", path = "/api/debug/explain", body = { url = "http://x.test/2" } }
    assert.equal(200, answer.status, answer.text)
    assert.matches('"r2"', answer.text, 1, true)
    local refused = gateway:call { method = "POST", path = "/api/debug/explain", body = {} }
    assert.same({ 400, "/url" }, { refused.status, refused.body.errors[1].pointer })
  end)

  it("sets log levels and takes them back", function()
    local function put(levels) return gateway:call { method = "PUT", path = "/api/debug/log-level", body = levels } end
    assert.equal(200, put({ level = "error" }).status)
    assert.equal("error", get("log-level").body.level)
    assert.equal(400, put({ level = "loud" }).status)
    assert.equal(200, gateway:call({ method = "DELETE", path = "/api/debug/log-level" }).status)
    assert.equal("info", get("log-level").body.level)
  end)

  it("is for who may", function()
    assert.equal(200, get("pools", { permissions = { "debug:read" } }).status)
    assert.equal(403, get("pools", { role = "user" }).status)
    assert.equal(403, gateway:call({ method = "DELETE", path = "/api/debug/log-level",
      identity = { permissions = { "debug:read" } } }).status)
  end)
end)

require "support.library"
local kinds = require "veloflux.model"
local outcome = require "veloflux.control.outcome"

local function route(tenant, name, pool)
  return { tenant = tenant, name = name, _pool = pool and { tenant = tenant, name = pool } or nil }
end

local MODEL = { routes = { route("default", "a", "web"), route("default", "b", "api"), route("default", "c"),
  route("acme", "a", "web") } }

local function affected(...)
  local net = {}
  for i, text in ipairs { ... } do
    local kind, key = text:match "^(%S+) (.*)$"
    net[i] = { kind = kind, key = key }
  end
  return (outcome.affected_routes(net, { MODEL }))
end

describe("routes that a change affects", function()
  it("are the changed ones, those of a pool, of a tenant, or all", function()
    assert.same({ "default/b" }, affected "routes default/b")
    assert.same({ "acme/a" }, affected "pools acme/web")
    assert.same({ "acme/a" }, affected "tenants acme")
    assert.same({ "acme/a" }, affected "consumers acme/ann")
    assert.same({ "default/a", "default/b" }, affected("pools default/web", "routes default/b"))
    assert.same({ "acme/a", "default/a", "default/b", "default/c" }, affected "plugins cors")
    assert.same({ "acme/a" }, affected "plugins acme/cors")
    assert.same({}, affected("routes default/z", "pools default/z", "tenants z"))
  end)

  it("are those of all models that are given, once each, and 1,000 by name", function()
    local net, models = {}, { { routes = {} }, { routes = {} } }
    for i = 1, 1500 do
      net[i] = { kind = "routes", key = "default/" .. i }
      models[1 + i % 2].routes[#models[1 + i % 2].routes + 1] = route("default", tostring(i))
    end
    models[2].routes[#models[2].routes + 1] = models[1].routes[1]
    local list, count = outcome.affected_routes(net, models)
    assert.same({ 1000, 1500 }, { #list, count })
  end)

  it("are found by looking at each route and each change once", function()
    local net, routes, looked = {}, {}, 0
    for i = 1, 200 do
      net[i] = { kind = "pools", key = "default/p" .. i }
      routes[i] = route("default", "r" .. i, "q" .. i)
    end
    local key = kinds.key
    kinds.key = function(...)
      looked = looked + 1
      return key(...)
    end
    local ok, list = pcall(outcome.affected_routes, net, { { routes = routes } })
    kinds.key = key
    assert.same({ true, {} }, { ok, list })
    assert.is_true(looked <= 2 * #routes, looked)
  end)
end)

describe("a refusal", function()
  it("names the edit of each problem, of few and of many", function()
    local edits, problems = {}, {}
    for i = 1, 40 do
      edits[i] = { op = i, kind = "routes", key = "default/r" .. i }
      problems[i] = { file = "api:routes/default/r" .. i, path = "pool", message = "unknown pool", line = 1 }
    end
    problems[40] = { file = "site.yaml", path = "routes[0].pool", message = "unknown pool", line = 7 }
    for _, count in ipairs { 3, 40 } do
      local told = outcome.refusal({ unpack(problems, 1, count) }, edits, "invalid")
      assert.same({ 1, 3, "/pool" }, { told.errors[1].op, told.errors[3].op, told.errors[3].pointer })
      assert.equal("invalid", told.code)
      if count == 40 then assert.is_nil(told.errors[40].op) end
    end
  end)

  it("says who still needs what is to go, and proposes no other name", function()
    local edits = { { op = 1, kind = "pools", key = "default/web" } }
    local told = outcome.refusal({ { file = "api:routes/default/site", path = "pool",
      message = 'unknown pool "web", did you mean web2?' },
      { file = "site.yaml", path = "routes[0].pool", line = 7, message = 'unknown pool "web"' } }, edits, "invalid")
    assert.equal("referenced", told.code)
    assert.equal('api:routes/default/site: pool: still refers to the pool "web"', told.message)
    assert.equal('site.yaml:7: routes[0].pool: still refers to the pool "web"', told.errors[2].detail)
  end)
end)

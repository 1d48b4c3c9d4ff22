--- Templates through the admin API of the real binary.
local apis = require "support.api"
local cjson = require "cjson"
local loop = require "support.loop"
local servers = require "support.server"

local server, port

local request = apis.requester(function() return port end)
local is = apis.is

local function spec(conf, body)
  return loop.spec(function()
    server = servers.start { conf = conf }
    port = server.ports.admin
    body()
    server:stop()
  end)
end

local SITE = { name = "site", description = "A site with a pool.",
  parameters = { { name = "name", required = true }, { name = "address", required = true },
    { name = "weight", type = "integer", default = 100 }, { name = "key", secret = true } },
  entities = {
    pools = { { name = "${name}", backends = { { address = "${address}", weight = "${weight}" } } } },
    routes = { { name = "${name}", host = "${name}.example.com", pool = "${name}" } },
    consumers = { { name = "${name}", credentials = { { type = "key-auth", key = "${key:-none-at-all}" } } } },
  } }
local APPLY = "/api/config/templates/site/apply"

local function apply(parameters, more)
  local body = { parameters = parameters }
  for name, value in pairs(more or {}) do body[name] = value end
  return request("POST", APPLY, body)
end

describe("a template", function()
  it("is made, shown, changed and deleted like any object", spec({}, function()
    local made = request("POST", "/api/config/templates", SITE)
    assert.same(SITE.entities, is(made, 201).entities)
    assert.equal("/api/config/templates/site", made:get "location")
    assert.equal("integer", is(request("GET", "/api/config/templates/site"), 200).parameters[3].type)
    assert.equal(1, #is(request("GET", "/api/config/templates"), 200))
    assert.equal(1, #is(request("GET", "/api/templates?name=site"), 200))
    local changed = is(request("PUT", "/api/config/templates/site", { description = "Another." }), 200)
    assert.equal("Another.", changed.description)
    assert.same(SITE.entities, changed.entities)
    is(request("PUT", "/api/config/templates/site", changed), 200) -- as it was shown
    local wrong = is(request("PATCH", "/api/config/templates/site", { entities = { pools = { { name = "${x}" } } } },
      { ["Content-Type"] = "application/merge-patch+json" }), 400)
    assert.equal("/entities/pools/0/name", wrong.errors[1].pointer)
    is(request("PUT", "/api/config/templates/site", { description = "x" }, { ["If-Match"] = '"1"' }), 412)
    local exported = request("GET", "/api/config/export?format=yaml").body
    assert.is_truthy(exported:find("$${name}", 1, true))
    is(request("DELETE", "/api/config/templates/site"), 204)
    is(request("GET", "/api/config/templates/site"), 404)
    is(request("POST", "/api/config/import", exported, { ["Content-Type"] = "application/yaml" }), 200)
    assert.same(SITE.entities, is(request("GET", "/api/config/templates/site"), 200).entities)
  end))

  it("makes its entities in one version, which can be taken back", spec({}, function()
    local before = is(request("POST", "/api/config/templates", SITE), 201).version
    local dry = is(request("POST", APPLY .. "?dry_run=true", { parameters = { name = "a", address = "127.0.0.1:1" } }),
      200)
    assert.same({ added = 3, updated = 0, removed = 0 }, dry.changes)
    assert.same({ "default/a" }, dry.affected_routes)
    is(request("GET", "/api/pools/a"), 404)
    local applied = is(apply({ name = "a", address = "127.0.0.1:1", key = "s3cret-key" }, { reason = "new site" }), 200)
    assert.equal(before + 1, applied.version)
    assert.equal("/entities/pools/0", applied.entities[1].pointer)
    assert.equal(100, is(request("GET", "/api/pools/a"), 200).backends[1].weight)
    local version = is(request("GET", "/api/config/versions/" .. applied.version), 200)
    assert.equal("new site", version.reason)
    assert.is_nil(cjson.encode(version):find("s3cret-key", 1, true))
    is(apply { name = "a", address = "127.0.0.1:2" }, 409)
    is(apply({ name = "a", address = "127.0.0.1:2", weight = 3 }, { mode = "replace" }), 200)
    assert.equal(3, is(request("GET", "/api/pools/a"), 200).backends[1].weight)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(before), {}), 200)
    is(request("GET", "/api/pools/a"), 404)
    is(request("GET", "/api/config/templates/site"), 200)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(before - 1), {}), 200)
    is(request("GET", "/api/config/templates/site"), 404)
  end))

  it("says which parameter or which entity is wrong, and makes nothing", spec({}, function()
    is(request("POST", "/api/config/templates", SITE), 201)
    local missing = is(apply { weight = "many", colour = "red" }, 400)
    local pointers = {}
    for i, found in ipairs(missing.errors) do pointers[i] = found.pointer end
    assert.same({ "/parameters/name", "/parameters/address", "/parameters/weight", "/parameters/colour" }, pointers)
    local bad = is(apply { name = "a", address = "nowhere" }, 400)
    assert.equal("/parameters/address", bad.errors[1].pointer)
    assert.equal("/entities/pools/0/backends/0/address", bad.errors[1].entity)
    local negative = is(apply { name = "a", address = "127.0.0.1:1", weight = -1 }, 400)
    assert.equal("/parameters/weight", negative.errors[1].pointer)
    local part = is(apply { name = "-a", address = "127.0.0.1:1" }, 400)
    assert.equal("/parameters/name", part.errors[1].pointer)
    is(request("POST", "/api/routes", { name = "other", host = "b.example.com", respond = { status = 200 } }), 201)
    local rival = is(apply { name = "b", address = "127.0.0.1:1" }, 409)
    assert.equal("/entities/routes/0", rival.errors[1].pointer)
    is(request("GET", "/api/pools/b"), 404)
    is(request("POST", APPLY, { parameters = {}, color = 1 }), 400)
    is(request("POST", APPLY, { mode = "mix" }), 400)
    is(request("POST", APPLY, { parameters = { "a" } }), 400)
    is(request("POST", APPLY .. "?colour=red", {}), 400)
    is(request("POST", "/api/config/templates/other/apply", {}), 404)
    is(apply({ name = "a", address = "127.0.0.1:1" }, { tenant_id = "nobody" }), 400)
  end))

  it("makes them for another tenant", spec({ tenants = { { name = "acme", hosts = { "a.example.com" } } } }, function()
    is(request("POST", "/api/config/templates", SITE), 201)
    is(apply({ name = "a", address = "127.0.0.1:1" }, { tenant_id = "acme" }), 200)
    is(request("GET", "/api/pools/a"), 404)
    is(request("GET", "/api/pools/a?tenant_id=acme"), 200)
  end))

  local OWN = { name = "own", entities = { pools = { { name = "p" } } } }
  it("of the conf file is the file's", spec({ templates = { OWN } }, function()
    assert.equal("file", is(request("GET", "/api/config/templates/own"), 200).origin)
    is(request("PUT", "/api/config/templates/own", { description = "x" }), 409)
    is(request("POST", "/api/config/templates/own/apply"), 200)
    is(request("GET", "/api/pools/p"), 200)
  end))
end)

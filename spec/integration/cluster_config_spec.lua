--- What several nodes that share a store have in common of configuration management: keys of the API, keys of secrets,
-- and versions on probation, which each node watches.
local children = require "support.children"
local clients = require "support.client"
local clusters = require "support.cluster"
local loop = require "support.loop"
local tempdir = require "support.tempdir"
local uv = require "luv"

local function is(response, status)
  assert.equal(status, response.status, response.body)
  return response.json
end

local function site(status)
  return { name = "site", path = "/", respond = { status = status } }
end

describe("nodes that share a store", function()
  it("share the keys of the API, and what is revoked", loop.spec(function()
    local cluster = clusters.start { nodes = 2 }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    is(a:call("POST", "/api/apikeys", { name = "ci", role = "admin" }), 201)
    children.eventually("the key at b", function() return b:call("GET", "/api/apikeys/ci").status == 200 end)
    is(b:call("DELETE", "/api/apikeys/ci"), 204)
    children.eventually("its end at a", function() return a:call("GET", "/api/apikeys/ci").status == 404 end)
    cluster:stop()
  end))

  it("take a version back when one of them sees it fail", loop.spec(function()
    local cluster = clusters.start { nodes = 2 }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    local made = a:call("POST", "/api/routes", site(200))
    is(made, 201)
    cluster:await_version(tonumber(made:get "VeloFlux-Version"))
    for _ = 1, 30 do assert.equal(200, clients.get(b.server.ports.http, "/").status) end
    local changed = a:call("PUT", "/api/routes/site?probation=1h,min_requests=10", site(500))
    is(changed, 200)
    local version = tonumber(changed:get "VeloFlux-Version")
    cluster:await_version(version)
    for _ = 1, 15 do clients.get(b.server.ports.http, "/") end -- a sees nothing of them
    b.server:wait_log "probation.rolled_back"
    for _, node in ipairs(cluster.nodes) do
      children.eventually(node.id .. " to be as before", function()
        return clients.get(node.server.ports.http, "/").status == 200
      end)
    end
    children.eventually("a to hear of it", function()
      return a:get("/api/config/versions/" .. version).probation.state == "rolled_back"
    end)
    cluster:stop()
  end))

  it("change the key of their secrets together", loop.spec(function()
    local cluster = clusters.start { nodes = 2 }
    local a, b = cluster.nodes[1], cluster.nodes[2]
    local credentials = { { type = "key-auth", key = "key-of-ann" } }
    is(a:call("POST", "/api/consumers", { name = "ann", credentials = credentials }), 201)
    local refused = is(a:call("POST", "/api/keys/rotate"), 409)
    assert.is_truthy(refused.detail:find("generate: false", 1, true))
    local old, new = ("6b"):rep(32), ("0a"):rep(32)
    for _, order in ipairs { { old, new }, { new, old } } do
      for _, node in ipairs(cluster.nodes) do
        local path = node.folder .. "/master.key"
        tempdir.write(path, table.concat(order, "\n") .. "\n")
        assert(uv.fs_chmod(path, tonumber("600", 8)))
        assert.is_true(node.server:reload())
      end
    end
    local rotated = is(a:call("POST", "/api/keys/rotate", { generate = false }), 200)
    assert.equal(1, rotated.resealed)
    cluster:await_version(rotated.version)
    local made = b:call("POST", "/api/routes", { name = "site", path = "/", respond = { status = 200 },
      plugins = { { name = "key-auth" } } })
    is(made, 201)
    cluster:await_version(tonumber(made:get "VeloFlux-Version"))
    for _, node in ipairs(cluster.nodes) do
      assert.equal(200, clients.get(node.server.ports.http, "/", { apikey = "key-of-ann" }).status)
      assert.is_true(node:get("/health").components.cluster.ok)
    end
    cluster:stop()
  end))
end)

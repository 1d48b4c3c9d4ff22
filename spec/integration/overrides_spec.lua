--- What is done to backends at run time outlives control and a restart of the whole instance.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local server

local function request(method, path, body)
  local response = clients.request(server.ports.admin, method, path, body and { ["Content-Type"] = "application/json" },
    body and cjson.encode(body))
  return response.status, response.body ~= "" and cjson.decode(response.body) or nil
end

local function named(name)
  return origins.start(function(conn, asked) conn:write(origins.response(200, nil, name, asked.method)) end)
end

local function conf_of(dir, one, two)
  local backends = { { address = one.address }, two and { address = two.address, weight = 50 } or nil }
  return { data_dir = dir, pools = { { name = "web", backends = backends } },
    routes = { { name = "site", path_prefix = "/", pool = "web" } } }
end

local function backend(address)
  for _, found in ipairs((select(2, request("GET", "/api/backends")))) do
    if found.address == address then return found end
  end
end

local function answers()
  local seen = {}
  for _ = 1, 12 do seen[clients.get(server.ports.http, "/").body] = true end
  return seen
end

describe("what is done at run time", function()
  it("comes back after control was killed, and after a restart, before the first request", loop.spec(function()
    local dir, one, two = tempdir.new(), named "one", named "two"
    server = servers.start { conf = conf_of(dir, one, two) }
    assert.equal(200, (request("POST", ("/api/backends/%s/drain"):format(backend(one.address).id), {})))
    assert.equal(200, (request("POST", ("/api/backends/%s/weight"):format(backend(two.address).id), { weight = 9 })))
    assert.same({ two = true }, answers())
    local pid = children.of(server.pid).control[1]
    uv.kill(pid, "sigkill")
    server:wait_log "control.exited"
    children.eventually("control", function() return request("GET", "/api/config") == 200 end)
    assert.equal("draining", backend(one.address).drain)
    server:stop()
    for _ = 1, 2 do
      server = servers.start { conf = conf_of(dir, one, two) }
      assert.same({ two = true }, answers())
      assert.same({ "draining", 9 }, { backend(one.address).drain, backend(two.address).effective_weight })
      server:stop()
    end
    server = servers.start { conf = conf_of(dir, one, two) }
    assert.equal(200, (request("POST", ("/api/backends/%s/undrain"):format(backend(one.address).id), {})))
    assert.equal(200, (request("POST", ("/api/backends/%s/weight"):format(backend(two.address).id),
      { weight = cjson.null })))
    server:stop()
    assert.equal("[]\n", tempdir.read(dir .. "/overrides.json"))
    server = servers.start { conf = conf_of(dir, one, two) }
    assert.same({ one = true, two = true }, answers())
    assert.equal(50, backend(two.address).effective_weight)
    server:stop()
  end))

  it("is forgotten with the backend", loop.spec(function()
    local dir, one, two = tempdir.new(), named "one", named "two"
    server = servers.start { conf = conf_of(dir, one, two) }
    assert.equal(200, (request("POST", ("/api/backends/%s/drain"):format(backend(two.address).id),
      { mode = "disable" })))
    assert.is_truthy(tempdir.read(dir .. "/overrides.json"):find(two.address, 1, true))
    server:write_conf(conf_of(dir, one))
    assert.is_true(server:reload())
    assert.equal("[]\n", tempdir.read(dir .. "/overrides.json"))
    server:stop()
  end))

  it("is written down once for all backends of a pool", loop.spec(function()
    local dir, one, two = tempdir.new(), named "one", named "two"
    assert(uv.fs_mkdir(dir .. "/overrides.json", tonumber("700", 8))) -- cannot be replaced: each attempt is a line
    server = servers.start { conf = conf_of(dir, one, two) }
    local status, pool = request("POST", "/api/pools/web/drain", {})
    assert.equal(200, status)
    assert.same({ "draining", "draining" }, { pool.backends[1].drain, pool.backends[2].drain })
    assert.equal(200, (request("POST", "/api/pools/web/undrain", {})))
    server:stop()
    local count = 0
    for _, line in ipairs(server.process.stderr) do
      if line:find("overrides.failed", 1, true) then count = count + 1 end
    end
    assert.equal(2, count)
  end))

  it("is left alone when its file is damaged", loop.spec(function()
    local dir, one = tempdir.new(), named "one"
    tempdir.write(dir .. "/overrides.json", "{ not json")
    server = servers.start { conf = conf_of(dir, one) }
    server:wait_log "overrides.damaged"
    assert.same({ one = true }, answers())
    server:stop()
  end))
end)

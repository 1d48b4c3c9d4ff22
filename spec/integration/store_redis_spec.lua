--- The real binary with its store in a real Redis, which dies, hangs and comes back.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local ports = require "support.ports"
local redis_servers = require "unit.pdk.redis_server"
local servers = require "support.server"
local streams = require "support.stream"
local tempdir = require "support.tempdir"

local JSON = { ["Content-Type"] = "application/json" }
local DURABLE = { "--appendonly", "yes", "--appendfsync", "always" }

local function call(server, method, path, body)
  local response = clients.request(server.ports.admin, method, path, body and JSON, body and cjson.encode(body))
  if #response.body > 0 then response.json = cjson.decode(response.body) end
  return response
end

local function answer(name) return { name = name, path = "/" .. name, respond = { status = 200, body = name } } end

local function conf(redis, folder, store)
  local all = { driver = "redis", url = "redis://127.0.0.1:" .. redis.port }
  for name, value in pairs(store or {}) do all[name] = value end
  return { data_dir = folder, store = all, routes = { answer "file" } }
end

local function body_of(server, name) return clients.get(server.ports.http, "/" .. name).body end

--- Creates a route, as soon as that is possible.
local function create(server, name)
  children.eventually("the store", function()
    local response = call(server, "POST", "/api/routes", answer(name))
    if response.status == 503 then return false end
    assert.is_true(response.status == 201 or response.status == 409, response.body)
    return true
  end)
end

describe("a store in Redis", function()
  it("keeps what the API has changed, on whichever node that is read", loop.spec(function()
    local redis = redis_servers.start { args = DURABLE }
    local server = servers.start { conf = conf(redis, tempdir.new()) }
    assert.equal(201, call(server, "POST", "/api/routes", answer "one").status)
    assert.equal("api", call(server, "GET", "/api/routes/file").json.origin) -- a seed
    local changed = answer "file"
    changed.respond.body = "changed"
    assert.equal(200, call(server, "PUT", "/api/routes/file", changed).status)
    assert.equal("changed", body_of(server, "file"))
    server:stop()
    for _ = 1, 2 do -- the same node again would find its last model, too: this one has nothing
      server = servers.start { conf = conf(redis, tempdir.new()) }
      assert.same({ "changed", "one" }, { body_of(server, "file"), body_of(server, "one") })
      assert.equal(3, call(server, "GET", "/api/config/versions").json[1].version)
      server:stop()
    end
    assert.equal(200, clients.get(servers.start({ conf = conf(redis, tempdir.new()) }).ports.http, "/one").status)
  end))

  it("may be reached by TLS, which is verified", loop.spec(function()
    local dir = tempdir.new()
    local authority = pki.authority(dir, "authority")
    local site = pki.issue(dir, "site", authority, { names = { "redis.test", "127.0.0.1" } })
    local stranger = pki.self_signed(dir, "stranger")
    local port = ports.reserve()
    redis_servers.start { args = { "--tls-port", tostring(port), "--tls-cert-file", site.cert, "--tls-key-file",
      site.key, "--tls-ca-cert-file", authority.cert, "--tls-auth-clients", "no" } }
    local function with(tls)
      return conf({ port = port }, dir .. "/data", { url = "rediss://127.0.0.1:" .. port, timeout = "1s", tls = tls })
    end
    local server = servers.start { conf = with { ca = authority.cert, name = "redis.test" } }
    create(server, "one")
    assert.equal("one", body_of(server, "one"))
    server:stop()
    for tls, reason in pairs { [{ ca = stranger.cert }] = "not_trusted",
      [{ ca = authority.cert, name = "other.test" }] = "other_name" } do
      server = servers.start { conf = with(tls) }
      local refused = call(server, "POST", "/api/routes", answer "two")
      assert.equal(503, refused.status)
      assert.matches("TLS: bad_certificate:" .. reason, refused.json.detail)
      server:write_conf(with { ca = authority.cert, name = "redis.test" })
      assert.is_true(server:reload()) -- that will do
      assert.equal("one", body_of(server, "one"))
      assert.equal(200, call(server, "PUT", "/api/routes/one", answer "one").status)
      server:stop()
    end
    server = servers.start { conf = with { verify = false } }
    assert.equal("one", body_of(server, "one"))
    server:stop()
  end))

  it("may be gone: traffic goes on, reads answer, writes are refused, and it heals", loop.spec(function()
    local redis = redis_servers.start { args = DURABLE }
    local server = servers.start { conf = conf(redis, tempdir.new(), { timeout = "500ms" }) }
    create(server, "one")
    for round = 1, 3 do
      redis.process:kill()
      local refused = call(server, "POST", "/api/routes", answer("lost" .. round))
      assert.equal(503, refused.status)
      assert.equal("unavailable", refused.json.code)
      assert.matches("store.*redis 127.0.0.1:%d+: ", refused.json.detail)
      assert.equal("one", body_of(server, "one"))
      assert.equal("one", call(server, "GET", "/api/routes/one").json.name)
      assert.equal(404, clients.get(server.ports.http, "/lost" .. round).status)
      redis = redis_servers.start { args = DURABLE, port = redis.port, dir = redis.dir }
      create(server, "back" .. round)
      assert.equal("back" .. round, body_of(server, "back" .. round))
    end
    server:stop()
    local fresh = servers.start { conf = conf(redis, tempdir.new()) }
    for round = 1, 3 do assert.equal("back" .. round, body_of(fresh, "back" .. round)) end
    fresh:stop()
  end))

  it("may hang: writes are refused in time, and what was done then after all is seen", loop.spec(function()
    local redis = redis_servers.start { args = DURABLE }
    local server = servers.start { conf = conf(redis, tempdir.new(), { timeout = "1s" }) }
    create(server, "before") -- connected
    redis.process:signal "sigstop"
    local refused = call(server, "POST", "/api/routes", answer "late")
    assert.equal(503, refused.status)
    assert.matches("whether it was done is not known", refused.json.detail)
    assert.equal("file", body_of(server, "file"))
    redis.process:signal "sigcont"
    create(server, "next")
    assert.equal("next", body_of(server, "next"))
    server:stop()
    local fresh = servers.start { conf = conf(redis, tempdir.new()) }
    assert.equal("next", body_of(fresh, "next"))
    fresh:stop()
  end))

  it("may be away at a start: a node serves what it served last, and joins it later", loop.spec(function()
    local redis = redis_servers.start { args = DURABLE }
    local folder = tempdir.new()
    local server = servers.start { conf = conf(redis, folder, { timeout = "500ms" }) }
    create(server, "one")
    server:stop()
    redis.process:kill()
    server = servers.start { conf = conf(redis, folder, { timeout = "500ms" }) }
    assert.equal("one", body_of(server, "one"))
    assert.equal(503, call(server, "POST", "/api/routes", answer "two").status)
    redis_servers.start { args = DURABLE, port = redis.port, dir = redis.dir }
    create(server, "two")
    assert.same({ "one", "two" }, { body_of(server, "one"), body_of(server, "two") })
    server:stop()
  end))

  it("shows its password nowhere", loop.spec(function()
    local redis = redis_servers.start { args = { "--requirepass", "s3cr3t-of-redis" } }
    local server = servers.start { conf = conf(redis, tempdir.new(),
      { url = ("redis://:s3cr3t-of-redis@127.0.0.1:%d/0"):format(redis.port) }) }
    for _, path in ipairs { "/api/config/export", "/api/system/info", "/api/status/health", "/metrics" } do
      assert.is_nil(call(server, "GET", path:gsub("/metrics", "/health")).body:find("s3cr3t", 1, true), path)
    end
    redis.process:kill()
    server:wait_log "store%.lost"
    assert.equal(503, call(server, "POST", "/api/routes", answer "x").status)
    for _, line in ipairs(server:log_lines()) do assert.is_nil(line:find("s3cr3t", 1, true), line) end
    server:stop()
  end))

  it("is found by Sentinels, before and after a fail-over", loop.spec(function()
    local master = redis_servers.start {}
    local replica = redis_servers.start { args = { "--replicaof", "127.0.0.1 " .. master.port } }
    replica.process:wait_line(replica.process.stdout, "MASTER <%-> REPLICA sync: Finished with success")
    local sentinel = redis_servers.start { sentinel = ([[
sentinel monitor main 127.0.0.1 %d 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 2000
]]):format(master.port) }
    sentinel.process:wait_line(sentinel.process.stdout, "%+slave slave 127.0.0.1:" .. replica.port)
    local store = { driver = "redis", timeout = "1s",
      sentinel = { master = "main", addresses = { "127.0.0.1:" .. sentinel.port } } }
    local server = servers.start { conf = { data_dir = tempdir.new(), store = store, routes = { answer "file" } } }
    create(server, "one")
    local conn = streams.connect(master.port)
    conn:write "WAIT 1 0\r\n" -- the replica has it, too
    assert.equal(":1\r\n", conn:read_until "\r\n")
    master.process:kill()
    create(server, "two")
    assert.equal("one", body_of(server, "one"))
    assert.equal("two", body_of(server, "two"))
    server:wait_log("store%.connected.*127.0.0.1:" .. replica.port)
    server:stop()
    local fresh = servers.start { conf = { data_dir = tempdir.new(), store = store } }
    assert.same({ "file", "one", "two" }, { body_of(fresh, "file"), body_of(fresh, "one"), body_of(fresh, "two") })
    fresh:stop()
  end))

  it("may get another password while it runs, and be another one only while it does not answer", loop.spec(function()
    local redis = redis_servers.start { args = { "--requirepass", "first" } }
    local other = redis_servers.start {}
    local folder = tempdir.new()
    local function settings(at, store) return conf(at, folder, store) end
    local server = servers.start { conf = settings(redis, { password = "first" }) }
    server:write_conf(settings(other))
    local ok, text = server:reload()
    assert.is_false(ok)
    assert.matches("store: cannot change while running, restart instead", text)
    local conn = streams.connect(redis.port)
    conn:write "AUTH first\r\nCONFIG SET requirepass second\r\n"
    assert.equal("+OK\r\n+OK\r\n", conn:read_exact(10))
    server:write_conf(settings(redis, { password = "second" }))
    assert.is_true(server:reload())
    assert.equal(201, call(server, "POST", "/api/routes", answer "one").status)
    redis.process:kill()
    assert.equal(503, call(server, "POST", "/api/routes", answer "two").status)
    server:write_conf(settings(other))
    ok, text = server:reload()
    assert.is_true(ok, text)
    assert.equal(201, call(server, "POST", "/api/routes", answer "two").status)
    assert.same({ "one", "two" }, { body_of(server, "one"), body_of(server, "two") })
    server:stop()
    local fresh = servers.start { conf = conf(other, tempdir.new()) }
    assert.same({ "one", "two" }, { body_of(fresh, "one"), body_of(fresh, "two") }) -- it has got what the node knew
    fresh:stop()
  end))

  it("takes its password from a file or the environment", loop.spec(function()
    local redis = redis_servers.start { args = { "--requirepass", "s3cr3t" } }
    local folder = tempdir.new()
    tempdir.write(folder .. "/password", "s3cr3t\n")
    local server = servers.start { conf = conf(redis, tempdir.new(),
      { password = ("{file:%s/password}"):format(folder) }) }
    assert.equal(201, call(server, "POST", "/api/routes", answer "one").status)
    server:stop()
    local second = servers.start { env = { REDIS_URL = ("redis://:s3cr3t@127.0.0.1:%d"):format(redis.port) },
      conf = conf(redis, tempdir.new(), { url = "${REDIS_URL}" }) }
    assert.equal("one", body_of(second, "one"))
    second:stop()
  end))
end)

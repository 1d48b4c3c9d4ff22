--- Balancing in the running proxy: shares, hashing, sticky sessions.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local function handler(conn, request)
  conn:write(origins.response(200, nil, request.origin.name, request.method))
end

local function start(pool, weights)
  local used, backends = {}, {}
  for i, weight in ipairs(weights) do
    used[i] = origins.start(handler, { name = string.char(96 + i) })
    backends[i] = { address = "127.0.0.1:" .. used[i].port, weight = weight }
  end
  local web = { name = "web", backends = backends }
  for key, value in pairs(pool) do web[key] = value end
  local conf = { pools = { web }, routes = { { name = "site", path_prefix = "/", pool = "web" } } }
  return servers.start { conf = conf }, conf, used
end

local function get(server, fields, path)
  local response = clients.get(server.ports.http, path or "/", fields)
  assert.equal(200, response.status)
  return response.body, response
end

local function tally(server, n, fields)
  local counts = {}
  for _ = 1, n do
    local name = get(server, fields)
    counts[name] = (counts[name] or 0) + 1
  end
  return counts
end

describe("weights", function()
  for _, algorithm in ipairs { "round_robin", "weighted_round_robin", "least_conn" } do
    it("are exact under " .. algorithm, loop.spec(function()
      local server = start({ algorithm = algorithm }, { 1, 2, 5 })
      tally(server, 8)
      assert.same({ a = 2, b = 4, c = 10 }, tally(server, 16))
      server:stop()
    end))
  end

  for _, algorithm in ipairs { "random", "peak_ewma" } do
    it("leave nobody out under " .. algorithm, loop.spec(function()
      local server = start({ algorithm = algorithm }, { 1, 1, 1 })
      local counts = tally(server, 60)
      assert.is_true(counts.a > 0 and counts.b > 0 and counts.c > 0)
      server:stop()
    end))
  end
end)

describe("hashing", function()
  for kind, request in pairs {
    header = function(server, key) return (get(server, { ["X-User"] = key })) end,
    cookie = function(server, key) return (get(server, { Cookie = "a=1; user=" .. key .. "; z=2" })) end,
    query = function(server, key) return (get(server, nil, "/?x=1&user=" .. key)) end,
    path = function(server, key) return (get(server, nil, "/" .. key)) end,
  } do
    it("on a " .. kind .. " sends a key to one backend and spreads keys", loop.spec(function()
      local names = { header = "X-User", cookie = "user", query = "user" }
      local server = start({ algorithm = "consistent_hash", hash_on = { type = kind, name = names[kind] } },
        { 1, 1, 1 })
      local seen = {}
      for i = 1, 60 do
        local name = request(server, "key" .. i)
        assert.equal(name, request(server, "key" .. i))
        seen[name] = true
      end
      assert.same({ a = true, b = true, c = true }, seen)
      server:stop()
    end))
  end

  it("on the address keeps a client with its backend", loop.spec(function()
    local server = start({ algorithm = "ip_hash" }, { 1, 1, 1 })
    local counts = tally(server, 6)
    assert.equal(6, counts.a or counts.b or counts.c)
    server:stop()
  end))
end)

describe("sticky sessions", function()
  local function cookie_of(response)
    return assert(response:get "set-cookie"):match "^[^;]+"
  end

  it("bind a client to the backend of its first answer", loop.spec(function()
    local server = start({ sticky_sessions = { cookie = "vfs", ttl = "1h" } }, { 1, 1, 1 })
    for _ = 1, 3 do
      local name, first = get(server)
      assert.matches("^vfs=[%w_-]+; Path=/; Max%-Age=3600; HttpOnly; SameSite=Lax$", first:get "set-cookie")
      local cookie = cookie_of(first)
      for _ = 1, 4 do
        local again, response = get(server, { Cookie = cookie })
        assert.equal(name, again)
        assert.is_nil(response:get "set-cookie")
      end
    end
    server:stop()
  end))

  it("survive a reload and a restart", loop.spec(function()
    local server, conf = start({ sticky_sessions = true }, { 1, 1, 1 })
    local name, first = get(server)
    local cookie = cookie_of(first)
    conf.routes[1].headers = { response = { set = { ["X-New"] = "1" } } }
    server:write_conf(conf)
    assert.is_true(server:reload())
    assert.equal(name, (get(server, { Cookie = cookie })))
    server:stop()
    conf.data_dir = server.dir .. "/data"
    server = servers.start { conf = conf }
    for _ = 1, 3 do assert.equal(name, (get(server, { Cookie = cookie }))) end
    server:stop()
  end))

  it("move on, with a new cookie, when the backend is gone", loop.spec(function()
    local server, _, used = start({ sticky_sessions = true }, { 1, 1 })
    local name, first = get(server)
    used[name == "a" and 1 or 2]:close()
    local other, response = get(server, { Cookie = cookie_of(first) })
    assert.not_equal(name, other)
    assert.equal(other, (get(server, { Cookie = cookie_of(response) })))
    server:stop()
  end))

  it("do not believe a forged cookie", loop.spec(function()
    local server = start({ sticky_sessions = { cookie = "vfs" } }, { 1, 1 })
    local _, response = get(server, { Cookie = "vfs=" .. ("A"):rep(43) })
    assert.is_truthy(response:get "set-cookie")
    server:stop()
  end))
end)

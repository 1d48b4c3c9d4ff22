local kit = require "veloflux.kit"

local CONSUMERS = {
  { name = "ana", credentials = { { type = "key-auth", key = "ana-key" }, { type = "key-auth", key = "ana-other" } } },
  { name = "ben", credentials = { { type = "key-auth", key = "ben-key" } } },
}

--- Sends `n` requests; returns how many passed, and the last answer.
local function send(gateway, n, request)
  local passed, answer = 0, nil
  for _ = 1, n do
    answer = gateway:request(request or {})
    if answer.status == 200 then passed = passed + 1 else assert.equal(429, answer.status) end
  end
  return passed, answer
end

describe("rate-limiting", function()
  it("refuses what is too much, and tells how things stand", function()
    local gateway = kit.start { config = { minute = 3, hour = 100 }, time = 1800000000 }
    local answer = gateway:request {}
    assert.equal("3", answer.headers["x-ratelimit-limit-minute"])
    assert.equal("2", answer.headers["x-ratelimit-remaining-minute"])
    assert.equal("99", answer.headers["x-ratelimit-remaining-hour"])
    assert.equal("3", answer.headers["ratelimit-limit"])
    assert.equal("2", answer.headers["ratelimit-remaining"])
    assert.equal('"minute";q=3;w=60, "hour";q=100;w=3600', answer.headers["ratelimit-policy"])
    assert.matches('^"minute";r=2;t=%d+$', answer.headers.ratelimit)
    local passed
    passed, answer = send(gateway, 5)
    assert.equal(2, passed)
    assert.matches("API rate limit exceeded", answer.body)
    assert.equal("0", answer.headers["ratelimit-remaining"])
    assert.equal("97", answer.headers["x-ratelimit-remaining-hour"], "what is refused is not counted")
    local retry = tonumber(answer.headers["retry-after"])
    assert.is_true(retry >= 1 and retry <= 120)
    gateway:advance(retry)
    assert.equal(200, gateway:request({}).status)
    assert.equal(4, #gateway:upstream_requests())
    local metrics = gateway:metrics()
    assert.equal(4, metrics:value("veloflux_plugin_rate_limiting_requests_total", { verdict = "allowed" }))
    assert.equal(3, metrics:value("veloflux_plugin_rate_limiting_requests_total", { verdict = "refused" }))
  end)

  it("counts in windows that slide", function()
    local gateway = kit.start { config = { minute = 60 } }
    gateway:advance(60 - kit.now() % 60 + 50) -- late in a window
    assert.equal(60, (send(gateway, 70)))
    gateway:advance(12) -- early in the next: most of the last minute still counts
    assert.is_true(send(gateway, 70) < 15)
    gateway:advance(120)
    assert.equal(60, (send(gateway, 70)))
  end)

  it("lets the next one pass when a second has passed since the last", function()
    local gateway = kit.start { config = { second = 1 } }
    gateway:advance(1 - kit.now() % 1 + 0.7)
    for _ = 1, 5 do
      assert.equal(1, (send(gateway, 2)))
      gateway:advance(1.1)
    end
  end)

  it("lets bursts pass and then as many as there is time for, with gcra", function()
    local gateway = kit.start { config = { algorithm = "gcra", rate = 2, per = 1, burst = 5 } }
    local passed, answer = send(gateway, 10)
    assert.equal(5, passed)
    assert.equal('"gcra";q=2;w=1', answer.headers["ratelimit-policy"])
    assert.equal("5", answer.headers["ratelimit-limit"])
    assert.is_nil(answer.headers["x-ratelimit-limit-second"])
    gateway:advance(1)
    assert.equal(2, (send(gateway, 5)))
    gateway:advance(10)
    assert.equal(5, (send(gateway, 10)))
  end)

  it("counts consumers, credentials and addresses apart", function()
    local function start(limit_by)
      return kit.start { consumers = CONSUMERS, plugins = { { name = "key-auth", config = { anonymous = nil } },
        { name = "rate-limiting", config = { hour = 2, limit_by = limit_by } } } }
    end
    local function with(key, ip) return { headers = { apikey = key }, ip = ip } end
    local gateway = start "consumer"
    assert.equal(1, (send(gateway, 1, with("ana-key", "10.0.0.1"))))
    assert.equal(1, (send(gateway, 3, with("ana-other", "10.0.0.2"))))
    assert.equal(2, (send(gateway, 3, with "ben-key")))
    gateway = start "credential"
    assert.equal(2, (send(gateway, 3, with "ana-key")))
    assert.equal(2, (send(gateway, 3, with "ana-other")))
    gateway = start "ip"
    assert.equal(1, (send(gateway, 1, with("ana-key", "10.0.0.1"))))
    assert.equal(1, (send(gateway, 3, with("ben-key", "10.0.0.1"))))
    assert.equal(2, (send(gateway, 3, with("ben-key", "10.0.0.2"))))
  end)

  it("counts header fields, and addresses where there is none", function()
    local gateway = kit.start { config = { hour = 1, limit_by = "header", header_name = "X-Key" } }
    assert.equal(1, (send(gateway, 2, { headers = { ["X-Key"] = "a" } })))
    assert.equal(1, (send(gateway, 2, { headers = { ["X-Key"] = ("a"):rep(4000) } })))
    assert.equal(1, (send(gateway, 2, { headers = { ["X-Key"] = ("a"):rep(3999) .. "b" } })))
    assert.equal(1, (send(gateway, 2, { headers = { ["X-Key"] = "" } })))
    assert.equal(1, (send(gateway, 2)))
    assert.equal(1, (send(gateway, 2, { headers = { ["X-Key"] = "ip|127.0.0.1" } })), "no key is another's")
  end)

  it("counts a path, a service, a route, a tenant", function()
    local gateway = kit.start { config = { hour = 1, limit_by = "path", path = "/a" } }
    assert.equal(1, (send(gateway, 2, { path = "/a", ip = "10.0.0.1" })))
    assert.equal(0, (send(gateway, 1, { path = "/%61", ip = "10.0.0.2" })))
    assert.equal(1, (send(gateway, 2, { path = "/b", ip = "10.0.0.2" })))
    for _, limit_by in ipairs { "service", "route", "tenant" } do
      gateway = kit.start { config = { hour = 1, limit_by = limit_by } }
      assert.equal(1, (send(gateway, 1, { ip = "10.0.0.1" })))
      assert.equal(0, (send(gateway, 1, { ip = "10.0.0.2" })))
    end
  end)

  it("keeps routes and instances apart, and counts a global one over all routes", function()
    local plugin = { name = "rate-limiting", config = { hour = 2 } }
    local routes = { { name = "a", path_prefix = "/a", respond = { status = 200 }, plugins = { plugin } },
      { name = "b", path_prefix = "/b", respond = { status = 200 }, plugins = { plugin } } }
    local gateway = kit.start { plugins = {}, conf = { routes = routes } }
    assert.equal(2, (send(gateway, 3, { path = "/a" })))
    assert.equal(2, (send(gateway, 3, { path = "/b" })))
    routes[1].plugins, routes[2].plugins = nil, nil
    gateway = kit.start { plugins = {}, conf = { routes = routes }, global_plugins = { plugin } }
    assert.equal(1, (send(gateway, 1, { path = "/a" })))
    assert.equal(1, (send(gateway, 3, { path = "/b" })))
  end)

  it("counts by the place where it stands, whatever says the same elsewhere", function()
    local plugin = { name = "rate-limiting", config = { hour = 2 } }
    local gateway = kit.start { plugins = {},
      tenants = { { name = "acme", hosts = { "acme.test" }, plugins = { plugin } } },
      conf = { routes = {
        { name = "own", path_prefix = "/own", respond = { status = 200 }, plugins = { plugin } },
        { name = "a", tenant = "acme", path_prefix = "/a", respond = { status = 200 } },
        { name = "b", tenant = "acme", path_prefix = "/b", respond = { status = 200 } } } } }
    assert.equal(1, (send(gateway, 1, { path = "/a", host = "acme.test" })))
    assert.equal(1, (send(gateway, 3, { path = "/b", host = "acme.test" })))
    assert.equal(2, (send(gateway, 3, { path = "/own" })))
  end)

  it("can keep to itself what it does, and answer otherwise", function()
    local gateway = kit.start { config = { hour = 1, hide_client_headers = true, error_code = 503,
      error_message = "<later>" } }
    assert.is_nil(gateway:request({}).headers["ratelimit-limit"])
    local answer = gateway:request { headers = { Accept = "text/html" } }
    assert.equal(503, answer.status)
    assert.is_nil(answer.headers["retry-after"])
    assert.matches("&lt;later&gt;", answer.body)
  end)

  it("knows Kong's older names of the fields of redis", function()
    assert.same({}, kit.validate { minute = 1, policy = "redis", redis_host = "a.test", redis_port = 6380,
      redis_password = "p", redis_database = 1, redis_timeout = 100, redis_ssl = true })
    local problems = kit.validate { minute = 1, policy = "redis", redis_host = "a.test",
      redis_password = "{vault://env/SECRET}" }
    assert.equal("redis_password", problems[1].path)
    assert.matches("a reference to a secret belongs in redis.password", problems[1].message)
  end)

  it("refuses configurations that mean nothing", function()
    for expected, config in pairs {
      ["one of second, minute, hour"] = {},
      ["hour: 5 is lower than the limit of the shorter period second, 9"] = { hour = 5, second = 9 },
      ["cluster counts in a database"] = { minute = 1, policy = "cluster" },
      ["required with limit_by: header"] = { minute = 1, limit_by = "header" },
      ["required with limit_by: path"] = { minute = 1, limit_by = "path" },
      ["required with policy: redis"] = { minute = 1, policy = "redis" },
      ["required with algorithm: gcra"] = { algorithm = "gcra" },
      ["gcra takes rate"] = { algorithm = "gcra", rate = 1, minute = 1 },
      ["takes more than 52 days"] = { algorithm = "gcra", rate = 1, per = 86400, burst = 53 },
      ["burst that takes more"] = { algorithm = "gcra", rate = 0.1, per = 3000000 }, -- a burst of one
      ["redis.host"] = { algorithm = "gcra", rate = 1, policy = "redis" },
      ["rate and burst go with"] = { minute = 1, burst = 1 }, ["whole number"] = { minute = 1.5 },
      ["0%.02 and more"] = { minute = 1, sync_rate = 0 }, ["above 0"] = { minute = 0 },
    } do
      local problems, found = kit.validate(config), false
      for _, problem in ipairs(problems) do
        found = found or (problem.path .. ": " .. problem.message):find(expected) ~= nil
      end
      assert.is_true(found, expected .. " not in " .. (problems[1] and problems[1].message or "nothing"))
    end
  end)
end)

--- The plugin rate-limiting in running servers, with a real Redis.
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"
local process = require "support.process"
local redis_server = require "unit.pdk.redis_server"
local uv = require "luv"

local function start(config, conf)
  return plugins.shipped({ { name = "rate-limiting", config = config } }, { conf = conf })
end

--- Sends `n` requests on one connection. Returns how many passed, and the last answer.
local function send(rig, n, path)
  local client, passed, answer = clients.connect(rig.port), 0, nil
  for _ = 1, n do
    client:request("GET", path or "/")
    answer = client:read_response()
    if answer.status == 200 then passed = passed + 1 else assert.equal(429, answer.status) end
  end
  client:close()
  return passed, answer
end

--- Asks the Redis server itself.
local function redis_cli(server, ...)
  local _, out = process.run("/usr/bin/redis-cli", { "-p", tostring(server.port), ... })
  return out
end

describe("rate-limiting", function()
  it("counts over all workers of a node", loop.spec(function()
    local rig = start({ hour = 50 }, { workers = 2 })
    local passed, work = 0, {}
    for i = 1, 10 do
      work[i] = function()
        local n = send(rig, 10)
        passed = passed + n
      end
    end
    clients.together(unpack(work))
    assert.equal(50, passed)
    assert.matches("\nveloflux_rate_limit_hits_total 50\n", clients.get(rig.server.ports.admin, "/metrics").body)
    rig.server:stop()
  end))

  it("counts over all nodes with Redis, exactly when every request asks it", loop.spec(function()
    local redis = redis_server.start()
    local config = { hour = 40, day = 1000, policy = "redis", sync_rate = -1,
      redis = { host = "127.0.0.1", port = redis.port, database = 2 } }
    local first, second = start(config), start(config)
    assert.equal(25, (send(first, 25)))
    local passed, answer = send(second, 25)
    assert.equal(15, passed)
    assert.equal("0", answer:get "x-ratelimit-remaining-hour")
    assert.is_true(tonumber(answer:get "retry-after") > 1)
    assert.equal(0, (send(first, 1)))
    assert.matches("db2:keys=2,", redis_cli(redis, "info", "keyspace"))
    assert.is_true(tonumber(redis_cli(redis, "-n", "2", "pttl", redis_cli(redis, "-n", "2", "randomkey"):match "%S+"))
      > 1000)
    first.server:stop()
    second.server:stop()
  end))

  it("asks Redis seldom, and never lets more pass than allowed", loop.spec(function()
    local redis = redis_server.start()
    local config = { hour = 400, policy = "redis", redis = { host = "127.0.0.1", port = redis.port } }
    local first, second = start(config, { workers = 2 }), start(config)
    local passed, work = 0, {}
    for i = 1, 6 do
      work[i] = function()
        local n = send(i % 2 == 0 and first or second, 100)
        passed = passed + n
      end
    end
    clients.together(unpack(work))
    assert.is_true(passed <= 400 and passed >= 300, passed .. " passed")
    local calls = tonumber(redis_cli(redis, "info", "commandstats"):match "cmdstat_evalsha:calls=(%d+)")
    assert.is_true(calls < 200, calls .. " calls for 600 requests")
    first.server:stop()
    second.server:stop()
  end))

  it("counts with gcra over all nodes, exactly when every request asks Redis", loop.spec(function()
    local redis = redis_server.start()
    local config = { algorithm = "gcra", rate = 1, per = 3600, burst = 40, policy = "redis", sync_rate = -1,
      redis = { host = "127.0.0.1", port = redis.port } }
    local first, second = start(config), start(config)
    assert.equal(25, (send(first, 25)))
    local passed, answer = send(second, 25)
    assert.equal(15, passed)
    assert.equal("0", answer:get "ratelimit-remaining")
    local retry = tonumber(answer:get "retry-after")
    assert.is_true(retry > 3000 and retry <= 3600, retry)
    assert.equal(0, (send(first, 1)))
    assert.matches("db0:keys=1,", redis_cli(redis, "info", "keyspace"))
    local ttl = tonumber(redis_cli(redis, "pttl", redis_cli(redis, "randomkey"):match "%S+"))
    assert.is_true(ttl > 39 * 3600 * 1000 and ttl <= 40 * 3600 * 1000 + 1, ttl)
    first.server:stop()
    second.server:stop()
  end))

  it("lets as many pass with gcra as time and burst allow, asking Redis seldom", loop.spec(function()
    local redis = redis_server.start()
    local function run(rate, burst, n)
      local config = { algorithm = "gcra", rate = rate, burst = burst, policy = "redis",
        redis = { host = "127.0.0.1", port = redis.port } }
      local first, second = start(config, { workers = 2 }), start(config)
      redis_cli(redis, "flushall")
      redis_cli(redis, "config", "resetstat")
      local passed, work, began = 0, {}, uv.hrtime()
      for i = 1, 6 do
        work[i] = function()
          local own = send(i % 2 == 0 and first or second, n)
          passed = passed + own
        end
      end
      clients.together(unpack(work))
      local seconds = (uv.hrtime() - began) / 1e9
      local calls = tonumber(redis_cli(redis, "info", "commandstats"):match "cmdstat_evalsha:calls=(%d+)")
      first.server:stop()
      second.server:stop()
      return passed, seconds, calls
    end
    local passed, _, calls = run(0.001, 400, 100)
    assert.is_true(passed <= 400 and passed >= 300, passed .. " passed")
    assert.is_true(calls < 200, calls .. " calls for 600 requests")
    local seconds
    passed, seconds = run(100, 200, 150)
    assert.is_true(passed <= 200 + 100 * seconds + 1, ("%d passed in %.2f s"):format(passed, seconds))
    assert.is_true(passed >= 150, passed .. " passed")
  end))

  it("gives back what it has not used of a lease, and no more than that", loop.spec(function()
    local redis = redis_server.start()
    local rig = start { algorithm = "gcra", rate = 1, per = 600, burst = 4000, policy = "redis", sync_rate = 0.02,
      redis = { host = "127.0.0.1", port = redis.port } }
    local answer
    local passed = send(rig, 200)
    assert.equal(200, passed)
    local key = redis_cli(redis, "randomkey"):match "%S+"
    -- Later questions give back what earlier ones have left: at last as much is taken as has passed.
    local function taken()
      local due = tonumber(redis_cli(redis, "hget", key, "d"):match "%S+")
      local sec, usec = redis_cli(redis, "time"):match "(%d+)%s+(%d+)"
      return (due - sec * 1000 - usec / 1000) / 600000
    end
    local n = 200
    repeat
      passed, answer = send(rig, 1) -- by and by the lease is over
      n = n + passed
    until taken() <= n + 1 or n > 3000
    assert.is_true(taken() > n - 1 and taken() <= n + 1, ("%f taken, %d passed"):format(taken(), n))
    assert.equal(200, answer.status)
    rig.server:stop()
  end))

  it("counts with gcra for itself while Redis is away", loop.spec(function()
    local redis = redis_server.start()
    local config = { algorithm = "gcra", rate = 1, per = 3600, burst = 5, policy = "redis",
      redis = { host = "127.0.0.1", port = redis.port } }
    local first, second = start(config), start(config)
    redis.process:kill()
    redis.process:wait_exit()
    for _, rig in ipairs { first, second } do
      local passed, answer = send(rig, 8)
      assert.equal(5, passed)
      assert.equal("0", answer:get "ratelimit-remaining")
      rig.server:wait_log "plugin%.log.*plugin=rate%-limiting.*this node counts for itself, Redis is away"
      rig.server:stop()
    end
  end))

  it("counts for itself while Redis is away, and with Redis as soon as it is there", loop.spec(function()
    local redis = redis_server.start()
    redis.process:kill()
    redis.process:wait_exit()
    local rig = start { hour = 100000, policy = "redis", redis = { host = "127.0.0.1", port = redis.port } }
    local passed, answer = send(rig, 5)
    assert.equal(5, passed)
    assert.equal("99995", answer:get "ratelimit-remaining")
    rig.server:wait_log "plugin%.log.*plugin=rate%-limiting.*this node counts for itself, Redis is away"
    redis_server.start { port = redis.port }
    repeat
      passed, answer = send(rig, 200)
      assert.equal(200, passed)
    until tonumber(answer:get "ratelimit-remaining") > 99000 and redis_cli(redis, "dbsize"):match "1"
    rig.server:stop()
  end))

  it("does not wait long for a Redis that does not answer", loop.spec(function()
    local silent = uv.new_tcp()
    assert(silent:bind("127.0.0.1", 0))
    silent:listen(128, function() end)
    loop.defer(function() silent:close() end)
    local rig = start { hour = 3, policy = "redis",
      redis = { host = "127.0.0.1", port = silent:getsockname().port, timeout = 50 } }
    assert.equal(3, (send(rig, 10)))
    assert.matches("\nveloflux_plugin_rate_limiting_redis_failures_total 10\n",
      clients.get(rig.server.ports.admin, "/metrics").body)
    rig.server:stop()
  end))

  it("can answer 500 when Redis is away", loop.spec(function()
    local redis = redis_server.start()
    redis.process:kill()
    redis.process:wait_exit()
    local rig = start { hour = 3, policy = "redis", fault_tolerant = false,
      redis = { host = "127.0.0.1", port = redis.port } }
    assert.equal(500, clients.get(rig.port, "/").status)
    rig.server:wait_log "requests cannot be counted: Redis: "
    assert.equal(0, #rig.origin.requests)
    rig.server:stop()
  end))

  it("survives clients that go away while Redis is asked", loop.spec(function()
    local redis = redis_server.start()
    local rig = start { hour = 1000, policy = "redis", sync_rate = -1,
      redis = { host = "127.0.0.1", port = redis.port } }
    for i = 1, 30 do
      local client = clients.connect(rig.port)
      client:request("GET", "/" .. i)
      client:reset()
    end
    local passed, answer = send(rig, 10)
    assert.equal(10, passed)
    assert.is_true(tonumber(answer:get "ratelimit-remaining") >= 960)
    rig.server:stop()
  end))

  it("asks with a name and a password", loop.spec(function()
    local redis = redis_server.start { args = { "--requirepass", "s3cret" } }
    local config = { hour = 3, policy = "redis", fault_tolerant = false,
      redis = { host = "127.0.0.1", port = redis.port, username = "default", password = "s3cret" } }
    local rig = start(config)
    assert.equal(200, clients.get(rig.port, "/").status)
    config.redis.password = "wrong"
    plugins.change(rig, { { name = "rate-limiting", config = config } })
    assert.equal(500, clients.get(rig.port, "/").status)
    assert.is_nil(table.concat(rig.server:log_lines(), "\n"):find("wrong", 1, true))
    rig.server:stop()
  end))
end)

--- The Redis client of plugins against a redis-server of the spec's own, and against peers that are none.
local harness = require "unit.pdk.harness"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local servers = require "unit.pdk.redis_server"
local redis = require "veloflux.pdk.redis"
local pool = require "veloflux.runtime.stream_pool"

local shared, server = loop.scope(), nil

-- A spec that is given the harness; nothing may be open at its end.
local function spec(fn, options)
  return loop.spec(function()
    local h = harness.new(options)
    local ok, err = pcall(fn, h)
    pool.close_all()
    if not ok then error(err, 0) end
    assert.equal(0, h.n_held, "connections left open")
    h:close()
  end)
end

-- One whose body is a task with a client of the shared, emptied server.
local function task(fn)
  return spec(function(h)
    h:run(function()
      local red = redis.new { port = server.port }
      assert(red:flushall())
      fn(red, h)
    end)
  end)
end

describe("pdk.redis", function()
  setup(shared:spec(function() server = servers.start() end))
  teardown(shared:closer())

  it("runs commands and returns their values", task(function(red)
    assert.equal("OK", red:set("a", "1\r\n2\0"))
    assert.equal("1\r\n2\0", red:get "a")
    assert.equal(redis.null, red:get "missing")
    assert.equal("null", tostring(redis.null))
    assert.equal(41, red:incrby("n", 41))
    assert.equal("9007199254740993", red:incrby("big", "9007199254740993"))
    assert.equal("0.10000000000000001", red:set("f", 0.1) and red:get "f")
    assert.equal(3, red:rpush("l", "x", "", "z"))
    assert.same({ "x", "", "z" }, red:lrange("l", 0, -1))
    assert.same({ "maxmemory", "0" }, red:config_get "maxmemory")
    assert.same({ redis.null, "1\r\n2\0" }, red:command("MGET", "missing", "a"))
    assert.same({}, red:lrange("none", 0, -1))
    local large = ("x"):rep(3000000)
    assert(red:set("large", large))
    assert.equal(large, red:get "large")
    assert.equal(1, pool.count())
  end))

  it("tells errors of the server by their first word", task(function(red)
    red:set("s", "x")
    assert.same({ nil, "WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE" },
      { red:lpush("s", 1) })
    assert.equal("ERR", select(3, red:command "NOSUCH"))
    assert.equal(1, pool.count()) -- the connection is as good as before
  end))

  it("sends pipelines and transactions", task(function(red)
    local results = red:pipeline { { "SET", "a", 1 }, { "LPUSH", "a", 1 }, { "INCR", "a" } }
    assert.same({ "OK", 2 }, { results[1], results[3] })
    assert.is_true(redis.is_error(results[2]))
    assert.equal("WRONGTYPE", results[2].code)
    assert.is_false(redis.is_error(results[1]))
    assert.same({}, red:pipeline {})
    local many = {}
    for i = 1, 20000 do many[i] = { "RPUSH", "many", ("%d"):format(i) } end
    results = red:pipeline(many)
    assert.same({ 20000, 1, 20000 }, { #results, results[1], results[20000] })
    assert.equal(20000, #red:lrange("many", 0, -1))
    assert.same({ "OK", 2 }, red:transaction { { "SET", "t", 1 }, { "INCR", "t" } })
    local value, err, code = red:transaction { { "SET", "t", 9 }, { "NOSUCH" } }
    assert.same({ nil, "ERR" }, { value, code })
    assert.matches("unknown command", err)
    assert.equal("2", red:get "t")
  end))

  it("runs scripts by their digest and sends them again when they are lost", task(function(red)
    local script = "return { KEYS[1], ARGV[1] + 1, { err = 'no' } }"
    for _ = 1, 2 do
      local value = red:eval(script, { "k" }, { 2 })
      assert.same({ "k", 3 }, { value[1], value[2] })
      assert.is_true(redis.is_error(value[3]))
      red:command("SCRIPT", "FLUSH")
    end
    assert.equal("ERR", select(3, red:eval("syntax error", {}, {})))
    assert.equal("BAD", select(3, red:eval("return redis.error_reply('BAD thing')")))
  end))

  it("watches keys on a connection of its own", task(function(red)
    red:set("stock", 5)
    local function take(conn, n)
      conn:watch "stock"
      return conn:transaction { { "SET", "stock", tonumber(conn:get "stock") - n } }
    end
    assert.same({ "OK" }, red:with(take, 2))
    assert.equal("3", red:get "stock")
    local value, err, code = red:with(function(conn)
      conn:watch "stock"
      red:set("stock", 100)
      return conn:transaction { { "SET", "stock", 0 } }
    end)
    assert.same({ nil, "a watched key has changed", "conflict" }, { value, err, code })
    assert.equal("100", red:get "stock")
    assert.equal(2, pool.count())
    red:with(function(conn) conn:select(3) end) -- not given to others
    assert.equal(1, pool.count())
    local kept
    assert.has_error(function()
      red:with(function(conn)
        kept = conn
        error("stop", 0)
      end)
    end, "stop")
    assert.has_error(function() kept:get "x" end)
    assert.has_error(function() red:watch "x" end)
  end))

  it("keeps users and databases apart", spec(function(h)
    h:run(function()
      local red = redis.new { path = server.path }
      red:acl_setuser("ann", "on", ">p@ss:w", "~*", "+@all")
      red:set("where", "zero")
      local two = redis.new("redis://ann:p%40ss%3Aw@127.0.0.1:" .. server.port .. "/2")
      two:set("where", "two")
      assert.equal("ann", two:acl_whoami())
      assert.same({ "zero", "two" }, { red:get "where", two:get "where" })
      assert.equal("two", redis.new("unix://" .. server.path .. "?db=2"):get "where")
      assert.equal(3, pool.count())
      local wrong = redis.new { port = server.port, username = "ann", password = "no" }
      local value, err, code = wrong:get "where"
      assert.same({ nil, "WRONGPASS" }, { value, code })
      assert.matches("^redis 127.0.0.1:%d+: AUTH: WRONGPASS", err)
      assert.equal("ERR", select(3, redis.new { port = server.port, db = 99 }:get "where"))
    end)
  end))

  it("refuses what is no command, before anything is sent", task(function(red)
    assert.has_error(function() red:get(true) end, "redis: argument 2: expected a string or a number, got boolean")
    assert.has_error(function() red:pipeline { "GET" } end,
      "pipeline: command 1: expected a list that begins with a name")
    assert.has_error(function() red:command(7) end)
    assert.has_error(function() redis.new "http://x" end,
      "redis.new: url: it is not of the form redis://host:port/db or unix:///path")
    assert.has_error(function() redis.new "rediss://x:y" end)
    assert.has_error(function() redis.new "redis://h/x" end)
    assert.has_error(function() redis.new "redis://h:99999" end)
    assert.has_error(function() redis.new(7) end)
    assert.equal("OK", red:set("a", "b"))
  end))

  it("hears messages in the background and comes back when the connection breaks", spec(function(h)
    local heard, states = {}, {}
    local sub
    h:run(function()
      local red = redis.new { port = server.port }
      sub = red:subscribe({ "news", "weather" }, function(message, channel)
        if message == "bad" then error "cannot bear it" end
        heard[#heard + 1] = channel .. "=" .. message
      end, { on_state = function(is_connected) states[#states + 1] = is_connected end })
    end)
    h:drive(function() return #states == 1 end, "the subscription")
    h:run(function()
      local red = redis.new { port = server.port }
      red:publish("news", "one")
      red:publish("news", "bad")
      assert.equal(1, red:publish("weather", "two"))
    end)
    h:drive(function() return #heard == 2 end, "messages")
    assert.same({ "news=one", "weather=two" }, heard)
    assert.equal(1, #harness.chain.errors)
    harness.chain.errors = {}
    h:run(function()
      assert(redis.new { port = server.port }:with(function(conn) return conn:client("KILL", "TYPE", "pubsub") end))
    end)
    h:drive(function() return #states == 3 end, "the reconnection")
    assert.same({ true, false, true }, states)
    h:run(function() redis.new { port = server.port }:publish("news", "three") end)
    h:drive(function() return #heard == 3 end, "the next message")
    sub:close()
    sub:close()
    h:drive(function() return h.n_held == pool.count() end, "its end")
    local by_pattern
    h:run(function()
      sub = redis.new { port = server.port }:subscribe("n*", function(message, channel)
        by_pattern = channel .. "=" .. message
      end, { patterns = true, on_state = function() states[4] = true end })
    end)
    h:drive(function() return states[4] end)
    h:run(function() redis.new { port = server.port }:publish("nine", "9") end)
    h:drive(function() return by_pattern end)
    assert.equal("nine=9", by_pattern)
    sub:close()
    h:drive(function() return h.n_held == pool.count() end, "its end")
  end))

  it("refuses what is no Redis, and replies that are too large", spec(function(h)
    local answers = {
      { "HTTP/1.1 400 Bad Request\r\n\r\n", "malformed" }, { "*9999999999\r\n", "malformed" },
      { "*1000000000\r\n", "too_large" }, { "$1000\r\n" .. ("x"):rep(2000), "too_large" },
      { "$-5\r\nx", "malformed" }, { ":12x\r\n", "malformed" },
      { ("*1\r\n"):rep(100), "malformed" }, { "$3\r\nab", "closed" }, { "", "closed" }, { "*2\r\n+a\r\n", "closed" },
      { "\0\255\1\r\n", "malformed" }, { ("*1\r\n"):rep(9) .. "+deep\r\n", "malformed" },
      { ",1.5\r\n", "malformed" }, { "#t\r\n", "malformed" }, { "(123\r\n", "malformed" },
      { "=7\r\ntxt:abc\r\n", "malformed" }, { "%1\r\n+a\r\n+b\r\n", "malformed" }, { "~1\r\n+a\r\n", "malformed" },
      { ">1\r\n+a\r\n", "malformed" }, { "_\r\n", "malformed" }, { "|1\r\n+a\r\n+b\r\n+c\r\n", "malformed" },
    }
    local peer = peers.tcp(function(conn, number)
      conn:read_some()
      conn:write(answers[number][1])
    end)
    h:run(function()
      local red = redis.new { port = peer.port, max_reply_bytes = 1000 }
      for i, case in ipairs(answers) do
        local value, err, code = red:get "x"
        assert.same({ nil, case[2] }, { value, code }, i .. ": " .. case[1]:sub(1, 20) .. tostring(err))
        assert.matches("^redis 127.0.0.1:%d+: ", err)
      end
    end)
    assert.equal(#answers, peer.accepted)
  end))

  it("gives up on a server that does not answer and leaves one alone that cannot be reached", spec(function(h)
    local peer = peers.tcp(function() return true end)
    h:run(function()
      local red = redis.new { port = peer.port, timeout = 0.05 }
      assert.same({ nil, "redis 127.0.0.1:" .. peer.port .. ": connection timed out", "timeout" }, { red:get "x" })
    end)
    peer.refuse()
    h:run(function()
      local red = redis.new { port = peer.port }
      for _ = 1, 3 do
        assert.same({ nil, "redis 127.0.0.1:" .. peer.port .. ": connection refused", "refused" }, { red:get "x" })
      end
    end)
    peer.conns[1]:close()
    local late
    h:run(function()
      harness.sleep(250)
      late = peers.tcp(function(conn)
        conn:read_some()
        conn:write "+PONG\r\n"
      end)
    end)
    h:run(function() assert.equal("PONG", redis.new { port = late.port }:ping()) end)
  end))
end)

--- jwt with keys that a server publishes: fetched, kept, changed, slow, broken and away.
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local make = require "unit.plugins.jwt_tokens"
local json = require "veloflux.pdk.json"
local origins = require "support.origin"
local plugins = require "support.plugins"

local function set_of(...) return assert(json.encode { keys = json.array { ... } }) end

local RSA, EC = make.jwk("RS256", { kid = "rsa" }), make.jwk("ES256", { kid = "ec", alg = "ES256" })

-- Starts a server whose keys come from an origin; `server.body` and `server.status` say what that answers.
local function spec_of(options, run)
  return loop.spec(function()
    local keys = origins.start()
    keys.body, keys.status = options.body or set_of(RSA, EC), 200
    keys.handler = options.handler and function(...) options.handler(keys, ...) end or function(conn, request)
      conn:write(origins.response(keys.status, { ["Content-Type"] = "application/json" }, keys.body, request.method))
    end
    local config = { jwks_uri = ("http://127.0.0.1:%d/keys?v=1"):format(keys.port) }
    for name, value in pairs(options.config or {}) do config[name] = value end
    local rig = plugins.start({}, { plugins = { { name = "jwt", config = config } },
      conf = { workers = 1, consumers = { { name = "ana", custom_id = "a7" }, { name = "guest" } } } })
    local function ask(token, fields)
      local all = { Authorization = "Bearer " .. token }
      for name, value in pairs(fields or {}) do all[name] = value end
      return clients.get(rig.port, "/", all)
    end
    run(ask, keys, rig)
    rig.server:stop()
  end)
end

local function message_of(answer) return answer.status, answer.body:match '"message":"(.-)"' end

local function token(algorithm, kid, claims)
  local all = { sub = "zoe", exp = os.time() + 600 }
  for name, value in pairs(claims or {}) do all[name] = value end
  return make.make({ alg = algorithm, kid = kid }, all)
end

describe("published keys", function()
  it("verify tokens, and no consumer is needed", spec_of({}, function(ask, keys)
    for _ = 1, 3 do
      local answer = ask(token("RS256", "rsa"), { ["X-Consumer-Username"] = "admin" })
      assert.equal(200, answer.status)
      assert.is_nil(plugins.field(answer, "X-Consumer-Username"))
      assert.equal("zoe", plugins.field(answer, "X-Credential-Identifier"))
    end
    assert.equal(200, ask(token("PS384", "rsa")).status)
    assert.equal(200, ask(token("ES256", "ec")).status)
    assert.equal(200, ask(token("ES256", nil)).status)
    assert.equal(1, #keys.requests)
    assert.equal("/keys?v=1", keys.requests[1].target)
  end))

  it("are for their own algorithms alone", spec_of({ config = { algorithms = { "RS256", "ES256", "ES384" } },
    body = set_of(RSA, EC, { kty = "oct", kid = "oct", k = "c2VjcmV0", alg = "HS256" }) }, function(ask)
    assert.same({ 401, "Invalid algorithm" }, { message_of(ask(token("RS512", "rsa"))) })
    assert.same({ 401, "Invalid algorithm" }, { message_of(ask(make.make({ alg = "HS256", kid = "rsa" }, {},
      { key = make.public "RS256" }))) })
    assert.same({ 401, "Invalid algorithm" }, { message_of(ask(make.make({ alg = "HS256", kid = "oct" }, {},
      { key = "secret" }))) })
    assert.same({ 401, "Invalid key/secret" }, { message_of(ask(token("ES384", "ec"))) })
    assert.same({ 401, "Invalid key/secret" }, { message_of(ask(token("RS256", "ec"))) })
    assert.same({ 401, "Invalid signature" }, { message_of(ask(token("RS256", "rsa"):sub(1, -5) .. "AAAA")) })
  end))

  it("that are new are fetched when a token names one, but not more often than allowed",
    spec_of({ body = set_of(RSA), config = { jwks_min_interval = "1s" } }, function(ask, keys)
      local began = uv.hrtime()
      assert.equal(200, ask(token("RS256", "rsa")).status)
      for i = 1, 20 do assert.equal(401, ask(token("ES256", "none" .. i)).status) end
      local seconds = math.floor((uv.hrtime() - began) / 1e9)
      assert.is_true(#keys.requests <= 3 + seconds, ("%d in %d s"):format(#keys.requests, seconds))
      keys.body = set_of(EC)
      local answer
      repeat answer = ask(token("ES256", "ec")) until answer.status == 200 -- once the interval is over
      assert.same({ 401, "Invalid key/secret" }, { message_of(ask(token("RS256", "rsa"))) })
    end))

  it("that are old go on serving while their server is away",
    spec_of({ config = { jwks_ttl = "1s", jwks_min_interval = "1s" } }, function(ask, keys, rig)
      assert.equal(200, ask(token("RS256", "rsa")).status)
      keys.status = 500
      local fine = token("RS256", "rsa")
      local from = #rig.server:log_lines()
      repeat assert.equal(200, ask(fine).status) until #keys.requests >= 2
      rig.server:wait_log("keys were not loaded from .*: the server answered 500", from)
      keys.status, keys.body = 200, "<html>"
      repeat assert.equal(200, ask(fine).status) until #keys.requests >= 3
      rig.server:wait_log("keys were not loaded from .*: not JSON", from)
      keys.body = set_of(EC)
      repeat until ask(fine).status == 401
    end))

  it("that cannot be had let nobody pass", spec_of({ body = "garbage", config = { anonymous = "guest" } },
    function(ask, keys)
      for _ = 1, 3 do
        local answer = ask(token("RS256", "rsa"))
        assert.equal(503, answer.status)
        assert.equal("1", answer:get "retry-after")
      end
      assert.equal(200, ask("garbage").status) -- no token: the consumer for anonymous requests
      keys.body = set_of(RSA)
      repeat until ask(token("RS256", "rsa")).status == 200
    end))

  it("that come slowly make requests wait, and not for longer than allowed", spec_of({
    config = { jwks_timeout = "300ms" }, handler = function(keys, conn, request)
      if keys.is_quick then return conn:write(origins.response(200, {}, keys.body, request.method)) end
      conn:write "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{" -- and nothing more
      keys.is_stuck = true
    end }, function(ask, keys, rig)
    local work = {}
    for i = 1, 10 do
      work[i] = function() assert.equal(503, ask(token("RS256", "rsa")).status) end
    end
    clients.together(unpack(work))
    rig.server:wait_log "keys were not loaded from .*timed out"
    keys.is_quick = true
    repeat until ask(token("RS256", "rsa")).status == 200
  end))

  it("that are too many bytes are refused", spec_of({ body = '{"keys":[],"x":"' .. ("x"):rep(300000) .. '"}' },
    function(ask, _, rig)
      assert.equal(503, ask(token("RS256", "rsa")).status)
      rig.server:wait_log "keys were not loaded from"
    end))

  it("go with consumers that a claim names", spec_of({ config = { consumer_claim = "client" } }, function(ask)
    local answer = ask(token("RS256", "rsa", { client = "ana" }))
    assert.equal(200, answer.status)
    assert.equal("ana", plugins.field(answer, "X-Consumer-Username"))
    assert.equal("a7", plugins.field(answer, "X-Consumer-Custom-ID"))
    for _, client in ipairs { "nobody", "", 7, { "ana" }, false } do
      assert.same({ 401, "Could not find consumer" }, { message_of(ask(token("RS256", "rsa", { client = client }))) })
    end
    assert.equal(401, ask(token("RS256", "rsa")).status)
  end))
end)

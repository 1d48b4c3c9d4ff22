local kit = require "veloflux.kit"
local pdk = require "veloflux.pdk"
local crypto, json = pdk.crypto, pdk.json

local SECRET = ("s"):rep(32)
local START = 1767225600 -- 2026-01-01

local function part(value) return crypto.base64url_encode(assert(json.encode(value))) end

local function token(claims, header)
  local head = { alg = "HS256", typ = "JWT" }
  for name, value in pairs(header or {}) do head[name] = value end
  local signed = part(head) .. "." .. part(claims)
  return signed .. "." .. crypto.base64url_encode(crypto.hmac("sha256", SECRET, signed))
end

local function start(config, hosts)
  return kit.start { config = config, hosts = hosts, time = START,
    consumers = { { name = "ana", credentials = { { type = "jwt", key = "app", secret = SECRET } } } },
    upstream = function(request) return request.headers["x-consumer-username"] or "nobody" end }
end

local function ask(gateway, text) return gateway:request { headers = { Authorization = "Bearer " .. text } } end

describe("jwt", function()
  it("lets those pass who have a good token", function()
    local gateway = start { claims_to_headers = { sub = "X-User" } }
    local answer = gateway:request { headers = { Authorization = "Bearer " .. token { iss = "app", sub = "zoe" },
      ["X-User"] = "admin" } }
    assert.equal("ana", answer.body)
    assert.equal("zoe", gateway:upstream_requests()[1].headers["x-user"])
    assert.equal("app", gateway:upstream_requests()[1].headers["x-credential-identifier"])
  end)

  it("keeps what it has told of a token where another one of it would have done as well", function()
    local config = { claims_to_headers = { sub = "X-User", role = "X_Role" }, anonymous = "guest" }
    local gateway = kit.start { time = START, plugins = { { name = "jwt", config = config },
      { name = "jwt", as = "more", config = { claims_to_headers = { sub = "x-user", role = "X-Role" },
        anonymous = "guest" } } },
      consumers = { { name = "guest" },
        { name = "ana", credentials = { { type = "jwt", key = "app", secret = SECRET } } } } }
    gateway:request { headers = { Authorization = "Bearer " .. token { iss = "app", sub = "zoe" },
      ["X-User"] = "admin", ["X-Role"] = "root" } }
    gateway:request { headers = { ["X-User"] = "admin", ["X-Role"] = "root" } }
    local known, guest = unpack(gateway:upstream_requests())
    assert.same({ "zoe", nil }, { known.headers["x-user"], known.headers["x-role"] })
    assert.same({ "guest", nil, nil }, { guest.headers["x-consumer-username"], guest.headers["x-user"],
      guest.headers["x-role"] })
  end)

  it("lets a token live from one second to another", function()
    local gateway = start { claims_to_verify = { "exp", "nbf" } }
    local text = token { iss = "app", nbf = START + 10, exp = START + 20 }
    local function status_at(second)
      gateway:advance(START + second - kit.now())
      return ask(gateway, text).status
    end
    assert.same({ 401, 200, 200, 401, 401 }, { status_at(9), status_at(10.5), status_at(19.5), status_at(20.5),
      status_at(3600) })
  end)

  it("gives clocks of others the leeway that it is told", function()
    local gateway = start { leeway = "5s" }
    assert.equal(200, ask(gateway, token { iss = "app", exp = START - 4 }).status)
    assert.equal(401, ask(gateway, token { iss = "app", exp = START - 6 }).status)
    assert.equal(200, ask(gateway, token { iss = "app", nbf = START + 4 }).status)
    assert.equal(401, ask(gateway, token { iss = "app", nbf = START + 7 }).status)
  end)

  it("refuses tokens that say how they are to be verified", function()
    local gateway = start {}
    for _, header in ipairs { { alg = "none" }, { alg = "HS512" }, { alg = "RS256" }, { crit = { "x" } },
      { b64 = false } } do
      assert.equal(401, ask(gateway, token({ iss = "app" }, header)).status)
    end
  end)

  it("says what its configuration may be", function()
    assert.equal(0, #kit.validate { maximum_expiration = 60, claims_to_verify = { "exp" } })
    assert.equal(0, #kit.validate { jwks_uri = "https://id.test/" })
    for _, config in ipairs { { maximum_expiration = 60 }, { jwks_uri = "ftp://id.test/" }, { jwks_uri = "id.test" },
      { jwks_uri = "http://a:b@id.test/" }, { consumer_claim = "sub" }, { claims_to_headers = { sub = "Host" } },
      { algorithms = { "HS256" } }, { algorithms = { "none" } }, { claims_to_verify = { "iat" } } } do
      assert.is_true(#kit.validate(config) > 0)
    end
  end)
end)

-- A P-256 key of nobody, and tokens that were signed with it: `kid` k1, `sub` zoe, good until 2286.
local JWK = { kty = "EC", crv = "P-256", kid = "k1", x = "b-j6EiOWHrivbEg4WRxTY54JrDR4jA10lWB7mkRMFeE",
  y = "hjPL5aoGPImLqKj0rn8grPuWpKHIv8YwrMk1Phwdk14" }
local SIGNED = "eyJraWQiOiJrMSIsImFsZyI6IkVTMjU2IiwidHlwIjoiSldUIn0." ..
  "eyJleHAiOjk5OTk5OTk5OTksInN1YiI6InpvZSJ9." ..
  "HlJPv9VLzG4Aqk6_XhvaVauT_ehXpdntjDN1ViTF8IeIzQtzLNW__7AsI74sLSyQuoJTCMOq4LDXS5sC1R9Y3w"

describe("jwt with published keys", function()
  local body = assert(json.encode { keys = json.array { JWK } })

  local function count(gateway) return #gateway:upstream_requests "id.test" end

  local function config(more)
    local all = { jwks_uri = "http://id.test/keys", jwks_ttl = "10m", jwks_min_interval = "30s" }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end

  it("fetches them once, and again when they are old", function()
    local gateway = start(config(), { ["id.test:80"] = function() return body end })
    for _ = 1, 3 do assert.equal(200, ask(gateway, SIGNED).status) end
    assert.equal(1, count(gateway))
    gateway:advance(601)
    assert.equal(200, ask(gateway, SIGNED).status)
    gateway:advance(1)
    assert.equal(2, count(gateway))
  end)

  it("keeps them while their server is away", function()
    local is_away = false
    local gateway = start(config(), { ["id.test:80"] = function() return is_away and { reset = true } or body end })
    assert.equal(200, ask(gateway, SIGNED).status)
    is_away = true
    for _ = 1, 20 do
      gateway:advance(600)
      assert.equal(200, ask(gateway, SIGNED).status)
    end
    gateway:advance(1)
    assert.is_true(count(gateway) > 10)
    assert.is_true(#gateway:logs "plugin.log" > 0)
  end)

  it("asks for unknown keys once in an interval", function()
    local gateway = start(config(), { ["id.test:80"] = function() return '{"keys":[]}' end })
    for _ = 1, 50 do assert.equal(401, ask(gateway, SIGNED).status) end
    assert.equal(1, count(gateway))
    gateway:advance(31)
    for _ = 1, 50 do assert.equal(401, ask(gateway, SIGNED).status) end
    assert.equal(2, count(gateway))
  end)

  it("does not wait for longer than it is told", function()
    local gateway = start(config { jwks_timeout = "2s" }, { ["id.test:80"] = function() return { delay = 3600 } end })
    local answer = ask(gateway, SIGNED)
    assert.equal(503, answer.status)
    assert.equal("1", answer.headers["retry-after"])
    assert.is_true(answer.elapsed <= 5)
    assert.is_true(#gateway:logs "plugin.log" > 0)
  end)

  it("takes keys that trickle in", function()
    local pieces = {}
    for at = 1, #body, 7 do pieces[#pieces + 1] = body:sub(at, at + 6) end
    local gateway = start(config(), { ["id.test:80"] = function() return { body = pieces, interval = 0.05 } end })
    assert.equal(200, ask(gateway, SIGNED).status)
  end)
end)

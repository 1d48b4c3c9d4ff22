--- jwt: tokens that consumers' credentials vouch for.
local clients = require "support.client"
local loop = require "support.loop"
local make = require "unit.plugins.jwt_tokens"
local crypto = require "veloflux.pdk.crypto"
local plugins = require "support.plugins"

local CONSUMERS = {
  { name = "ana", custom_id = "a7", groups = { "gold" }, credentials = {
    { type = "jwt", key = "app", secret = make.SECRET },
    { type = "jwt", key = "rsa", algorithm = "RS256", rsa_public_key = make.public "RS256" },
    { type = "jwt", key = "ec", algorithm = "ES384", rsa_public_key = make.public "ES384" },
    { type = "jwt", key = "ed", algorithm = "EdDSA", rsa_public_key = make.public "EdDSA" } } },
  { name = "guest" },
  { name = "eve", tenant = "acme", credentials = { { type = "jwt", key = "acme", secret = make.SECRET } } },
}

local function spec_of(config, run, more)
  return loop.spec(function()
    local list = { { name = "jwt", config = config } }
    for _, plugin in ipairs(more or {}) do list[#list + 1] = plugin end
    local rig = plugins.start({}, { plugins = list, conf = { workers = 1, consumers = CONSUMERS,
      tenants = { { name = "acme", hosts = { "acme.test" } } } } })
    local function ask(token, fields, path)
      local all = { { "Authorization", token and "Bearer " .. token } }
      for name, value in pairs(fields or {}) do all[#all + 1] = { name, value } end
      if not token then table.remove(all, 1) end
      return clients.get(rig.port, path or "/", all)
    end
    run(ask, rig)
    rig.server:stop()
  end)
end

-- The message of an answer that refuses, and why in WWW-Authenticate.
local function refusal(answer)
  return answer.status, answer.body:match '"message":"(.-)"' or answer.body, answer:get "www-authenticate"
end

local INVALID = 'Bearer error="invalid_token"'

describe("jwt", function()
  it("lets those pass who have a good token", spec_of({}, function(ask, rig)
    local token = make.good { sub = "zoe" }
    for _ = 1, 2 do -- read, then known
      local answer = ask(token, { ["X-Consumer-Username"] = "admin", ["x_credential_identifier"] = "admin" })
      assert.equal(200, answer.status)
      assert.equal("ana", plugins.field(answer, "X-Consumer-Username"))
      assert.equal("a7", plugins.field(answer, "X-Consumer-Custom-ID"))
      assert.equal("app", plugins.field(answer, "X-Credential-Identifier"))
      assert.is_nil(plugins.field(answer, "X-Anonymous-Consumer"))
      assert.is_nil(answer.body:find("admin", 1, true))
    end
    for key, algorithm in pairs { rsa = "RS256", ec = "ES384", ed = "EdDSA" } do
      assert.equal(200, ask(make.make({ alg = algorithm }, { iss = key })).status)
      assert.equal(401, ask(make.make({ alg = algorithm }, { iss = "app" })).status)
    end
    assert.equal(200, clients.get(rig.port, "/?a=1&jwt=" .. token).status)
    assert.equal(200, clients.get(rig.port, "/?%6awt=" .. token, { Authorization = "bEARER  " .. token }).status)
    assert.equal(200, ask(make.make({ alg = "HS256", iss = "app" }, {})).status)
  end))

  it("refuses all others", spec_of({ realm = "here" }, function(ask, rig)
    local invalid = 'Bearer realm="here", error="invalid_token"'
    assert.same({ 401, "Unauthorized", 'Bearer realm="here"' }, { refusal(ask(nil)) })
    assert.same({ 401, "Unauthorized", 'Bearer realm="here"' }, { refusal(ask(nil, { Authorization = "Basic eA==" })) })
    local good = make.good()
    local head, body, signature = good:match "^(.-)%.(.-)%.(.-)$"
    local none = crypto.base64url_encode '{"alg":"none"}' .. "." .. body .. "."
    for token, message in pairs {
      ["x"] = "Bad token; not three parts",
      [none] = "Bad token; invalid alg",
      [none .. signature] = "Bad token; invalid alg",
      [good:sub(1, -4)] = "Invalid signature",
      [good .. "."] = "Bad token; not three parts",
      [head .. "." .. body .. "." .. signature:sub(1, 20)] = "Invalid signature",
      [make.good { iss = false }] = "Invalid 'iss' in claims",
      [make.good { iss = 7 }] = "Invalid 'iss' in claims",
      [make.good { iss = { "app" } }] = "Invalid 'iss' in claims",
      [make.good { iss = "" }] = "Invalid 'iss' in claims",
      [make.make({ alg = "HS256" }, { sub = "ana" })] = "No mandatory 'iss' in claims",
      [make.good { iss = "nobody" }] = "No credentials found for given 'iss'",
      [make.good { iss = "acme" }] = "No credentials found for given 'iss'", -- of another tenant
      [make.good { iss = "app\0x" }] = "No credentials found for given 'iss'",
      [make.make({ alg = "HS512" }, { iss = "app" })] = "Invalid algorithm",
      [make.make({ alg = "HS256" }, { iss = "rsa" }, { key = make.public "RS256" })] = "Invalid algorithm",
      [make.make({ alg = "RS256" }, { iss = "rsa" }, { key = make.public "RS256", algorithm = "HS256" })] =
        "Invalid signature",
      [make.make({ alg = "RS256" }, { iss = "app" })] = "Invalid algorithm",
      [make.make({ alg = "RS384" }, { iss = "rsa" })] = "Invalid algorithm",
      [make.make({ alg = "PS256" }, { iss = "rsa" })] = "Invalid algorithm",
      [make.make({ alg = "HS256" }, { iss = "app" }, { key = make.SECRET .. "x" })] = "Invalid signature",
      [make.good({}, { typ = "secevent+jwt" })] = "Invalid token type",
      [make.good({}, { crit = { "exp" }, jku = "http://127.0.0.1:1/" })] = "Bad token; crit names what is not known",
      [("A"):rep(9000)] = "Bad token; longer than 8 KiB",
      ["\255\254.\1.\2"] = "Bad token; the header is not base64url",
    } do
      -- In the query, where every byte can stand.
      local answer = clients.get(rig.port, "/?jwt=" .. require("veloflux.pdk.encoding").url_encode(token))
      if #token > 8000 then
        assert.equal(414, answer.status)
      else
        assert.same({ 401, message, invalid }, { refusal(answer) })
      end
    end
    assert.same({ 401, "Bad token; longer than 8 KiB", invalid }, { refusal(ask(("A"):rep(9000))) })
    assert.equal(0, #rig.origin.requests)
  end))

  it("looks at times to the second", spec_of({ claims_to_verify = { "exp", "nbf" }, maximum_expiration = 60,
    leeway = "20s" }, function(ask)
    local function times(exp, nbf)
      return make.make({ alg = "HS256" }, { iss = "app", exp = os.time() + exp, nbf = nbf and os.time() + nbf })
    end
    assert.equal(200, ask(times(50, 0)).status)
    assert.equal(200, ask(times(-5, 5)).status)
    for message, token in pairs {
      ['{"exp":"token expired"}'] = times(-21, 0),
      ['{"nbf":"token not valid yet"}'] = times(50, 50),
      ['{"nbf":"must be a number"}'] = times(50, nil),
      ['{"exp":"exceeds maximum allowed expiration"}'] = times(120, 0),
    } do
      assert.same({ 401, message, INVALID }, { refusal(ask(token)) })
    end
  end))

  it("refuses what has expired even when nobody asks, and a known token, too", spec_of({}, function(ask)
    assert.same({ 401, '{"exp":"token expired"}', INVALID }, { refusal(ask(make.good { exp = os.time() - 1 })) })
    assert.equal(401, ask(make.good { exp = os.time() }).status)
    assert.equal(401, ask(make.good { nbf = os.time() + 3600 }).status)
    assert.equal(401, ask(make.good { exp = tostring(os.time() + 3600) }).status)
    local first
    for life = 2, 32, 5 do -- a machine may be too slow for the shortest
      local short = make.good { exp = os.time() + life }
      first = nil
      repeat
        local answer = ask(short)
        first = first or answer.status
      until answer.status == 401
      if first == 200 then break end
    end
    assert.equal(200, first)
  end))

  it("takes a token from where it may be, and only one", spec_of({ header_names = { "authorization", "X-Token" },
    cookie_names = { "session" }, uri_param_names = { "t" } }, function(ask, rig)
    local one, other = make.good { sub = "1" }, make.good { sub = "2" }
    local function cookie(text) return ask(nil, { Cookie = text }).status end
    assert.equal(200, cookie("a=b; session=" .. one .. "; c=d"))
    assert.equal(200, cookie("session=" .. one))
    assert.equal(401, cookie("xsession=" .. one))
    assert.equal(401, cookie("session=; session2=" .. one))
    assert.equal(200, ask(nil, { ["X-Token"] = "Bearer " .. one }).status)
    assert.equal(401, ask(nil, { ["X-Token"] = one }).status)
    assert.equal(401, clients.get(rig.port, "/?jwt=" .. one).status)
    assert.equal(200, ask(one, { Cookie = "session=" .. one }, "/?t=" .. one).status)
    for _, answer in ipairs { ask(one, { Cookie = "session=" .. other }), ask(one, nil, "/?t=" .. other),
      ask(one, { authorization = "Bearer " .. other }), ask(nil, nil, ("/?t=%s&t=%s"):format(one, other)) } do
      assert.same({ 401, "Multiple tokens provided", INVALID }, { refusal(answer) })
    end
  end))

  it("wants the issuer, the audience, the type and the scopes that it is told", spec_of({ key_claim_name = "kid",
    issuer = { "https://id.test" }, audience = { "api" }, accepted_types = { "at+jwt" },
    scopes_required = { "read", "write" } }, function(ask)
    local function token(claims, typ)
      local all = { iss = "https://id.test", aud = "api", scope = "write read" }
      for name, value in pairs(claims or {}) do all[name] = value end
      return make.make({ alg = "HS256", kid = "app", typ = typ or "application/at+jwt" }, all)
    end
    assert.equal(200, ask(token()).status)
    assert.equal(200, ask(token { aud = { "x", "api" } }).status)
    assert.same({ 401, "Invalid issuer", INVALID }, { refusal(ask(token { iss = "https://id.test/" })) })
    assert.same({ 401, "Invalid audience", INVALID }, { refusal(ask(token { aud = { "web" } })) })
    assert.same({ 401, "Invalid token type", INVALID }, { refusal(ask(token({}, "JWT"))) })
    assert.same({ 403, "Insufficient scope", 'Bearer error="insufficient_scope", scope="read write"' },
      { refusal(ask(token { scope = "read writes" })) })
  end))

  it("tells the backend claims, and never what a client says they are", spec_of({ run_on_preflight = false,
    anonymous = "guest", claims_to_headers = { sub = "X-User", roles = "X-Roles", evil = "X-Evil", n = "X-N" } },
    function(ask, rig)
      local forged = { ["X-User"] = "admin", ["x_roles"] = "admin", ["X-Evil"] = "admin", ["x-n"] = "admin" }
      local answer = ask(make.good { sub = "zoë", roles = { "a", "b" }, evil = "a\r\nX-Admin: 1", n = 5 }, forged)
      assert.equal(200, answer.status)
      assert.same({ "zoë", "a,b", nil, "5" }, { plugins.field(answer, "X-User"), plugins.field(answer, "X-Roles"),
        plugins.field(answer, "X-Evil"), plugins.field(answer, "X-N") })
      assert.is_nil(plugins.field(answer, "X-Admin"))
      assert.is_nil(answer.body:find("admin", 1, true))
      answer = ask(nil, forged)
      assert.equal("guest", plugins.field(answer, "X-Consumer-Username"))
      assert.equal("true", plugins.field(answer, "X-Anonymous-Consumer"))
      assert.is_nil(answer.body:find("admin", 1, true))
      answer = clients.request(rig.port, "OPTIONS", "/", forged)
      assert.equal(200, answer.status)
      assert.is_nil(answer.body:find("admin", 1, true))
    end))

  it("gives groups to acl", spec_of({ groups_claim = "groups" }, function(ask)
    assert.equal(200, ask(make.good { groups = { "x", "staff" } }).status)
    assert.equal(200, ask(make.good { groups = "staff x" }).status)
    for _, groups in ipairs { {}, "staffs", { { "staff" } }, 7, { staff = true } } do
      assert.equal(403, ask(make.good { groups = groups }).status)
    end
  end, { { name = "acl", config = { allow = { "staff" }, always_use_authenticated_groups = true } } }))

  it("forgets a known token with its credential", spec_of({}, function(ask, rig)
    local token = make.good()
    assert.equal(200, ask(token).status)
    rig.conf.consumers = { { name = "ana", credentials = { { type = "jwt", key = "app", secret = ("t"):rep(64) } } } }
    rig.server:write_conf(rig.conf)
    assert.is_true((rig.server:reload()))
    assert.same({ 401, "Invalid signature", INVALID }, { refusal(ask(token)) })
    rig.conf.consumers = { { name = "ana" } }
    rig.server:write_conf(rig.conf)
    assert.is_true((rig.server:reload()))
    assert.equal(401, ask(token).status)
  end))
end)

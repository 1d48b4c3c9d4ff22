--- The parts of the plugin jwt that need no request: reading, verifying, claims, sets of keys.
local fixture = require "unit.plugins.fixture"
local make = require "unit.plugins.jwt_tokens"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local traces = require "support.traces"

local load = fixture.load "jwt"
local tokens, claims_of, verify, known, jwks = load "token", load "claims", load "verify", load "known", load "jwks"
local algorithms = load "algorithms"

local function encode(text) return crypto.base64url_encode(text) end

describe("a token", function()
  it("is read", function()
    local text = make.good { sub = "ana" }
    local token = assert(tokens.parse(text))
    assert.equal("HS256", token.header.alg)
    assert.equal("ana", token.claims.sub)
    assert.equal(text, token.signed .. "." .. encode(token.signature))
  end)

  local HEAD, BODY = encode '{"alg":"HS256"}', encode "{}"
  local SIGNATURE = encode(("x"):rep(32))
  for name, case in pairs {
    ["empty"] = { "", "not three parts" },
    ["dots"] = { "..", "the header is not a JSON object" },
    ["two parts"] = { HEAD .. "." .. BODY, "not three parts" },
    ["five parts, encrypted"] = { ("a."):rep(4) .. "a", "not three parts" },
    ["no signature"] = { HEAD .. "." .. BODY .. ".", "the signature is not base64url" },
    ["a signature with padding"] = { HEAD .. "." .. BODY .. "." .. SIGNATURE .. "=",
      "the signature is not base64url" },
    ["padding"] = { HEAD .. "=." .. BODY .. "." .. SIGNATURE, "the header is not base64url" },
    ["the other alphabet"] = { HEAD .. ".+/+/." .. SIGNATURE, "the payload is not base64url" },
    ["white space"] = { HEAD .. "." .. BODY .. "\n." .. SIGNATURE, "the payload is not base64url" },
    ["another end of the last character"] = { "eyJhbGciOiJIUzI1NiJ9".. "x." .. BODY .. "." .. SIGNATURE,
      "the header is not base64url" },
    ["not JSON"] = { encode "alg" .. "." .. BODY .. "." .. SIGNATURE, "the header is not a JSON object" },
    ["a list"] = { encode "[]" .. "." .. BODY .. "." .. SIGNATURE, "the header is not a JSON object" },
    ["a list of claims"] = { HEAD .. "." .. encode "[]" .. "." .. SIGNATURE, "the payload is not a JSON object" },
    ["null"] = { HEAD .. "." .. encode "null" .. "." .. SIGNATURE, "the payload is not a JSON object" },
    ["a name twice"] = { HEAD .. "." .. encode '{"iss":"a","iss":"b"}' .. "." .. SIGNATURE,
      "the payload is not a JSON object" },
    ["a name twice, escaped"] = { HEAD .. "." .. encode [[{"iss":"a","\u0069ss":"b"}]] .. "." .. SIGNATURE,
      "the payload is not a JSON object" },
    ["bytes that are no UTF-8"] = { HEAD .. "." .. encode '{"iss":"\255"}' .. "." .. SIGNATURE,
      "the payload is not a JSON object" },
    ["deep"] = { HEAD .. "." .. encode('{"a":' .. ("["):rep(50) .. ("]"):rep(50) .. "}") .. "." .. SIGNATURE,
      "the payload is not a JSON object" },
    ["nested tokens"] = { HEAD .. "." .. encode(make.good()) .. "." .. SIGNATURE,
      "the payload is not a JSON object" },
    ["long"] = { ("x"):rep(8193), "longer than 8 KiB" },
  } do
    it("is refused: " .. name, function() assert.same({ nil, case[2] }, { tokens.parse(case[1]) }) end)
  end

  for text, problem in pairs {
    ['{}'] = "invalid alg", ['{"alg":"none"}'] = "invalid alg", ['{"alg":"None"}'] = "invalid alg",
    ['{"alg":"nOnE"}'] = "invalid alg", ['{"alg":""}'] = "invalid alg", ['{"alg":null}'] = "invalid alg",
    ['{"alg":["HS256"]}'] = "invalid alg", ['{"alg":256}'] = "invalid alg", ['{"alg":"hs256"}'] = "invalid alg",
    ['{"alg":"HS256 "}'] = "invalid alg", ['{"alg":"RSA-OAEP"}'] = "invalid alg", ['{"alg":"ES256K"}'] = "invalid alg",
    ['{"alg":"HS256","crit":["exp"]}'] = "crit names what is not known",
    ['{"alg":"HS256","crit":[]}'] = "crit names what is not known",
    ['{"alg":"HS256","crit":null}'] = "crit names what is not known",
    ['{"alg":"HS256","b64":false}'] = "content that is not base64url",
    ['{"alg":"HS256","b64":"true"}'] = "content that is not base64url",
    ['{"alg":"HS256","typ":1}'] = "typ is not a string", ['{"alg":"HS256","typ":null}'] = "typ is not a string",
    ['{"alg":"HS256","kid":7}'] = "kid is not a short string",
    ['{"alg":"HS256","kid":{}}'] = "kid is not a short string",
    ['{"alg":"HS256","kid":"' .. ("k"):rep(257) .. '"}'] = "kid is not a short string",
  } do
    it("is refused with the header " .. text:sub(1, 40), function()
      assert.same({ nil, problem }, { tokens.parse(encode(text) .. "." .. BODY .. "." .. SIGNATURE) })
    end)
  end

  it("says of which type it is", function()
    local types = { jwt = true, ["at+jwt"] = true }
    local function has(typ) return tokens.has_type({ header = { typ = typ } }, types) end
    for _, typ in ipairs { "JWT", "jwt", "at+jwt", "application/at+JWT" } do assert.is_true(has(typ), typ) end
    for _, typ in ipairs { "", "secevent+jwt", "application/", "application/application/jwt", "JWT " } do
      assert.is_false(has(typ), typ)
    end
    assert.is_true(has(nil))
    assert.is_false(tokens.has_type({ header = {} }, { ["at+jwt"] = true }))
  end)

  it("never raises, whatever it is", function()
    math.randomseed(7)
    local good = make.good { sub = "ana" }
    for _ = 1, 3000 do
      local bytes = {}
      for _ = 1, math.random(1, 4) do bytes[#bytes + 1] = math.random(1, #good) end
      local text = good
      for _, at in ipairs(bytes) do
        text = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + math.random(0, 3))
      end
      local token, problem = tokens.parse(text)
      assert.is_true(token ~= nil or type(problem) == "string")
    end
  end)
end)

describe("a signature", function()
  local function verifier(algorithm, more)
    local credential = { algorithm = algorithm, secret = make.SECRET,
      rsa_public_key = make.PRIVATE[algorithm] and make.public(algorithm) }
    for name, value in pairs(more or {}) do credential[name] = value end
    return verify.of_credential(credential, false)
  end

  for _, algorithm in ipairs(algorithms.NAMES) do
    it("with " .. algorithm .. " is verified", function()
      local text = make.make({ alg = algorithm }, { iss = "app" })
      local own = assert(verifier(algorithm))
      assert.is_true(verify.is_signed(own, assert(tokens.parse(text))))
      local head, body, signature = text:match "^(.-)%.(.-)%.(.-)$"
      local bytes = crypto.base64url_decode(signature)
      for _, bad in ipairs { bytes:sub(2), bytes .. "\0", bytes:sub(1, -2), ("\0"):rep(#bytes), "\0",
        string.char(bit.bxor(bytes:byte(1), 1)) .. bytes:sub(2) } do
        assert.is_false(verify.is_signed(own, tokens.parse(head .. "." .. body .. "." .. encode(bad))))
      end
      assert.is_false(verify.is_signed(own, tokens.parse(head .. "." .. encode '{"iss":"eve"}' .. "." .. signature)))
      for _, other in ipairs(algorithms.NAMES) do
        if other ~= algorithm then
          assert.is_false(verify.is_signed(assert(verifier(other)), tokens.parse(text)), other)
        end
      end
    end)
  end

  it("with a public key as secret is worth nothing", function()
    for _, secret in ipairs { make.public "RS256", (make.public("RS256"):gsub("\n$", "")) } do
      local text = make.make({ alg = "HS256" }, { iss = "app" }, { key = secret })
      assert.is_false(verify.is_signed(verifier "RS256", tokens.parse(text)))
      local renamed = make.make({ alg = "RS256" }, { iss = "app" }, { key = secret, algorithm = "HS256" })
      assert.is_false(verify.is_signed(verifier "RS256", tokens.parse(renamed)))
    end
  end)

  it("needs a key that is one", function()
    assert.is_nil(verifier("HS256", { secret = ("s"):rep(31) }))
    assert.is_nil(verify.of_credential({ algorithm = "HS256" }, false))
    assert.is_nil(verify.of_credential({ algorithm = "RS256", secret = make.SECRET }, false))
    assert.is_nil(verifier("ES256", { rsa_public_key = make.public "ES384" }))
    assert.is_nil(verifier("RS256", { rsa_public_key = "garbage" }))
  end)

  it("with a secret in Base64 is verified with what that stands for", function()
    local secret = ("\251\239\255"):rep(12)
    for _, text in ipairs { crypto.base64_encode(secret), crypto.base64url_encode(secret) } do
      local own = assert(verify.of_credential({ algorithm = "HS256", secret = text }, true))
      assert.is_true(verify.is_signed(own, tokens.parse(make.make({ alg = "HS256" }, {}, { key = secret }))))
    end
    assert.is_nil(verify.of_credential({ algorithm = "HS256", secret = crypto.base64_encode(("s"):rep(31)) }, true))
    assert.is_nil(verify.of_credential({ algorithm = "HS256", secret = ("!"):rep(64) }, true))
  end)

  it("is verified in compiled code, and a known one at once", function()
    local token, own = tokens.parse(make.good()), verifier "HS256"
    traces.assert_compiles(function()
      token.verified_with = nil
      assert(verify.is_signed(own, token))
    end)
    known.keep("text", token)
    traces.assert_compiles(function() assert(verify.is_signed(own, known.find "text")) end)
  end)
end)

describe("claims", function()
  local NOW = 1000000

  it("say when a token is good", function()
    local function check(claims, required, leeway)
      local set = {}
      for _, name in ipairs(required or {}) do set[name] = true end
      return claims_of.check_times(claims, set, NOW, leeway or 0)
    end
    assert.is_nil(check {})
    assert.is_nil(check { exp = NOW + 1, nbf = NOW, iat = NOW + 100 })
    assert.same({ exp = "token expired" }, check { exp = NOW })
    assert.same({ exp = "token expired" }, check { exp = NOW - 1 })
    assert.is_nil(check({ exp = NOW - 1 }, {}, 2))
    assert.same({ exp = "token expired" }, check({ exp = NOW - 2 }, {}, 2))
    assert.same({ nbf = "token not valid yet" }, check { nbf = NOW + 1 })
    assert.is_nil(check({ nbf = NOW + 2 }, {}, 2))
    assert.same({ nbf = "token not valid yet" }, check({ nbf = NOW + 3 }, {}, 2))
    assert.same({ exp = "must be a number", nbf = "must be a number" }, check({}, { "exp", "nbf" }))
    assert.same({ exp = "must be a number" }, check({ exp = json.null }, { "exp" }))
    assert.same({ exp = "must be a number", nbf = "must be a number", iat = "must be a number" },
      check { exp = "9999999999", nbf = { 1 }, iat = true })
    assert.same({ exp = "token expired", nbf = "token not valid yet" }, check { exp = -1e300, nbf = 1e300 })
    traces.assert_compiles(function() check { exp = NOW + 1, nbf = NOW } end)
  end)

  it("say whom a token is for", function()
    local ours = { api = true, web = true }
    for _, aud in ipairs { "api", json.array { "x", "web" } } do
      assert.is_true(claims_of.has_audience({ aud = aud }, ours))
    end
    for _, aud in ipairs { "ap", "", json.array {}, json.array { "x" }, json.array { json.array { "api" } },
      { api = true }, 7, true, json.null } do
      assert.is_false(claims_of.has_audience({ aud = aud }, ours))
    end
    assert.is_false(claims_of.has_audience({}, ours))
  end)

  it("say what a token may do", function()
    assert.same({ read = true, write = true, admin = true }, claims_of.scopes { scope = "read  write",
      scp = json.array { "admin", 7, json.null } })
    assert.same({}, claims_of.scopes { scope = { read = true }, scp = true })
  end)

  it("are written as header fields when they can be", function()
    for _, case in ipairs {
      { "ana", "ana" }, { "", "" }, { 7, "7" }, { 1234567890123, "1234567890123" }, { 0.5, "0.5" }, { true, "true" },
      { false, "false" }, { json.array { "a", 1, true }, "a,1,true" }, { json.array {}, "" },
      { json.array { "a,b", "c" }, '["a,b","c"]' }, { json.array { json.null }, "[null]" },
      { { b = 1, a = "x" }, '{"a":"x","b":1}' }, { "zoë", "zoë" },
      { "a\r\nX-Admin: 1" }, { "a\0b" }, { "a\tb" }, { "\127" }, { " a" }, { "a " }, { json.null }, { nil },
      { json.array { "a\n" } }, { ("x"):rep(4097) }, { ("x"):rep(4096), ("x"):rep(4096) },
    } do
      assert.equal(case[2], claims_of.text(case[1]))
    end
  end)
end)

describe("known tokens", function()
  it("are kept within bounds", function()
    local before = known.KEPT
    known.KEPT = 4
    for i = 1, 20 do known.keep("t" .. i, { n = i }) end
    assert.is_nil(known.find "t1")
    assert.equal(20, known.find("t20").n)
    assert.equal(18, known.find("t18").n)
    known.keep(("x"):rep(2049), {})
    assert.is_nil(known.find(("x"):rep(2049)))
    known.KEPT = before
  end)
end)

describe("a set of keys", function()
  local function read(members, before) return jwks.read(json.encode { keys = json.array(members) }, before or {}) end

  it("has those that verify", function()
    local keys = read { make.jwk("RS256", { kid = "a", alg = "RS256", use = "sig" }), make.jwk("ES256", { kid = "b" }),
      make.jwk "EdDSA", make.jwk("RS256", { use = "enc" }), { kty = "oct", k = encode(make.SECRET) }, { kty = "EC" },
      json.null, 7, json.array {}, make.jwk("ES384", { kid = 7 }) }
    assert.equal(4, #keys)
    assert.same({ "a", "b" }, { keys[1].kid, keys[2].kid })
    assert.is_nil(keys[4].kid)
  end)

  it("keeps the same key the same", function()
    local first, by_text = read { make.jwk("RS256", { kid = "a" }), make.jwk("ES256", { kid = "b" }) }
    local second = read({ make.jwk("ES256", { kid = "b" }), make.jwk("RS256", { kid = "c" }) }, by_text)
    assert.equal(first[2], second[1])
    assert.not_equal(first[1], second[2])
  end)

  it("is refused when it is none", function()
    for _, body in ipairs { "", "null", "[]", "{}", '{"keys":{}}', '{"keys":"x"}', "<html>",
      '{"keys":[],"keys":[]}' } do
      local keys, problem = jwks.read(body, {})
      assert.is_nil(keys)
      assert.is_string(problem)
    end
    local many = {}
    for i = 1, 101 do many[i] = { kty = "oct" } end
    assert.same({ nil, "has more than 100 keys" }, { read(many) })
    assert.same({}, (jwks.read('{"keys":[]}', {})))
  end)
end)

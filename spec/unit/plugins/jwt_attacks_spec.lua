--- Tokens as they are forged (RFC 8725 section 2): each is refused, by its form or because its signature is none.
local fixture = require "unit.plugins.fixture"
local make = require "unit.plugins.jwt_tokens"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"

local load = fixture.load "jwt"
local tokens, claims_of, verify = load "token", load "claims", load "verify"

local function encode(text) return crypto.base64url_encode(text) end

local function verifier(algorithm, more)
  local credential = { algorithm = algorithm, secret = make.SECRET,
    rsa_public_key = make.PRIVATE[algorithm] and make.public(algorithm) }
  for name, value in pairs(more or {}) do credential[name] = value end
  return assert(verify.of_credential(credential, false))
end

--- Says whether a token passes with the key of an algorithm.
local function passes(algorithm, text)
  local token = tokens.parse(text)
  return token ~= nil and verify.is_signed(verifier(algorithm), token)
end

local function parts(text) return text:match "^(.-)%.(.-)%.(.-)$" end

--- Returns a token with another signature.
local function with_signature(text, signature)
  local head, body = parts(text)
  return head .. "." .. body .. "." .. encode(signature)
end

local function signature_of(text) return crypto.base64url_decode((select(3, parts(text)))) end

describe("a forged token", function()
  it("has no algorithm, however that is spelled", function()
    local _, body, signature = parts(make.good())
    for _, alg in ipairs { '"none"', '"NONE"', '"None"', '"nOnE"', '"n\\u006fne"', '"none "', '" none"',
      '"none\\u0000"',
      '"none\\u200b"', '"\239\188\174one"', '""', "null", "false", "0", "[]", '["none"]', '{"none":1}' } do
      for _, last in ipairs { "", signature, encode "\0", "bm9uZQ" } do
        assert.is_nil((tokens.parse(encode('{"typ":"JWT","alg":' .. alg .. "}") .. "." .. body .. "." .. last)), alg)
      end
    end
  end)

  it("is signed with a public key as secret", function()
    local pem = make.public "RS256"
    local der = crypto.base64_decode((pem:gsub("%-%-%-%-%-[^\n]-%-%-%-%-%-", ""):gsub("%s", "")))
    for _, algorithm in ipairs { "RS256", "PS256", "ES256", "EdDSA" } do
      local public = make.public(algorithm)
      for _, secret in ipairs { public, public:gsub("\n$", ""), public:gsub("\n", "\r\n"), public .. "\n", der,
        json.encode(make.jwk(algorithm)), make.jwk(algorithm).n or make.jwk(algorithm).x } do
        for _, hash in ipairs { "HS256", "HS384", "HS512" } do
          assert.is_false(passes(algorithm, make.make({ alg = hash }, { iss = "app" }, { key = secret })))
          assert.is_false(passes(algorithm, make.make({ alg = algorithm }, { iss = "app" },
            { key = secret, algorithm = hash })))
        end
      end
    end
  end)

  it("brings its own key, or says where one is", function()
    local own = assert(crypto.key(make.PRIVATE.ES384))
    for _, more in ipairs { { jwk = own:jwk() }, { jku = "http://127.0.0.1:1/keys" }, { x5u = "http://127.0.0.1:1/c" },
      { x5c = { "MIIB" } }, { ["x5t"] = "AAAA" }, { kid = own:thumbprint() } } do
      more.alg = "ES384"
      local text = make.make(more, { iss = "app" }, { key = own })
      assert.is_false(passes("ES256", text))
      assert.is_false(passes("RS256", text))
      more.alg = "RS256"
      assert.is_false(passes("RS256", make.make(more, { iss = "app" }, { key = own, algorithm = "ES384" })))
    end
  end)

  it("names as key what is none", function()
    for _, kid in ipairs { "../../../../dev/null", "/etc/passwd", "key' OR '1'='1", "app\0", "$(id)",
      "{vault://env/PATH}",
      "http://127.0.0.1/x" } do
      local text = make.make({ alg = "HS256", kid = kid }, { iss = "app" }, { key = "" })
      assert.is_false(passes("HS256", text), kid)
    end
  end)

  it("has a signature of zeros, of nothing or of another length", function()
    for algorithm, order in pairs { ES256 = 32, ES384 = 48, ES512 = 66 } do
      local good = make.make({ alg = algorithm }, { iss = "app" })
      assert.is_true(passes(algorithm, good))
      local zero, one = ("\0"):rep(order), ("\0"):rep(order - 1) .. "\1"
      local full = ("\255"):rep(order)
      local raw = signature_of(good)
      local r, s = raw:sub(1, order), raw:sub(order + 1)
      local bad = { zero .. zero, one .. zero, zero .. one, one .. one, full .. full, r .. zero, zero .. s, r .. full,
        full .. s, s .. r, r, s, raw .. "\0", "\0" .. raw, raw:sub(2), r .. s .. r, "" }
      local der = assert(make.key(algorithm):sign(algorithm, (good:match "^(.*)%.")  , "der"))
      bad[#bad + 1] = der
      for i, signature in ipairs(bad) do
        assert.is_false(passes(algorithm, with_signature(good, signature)), algorithm .. " " .. i)
      end
    end
  end)

  it("has r and s of the order, or beyond it", function()
    local good = make.make({ alg = "ES256" }, { iss = "app" })
    local n = crypto.hex_decode "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    local r, s = signature_of(good):sub(1, 32), signature_of(good):sub(33)
    for _, signature in ipairs { n .. n, r .. n, n .. s, n .. ("\0"):rep(31) .. "\1" } do
      assert.is_false(passes("ES256", with_signature(good, signature)))
    end
  end)

  it("mixes the paddings of RSA", function()
    for _, pair in ipairs { { "RS256", "PS256" }, { "PS256", "RS256" }, { "RS512", "PS512" }, { "RS256", "RS384" },
      { "PS512", "PS256" } } do
      local other = make.make({ alg = pair[2] }, { iss = "app" })
      assert.is_false(passes(pair[1], other))
      assert.is_false(passes(pair[1], make.make({ alg = pair[1] }, { iss = "app" }, { algorithm = pair[2] })))
    end
    local good = make.make({ alg = "RS256" }, { iss = "app" })
    local bytes = #signature_of(good)
    for _, signature in ipairs { ("\0"):rep(bytes), ("\0"):rep(bytes - 1) .. "\1", ("\255"):rep(bytes),
      signature_of(good) .. "\0", "\0" .. signature_of(good) } do
      assert.is_false(passes("RS256", with_signature(good, signature)))
    end
  end)

  it("has an Ed25519 signature that is malleable or of a small order", function()
    local good = make.make({ alg = "EdDSA" }, { iss = "app" })
    local raw = signature_of(good)
    local r, s = raw:sub(1, 32), { raw:byte(33, 64) }
    local order = { crypto.hex_decode("edd3f55c1a631258d69cf7a2def9de14" .. ("0"):rep(30) .. "10"):byte(1, 32) }
    local carry, beyond = 0, {}
    for i = 1, 32 do
      local sum = s[i] + order[i] + carry
      beyond[i], carry = string.char(sum % 256), math.floor(sum / 256)
    end
    local zero, identity = ("\0"):rep(32), "\1" .. ("\0"):rep(31)
    for _, signature in ipairs { r .. table.concat(beyond), identity .. zero, zero .. zero, ("\255"):rep(64),
      identity .. raw:sub(33), r .. zero, raw .. "\0", raw:sub(1, 63), "" } do
      assert.is_false(passes("EdDSA", with_signature(good, signature)))
    end
  end)

  it("says that its content is not encoded, or asks for extensions", function()
    for _, more in ipairs { { b64 = false, crit = { "b64" } }, { b64 = false }, { crit = { "exp" }, exp = 1 },
      { crit = {} },
      { crit = "b64" }, { crit = { "http://example.test/x" } } } do
      more.alg = "HS256"
      assert.is_nil((tokens.parse(make.make(more, { iss = "app" }))))
    end
  end)

  it("says things twice, or in a JSON that is none", function()
    for _, body in ipairs { '{"iss":"app","iss":"eve"}', [[{"iss":"app","is\u0073":"eve"}]],
      '{"iss":"app"}{"iss":"eve"}',
      '{"iss":"app"} x', '\239\187\191{"iss":"app"}', '{"iss":"app",}', "{'iss':'app'}", '{"iss":"app"/**/}',
      '{"iss":"app","exp":0x10}', '{"iss":"app","exp":NaN}', '{"iss":"app","exp":Infinity}',
        '{"iss":"app","exp":1e400}',
      '{"iss":"app","exp":+1}', '{"iss":"app","exp":01}', '{"iss":"\\ud800"}', '{"iss":"a\0b"}', '"iss"', "7", "" } do
      assert.is_nil((tokens.parse(make.make({ alg = "HS256" }, body))), body)
      assert.is_nil((tokens.parse(make.make(body, { iss = "app" }, { algorithm = "HS256" }))), body)
    end
    assert.is_nil((tokens.parse(make.make('{"alg":"HS256","alg":"none"}', {}, { algorithm = "HS256" }))))
  end)

  it("is written in another base64", function()
    local good = make.make({ alg = "HS256" }, { iss = "app?>" })
    assert.is_true(passes("HS256", good))
    local head, body, signature = parts(good)
    for _, text in ipairs { good .. "=", good .. "\n", " " .. good, good .. " ",
      head .. "=." .. body .. "." .. signature,
      head .. "." .. body .. "=." .. signature, head .. "." .. body .. " ." .. signature,
      head .. "\r\n." .. body .. "." .. signature, good:gsub("%.", "..", 1), good .. ".", "." .. good,
      head .. "." .. body:gsub("_", "/") .. "." .. signature:gsub("-", "+") .. "=" } do
      assert.is_false(passes("HS256", text), text)
    end
    for i = 1, #signature do -- no other text stands for the same signature
      local at = signature:byte(i)
      for _, other in ipairs { "A", "B", "-", "_", "z" } do
        if other:byte() ~= at then
          local text = head .. "." .. body .. "." .. signature:sub(1, i - 1) .. other .. signature:sub(i + 1)
          assert.is_false(passes("HS256", text))
        end
      end
    end
  end)

  it("has times that are none, or never come", function()
    local function errors(claims) return claims_of.check_times(claims, { exp = true }, 1000, 0) end
    for _, value in ipairs { "2000", true, false, {}, { 2000 }, json.null } do
      assert.equal("must be a number", errors { exp = value }.exp)
      if value ~= json.null then
        assert.equal("must be a number", errors({ exp = 2000, nbf = value }).nbf)
        assert.equal("must be a number", errors({ exp = 2000, iat = value }).iat)
      end
    end
    for _, value in ipairs { 1000, 999.999, 0, -1, -2 ^ 60, -1e308 } do
      assert.equal("token expired", errors({ exp = value }).exp)
    end
    for _, value in ipairs { 1000.001, 2000, 2 ^ 53, 1e308 } do
      assert.is_nil(errors { exp = value })
      assert.equal("token not valid yet", errors({ exp = 2000, nbf = value }).nbf)
    end
    assert.equal("must be a number", errors({}).exp)
    assert.is_nil(errors { exp = 2000, nbf = -1e308, iat = 1e308 }) -- when it was made is nobody's business
  end)
end)

describe("a key", function()
  it("that is too weak verifies nothing", function()
    local weak = crypto.base64url_encode("\255" .. ("\1"):rep(127)) -- 1024 bits
    for _, jwk in ipairs { { kty = "RSA", n = weak, e = "AQAB" },
      { kty = "RSA", n = make.jwk("RS256").n, e = "AQ" }, { kty = "RSA", n = make.jwk("RS256").n, e = "AA" },
      { kty = "RSA", n = make.jwk("RS256").n, e = "Ag" }, { kty = "oct", k = "AAAA" },
      { kty = "EC", crv = "P-256", x = encode(("\0"):rep(32)), y = encode(("\0"):rep(32)) },
      { kty = "EC", crv = "P-256", x = make.jwk("ES256").x, y = make.jwk("ES256").x },
      { kty = "EC", crv = "secp256k1", x = make.jwk("ES256").x, y = make.jwk("ES256").y } } do
      assert.is_nil((crypto.key(jwk)), json.encode(jwk))
    end
  end)

  it("of a small order is none: its signatures are good for every text", function()
    local SMALL = { "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
      -- the same, not in their shortest form
      "0100000000000000000000000000000000000000000000000000000000000080",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff" }
    for _, hex in ipairs(SMALL) do
      assert.is_nil((crypto.key { kty = "OKP", crv = "Ed25519", x = encode(crypto.hex_decode(hex)) }), hex)
    end
    assert.is_truthy(crypto.key(make.jwk "EdDSA"))
  end)
end)

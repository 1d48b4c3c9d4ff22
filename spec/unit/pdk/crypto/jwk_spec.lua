require "support.library"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local keys = require "unit.pdk.crypto.keys"

local RSA = { kty = "RSA", e = "AQAB", -- RFC 7515 appendix A.2
  n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
    .. "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
    .. "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
    .. "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
  d = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46su"
    .. "i395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4"
    .. "qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB"
    .. "4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ" }
local P256 = { kty = "EC", crv = "P-256", -- appendix A.3
  x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
  d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" }
local P521 = { kty = "EC", crv = "P-521", -- appendix A.4
  x = "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
  y = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
  d = "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C" }
local ED25519 = { kty = "OKP", crv = "Ed25519", -- RFC 8037 appendix A.1
  d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }

local CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
local RS256_SIGNATURE =
  "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9"
  .. "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB"
  .. "_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
  .. "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
local EDDSA_SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

local function with(members, changes)
  local copy = {}
  for name, value in pairs(members) do copy[name] = value end
  for name, value in pairs(changes) do if value == "" then copy[name] = nil else copy[name] = value end end
  return copy
end

local decode = crypto.base64url_decode
local function key_of(members)
  local key, err = crypto.key(members)
  return assert(key, err)
end

describe("JWS examples", function()
  it("of HMAC-SHA-256", function() -- RFC 7515 appendix A.1
    local key = decode "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    assert.equal("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
      crypto.base64url_encode(crypto.hmac("sha256", key, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." .. CLAIMS)))
  end)

  it("of RSA", function() -- appendix A.2
    local key = key_of(RSA)
    assert.equal(RS256_SIGNATURE, crypto.base64url_encode(key:sign("RS256", "eyJhbGciOiJSUzI1NiJ9." .. CLAIMS)))
    assert.is_true(key_of(with(RSA, { d = "" })):verify("RS256", "eyJhbGciOiJSUzI1NiJ9." .. CLAIMS,
      decode(RS256_SIGNATURE)))
  end)

  it("of ECDSA", function() -- appendices A.3 and A.4
    assert.is_true(key_of(P256):verify("ES256", "eyJhbGciOiJFUzI1NiJ9." .. CLAIMS,
      decode "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"))
    assert.is_true(key_of(P521):verify("ES512", "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
      decode("AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCA"
        .. "PZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn")))
  end)

  it("of Ed25519", function() -- RFC 8037 appendices A.3 to A.5
    local key, text = key_of(ED25519), "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    assert.equal(EDDSA_SIGNATURE, crypto.base64url_encode(key:sign("EdDSA", text)))
    assert.is_true(key_of(with(ED25519, { d = "" })):verify("EdDSA", text, decode(EDDSA_SIGNATURE)))
    assert.equal("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", key:thumbprint())
  end)
end)

describe("JWK", function()
  it("thumbprints are those of RFC 7638 section 3.1", function()
    local key = key_of { kty = "RSA", e = "AQAB", alg = "RS256", kid = "2011-04-29",
      n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        .. "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        .. "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        .. "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw" }
    assert.equal("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", key:thumbprint())
  end)

  it("exports are the public half", function()
    for _, members in ipairs { RSA, P256, P521, ED25519 } do
      assert.same(with(members, { d = "" }), key_of(members):jwk())
    end
    for _, name in ipairs { "rsa", "p256", "p384", "p521", "ed25519" } do
      local key = key_of(keys[name])
      assert.is_nil(key:jwk().d)
      assert.equal(key:thumbprint(), key_of(key:jwk()):thumbprint())
    end
  end)

  it("may come as JSON", function()
    local text = json.encode(P256)
    assert.equal(key_of(P256):thumbprint(), key_of(" \n" .. text):thumbprint())
    assert.same({ nil, "not JSON: expected , or } at byte " .. #text }, { crypto.key(text:sub(1, -2)) })
  end)

  it("members limit what a key is for", function()
    local key = key_of(with(RSA, { alg = "PS256", use = "sig", key_ops = { "verify", "sign" } }))
    assert.is_true(key:is_for "PS256")
    assert.same({ nil, "the key is for another algorithm than RS256" }, { key:verify("RS256", "x", "s") })
    for changes, problem in pairs {
      [{ use = "enc" }] = "use: expected sig",
      [{ alg = "RSA-OAEP" }] = "alg: not for signatures with this key",
      [{ alg = "HS256" }] = "alg: not for signatures with this key",
      [{ alg = "none" }] = "alg: not for signatures with this key",
      [{ alg = "ES256" }] = "alg: not for this kind of key",
      [{ key_ops = { "decrypt" } }] = "key_ops: expected sign or verify",
      [{ key_ops = "sign" }] = "key_ops: expected sign or verify",
    } do
      assert.same({ nil, "not a JWK that signs: " .. problem }, { crypto.key(with(RSA, changes)) })
    end
  end)

  for name, case in pairs {
    ["no type"] = { {}, "kty: expected RSA, EC or OKP" },
    ["a secret"] = { { kty = "oct", k = "AAAA" }, "kty: expected RSA, EC or OKP" },
    ["a wrong curve"] = { with(P256, { crv = "P-192" }), "crv: expected P%-256" },
    ["a curve of another type"] = { with(P256, { crv = "Ed25519" }), "crv: expected P%-256" },
    ["X25519"] = { with(ED25519, { crv = "X25519" }), "crv: expected P%-256" },
    ["no y"] = { with(P256, { y = "" }), "a key without x or y" },
    ["no n"] = { with(RSA, { n = "" }), "an RSA key without n or e" },
    ["a weak modulus"] = { { kty = "RSA", e = "AQAB", n = ("q"):rep(170) .. "w" }, "fewer than 2048 bits" },
    ["a huge modulus"] = { { kty = "RSA", e = "AQAB", n = ("_"):rep(1400) }, "more than 8192 bits" },
    ["an even modulus"] = { { kty = "RSA", e = "AQAB", n = ("_"):rep(341) .. "A" }, "not an RSA key" },
    ["exponent 1"] = { with(RSA, { e = "AQ", d = "" }), "unusable exponent" },
    ["an even exponent"] = { with(RSA, { e = "AQAA", d = "" }), "unusable exponent" },
    ["a long exponent"] = { with(RSA, { e = ("_"):rep(12), d = "" }), "unusable exponent" },
    ["the wrong private exponent"] = { with(RSA, { d = RSA.d:gsub("Eq5x", "Eq5y") }), "does not belong" },
    ["half of the primes"] = { with(RSA, { p = "AQAB" }), "belong together" },
    ["more than two primes"] = { with(RSA, { oth = {} }), "more than two primes" },
    ["a point off the curve"] = { with(P256, { y = P256.x }), "not a key on its curve" },
    ["the point 0, 0"] = { with(P256, { x = ("A"):rep(43), y = ("A"):rep(43), d = "" }), "not a key on its curve" },
    ["a coordinate cut short"] = { with(P256, { x = P256.x:sub(1, 42) .. "", d = "" }), "x: expected base64url" },
    ["a coordinate without its zero"] = { with(P521, { y = "pkQON2dQ0jcf0b3CyPO3" }), "length of its curve" },
    ["the wrong private number"] = { with(P256, { d = ED25519.d }), "does not belong" },
    ["the wrong public half"] = { with(ED25519, { x = P256.x }), "not a key on its curve" },
    ["padding"] = { with(P256, { x = P256.x .. "=" }), "x: expected base64url" },
    ["a number for a number"] = { with(P256, { x = 5 }), "x: expected base64url" },
    ["an endless number"] = { with(RSA, { n = ("A"):rep(100000) }), "n: expected base64url" },
  } do
    it("refuses " .. name, function()
      local key, err = crypto.key(case[1])
      assert.is_nil(key)
      assert.is_truthy(err:find("^not a JWK that signs: .*" .. case[2]), err)
    end)
  end
end)

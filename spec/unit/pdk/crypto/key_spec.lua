require "support.library"
local blames = require "support.blames"
local crypto = require "veloflux.pdk.crypto"
local keys = require "unit.pdk.crypto.keys"
local traces = require "support.traces"

local function key_of(source)
  local key, err = crypto.key(source)
  return assert(key, err)
end

local function flip(text, at)
  return text:sub(1, at - 1) .. string.char(bit.bxor(text:byte(at), 1)) .. text:sub(at + 1)
end

local function der_of(pem) return crypto.base64_decode((pem:gsub("%-%-%-%-%-[^\n]*", ""):gsub("%s", ""))) end

local ALGORITHMS = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA" }
local KEY_OF = { RS256 = "rsa", RS384 = "rsa", RS512 = "rsa", PS256 = "rsa", PS384 = "rsa", PS512 = "rsa",
  ES256 = "p256", ES384 = "p384", ES512 = "p521", EdDSA = "ed25519" }

describe("keys from PEM and DER", function()
  it("come in every form", function()
    local thumbprint = key_of(keys.rsa):thumbprint()
    for _, name in ipairs { "rsa", "rsa_pkcs1", "rsa_public", "rsa_public_pkcs1", "certificate" } do
      local is_private = not name:find "public" and name ~= "certificate"
      for _, source in ipairs { keys[name], der_of(keys[name]), "text in front\n" .. keys[name] .. "and behind" } do
        local key = key_of(source)
        assert.equal(thumbprint, key:thumbprint(), name)
        assert.equal(is_private, key:has_private())
        assert.same({ "RSA" }, { key:kind_name() })
      end
    end
    assert.equal(key_of(keys.p256):thumbprint(), key_of(keys.p256_public):thumbprint())
    for name, expected in pairs { p256 = "P-256", p384 = "P-384", p521 = "P-521" } do
      assert.same({ "EC", expected }, { key_of(keys[name]):kind_name() })
    end
    assert.same({ "OKP", "Ed25519" }, { key_of(keys.ed25519):kind_name() })
    assert.equal("EC on P-256 private key", tostring(key_of(keys.p256)))
  end)

  for name, problem in pairs {
    rsa_weak = "the RSA key has fewer than 2048 bits",
    rsa_encrypted = "the key is encrypted",
    rsa_encrypted_pkcs1 = "the key is encrypted",
    rsa_pss = "not an RSA, EC or Ed25519 key",
    ed448 = "not an RSA, EC or Ed25519 key",
    secp256k1 = "the EC key is on another curve than P-256, P-384 and P-521",
    p256_explicit = "the EC key spells out its curve instead of naming it",
  } do
    it("refuse " .. name, function() assert.same({ nil, problem }, { crypto.key(keys[name]) }) end)
  end

  it("refuse what is none", function()
    for _, text in ipairs { "", "0", "\48\0", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
      ("-----BEGIN "):rep(1000), der_of(keys.rsa_public) .. "\0", der_of(keys.rsa_public):sub(1, -2) } do
      assert.same({ nil, "no key in PEM or DER" }, { crypto.key(text) })
    end
    assert.same({ nil, "longer than a key" }, { crypto.key(("x"):rep(65537)) })
    blames.caller(function() crypto.key(5) end, "^expected a PEM, DER or JWK key, got number")
  end)

  it("bear hostile bytes", function()
    math.randomseed(20240607)
    local ders = { der_of(keys.rsa_public), der_of(keys.p256_public), der_of(keys.ed25519), der_of(keys.certificate) }
    for i = 1, 400 do
      local der = ders[i % #ders + 1]
      local at = math.random(#der)
      local changed = der:sub(1, at - 1) .. string.char(math.random(0, 255)) .. der:sub(at + math.random(0, 2))
      local key = crypto.key(changed)
      if key then key:verify(key:kind_name() == "RSA" and "RS256" or "ES256", "x", ("s"):rep(64)) end
    end
  end)
end)

describe("signatures", function()
  for _, algorithm in ipairs(ALGORITHMS) do
    it("are made and verified: " .. algorithm, function()
      local key = key_of(keys[KEY_OF[algorithm]])
      local public = key_of(key:jwk())
      assert.is_false(public:has_private())
      for _, data in ipairs { "", "text", ("long"):rep(10000) } do
        local signature = assert(key:sign(algorithm, data))
        assert.is_true(public:verify(algorithm, data, signature))
        local WRONG = { nil, "the signature is wrong" }
        assert.same(WRONG, { public:verify(algorithm, data .. "x", signature) })
        for _, at in ipairs { 1, math.floor(#signature / 2), #signature } do
          assert.same(WRONG, { public:verify(algorithm, data, flip(signature, at)) })
        end
        for _, wrong in ipairs { "", signature:sub(1, -2), signature .. "\0", "\0" .. signature,
          ("\0"):rep(#signature), ("\255"):rep(#signature) } do
          assert.same(WRONG, { public:verify(algorithm, data, wrong) })
        end
      end
      assert.same({ nil, "the key is public: it cannot sign" }, { public:sign(algorithm, "x") })
    end)
  end

  it("go with their own kind of key alone", function()
    for _, algorithm in ipairs(ALGORITHMS) do
      for name, kind in pairs { rsa = "RSA", p256 = "EC on P-256", p384 = "EC on P-384", p521 = "EC on P-521",
        ed25519 = "Ed25519" } do
        local key = key_of(keys[name])
        assert.equal(KEY_OF[algorithm] == name, key:is_for(algorithm))
        if KEY_OF[algorithm] ~= name then
          local problem = algorithm .. " needs a key of another kind: this one is " .. kind
          assert.same({ nil, problem }, { key:verify(algorithm, "x", "s") })
          assert.same({ nil, problem }, { key:sign(algorithm, "x") })
        end
      end
    end
    for _, algorithm in ipairs { "none", "HS256", "rs256", "", "RS1" } do
      assert.same({ nil, "unknown algorithm" }, { key_of(keys.rsa):verify(algorithm, "x", "s") })
      assert.is_false(key_of(keys.rsa):is_for(algorithm))
    end
  end)

  it("of one RSA scheme are none of another", function()
    local key = key_of(keys.rsa)
    for i = 1, 6 do
      local signature = key:sign(ALGORITHMS[i], "x")
      for j = 1, 6 do assert.equal(i == j or nil, (key:verify(ALGORITHMS[j], "x", signature))) end
    end
  end)

  it("of RSA are as long as the modulus, without their leading zeros they are none", function()
    local key = key_of(keys.rsa)
    for _, algorithm in ipairs { "RS256", "PS256" } do
      local signature, data
      local n = 0
      repeat -- one in 150 has one
        n = n + 1
        data = "data " .. n
        signature = key:sign(algorithm, data)
      until signature:byte(1) == 0 or n == 20000
      assert.equal(0, signature:byte(1))
      assert.is_true(key:verify(algorithm, data, signature))
      assert.same({ nil, "the signature is wrong" }, { key:verify(algorithm, data, signature:sub(2)) })
      assert.same({ nil, "the signature is wrong" }, { key:verify(algorithm, data, "\0" .. signature) })
    end
  end)

  it("of another program are understood", function()
    local function verify(name, algorithm, signature, format)
      return key_of(keys[name]):verify(algorithm, keys.message, crypto.base64_decode(signature), format)
    end
    assert.is_true(verify("rsa_public", "RS384", keys.rs384))
    assert.is_true(verify("certificate", "PS256", keys.ps256))
    assert.is_nil((verify("rsa", "PS256", keys.ps256_short_salt)))
    assert.is_true(verify("p256_public", "ES256", keys.es256_der, "der"))
    assert.is_true(verify("p384", "ES384", keys.es384_der, "der"))
    assert.is_true(verify("p521", "ES512", keys.es512_der, "der"))
    assert.is_true(verify("ed25519", "EdDSA", keys.eddsa))
    assert.is_nil((verify("p256", "ES256", keys.es256_der)))
  end)

  it("have two formats on curves, both strict", function()
    local key = key_of(keys.p256)
    local der, raw = key:sign("ES256", "x", "der"), key:sign("ES256", "x", "raw")
    assert.equal(64, #raw)
    assert.is_true(key:verify("ES256", "x", der, "der"))
    assert.is_nil((key:verify("ES256", "x", der, "raw")))
    assert.is_nil((key:verify("ES256", "x", raw, "der")))
    assert.is_nil((key:verify("ES256", "x", der .. "\0", "der")))
    -- the same numbers with a length in two bytes: BER, but not DER
    assert.is_nil((key:verify("ES256", "x", "\48\129" .. der:sub(2), "der")))
    -- 0 and 0 (CVE-2022-21449), 0 and 1, and what is 0 modulo the order
    local n = crypto.hex_decode "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    local one = ("\0"):rep(31) .. "\1"
    for _, wrong in ipairs { ("\0"):rep(64), ("\0"):rep(32) .. one, one .. ("\0"):rep(32), n .. n, n .. one } do
      assert.same({ nil, "the signature is wrong" }, { key:verify("ES256", "x", wrong) })
    end
    assert.is_nil((key:verify("ES256", "x", "\48\6\2\1\0\2\1\0", "der")))
    blames.caller(function() key:sign("ES256", "x", "jws") end, "^format: expected raw or der, got jws")
  end)

  it("of Ed25519 have one form", function() -- s below the order: RFC 8032 section 5.1.7
    local key = key_of(keys.ed25519)
    local signature = key:sign("EdDSA", "x")
    local order = crypto.hex_decode "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"
    local carry, bytes = 0, {}
    for i = 1, 32 do
      local sum = signature:byte(32 + i) + order:byte(i) + carry
      bytes[i], carry = string.char(sum % 256), math.floor(sum / 256)
    end
    assert.is_true(key:verify("EdDSA", "x", signature))
    assert.is_nil((key:verify("EdDSA", "x", signature:sub(1, 32) .. table.concat(bytes))))
  end)

  it("blame the caller for wrong types", function()
    local key = key_of(keys.p256)
    blames.caller(function() key:verify(nil, "x", "s") end, "^algorithm: expected a string, got nil")
    blames.caller(function() key:verify("ES256", nil, "s") end, "^data: expected a string")
    blames.caller(function() key:verify("ES256", "x") end, "^signature: expected a string")
    blames.caller(function() key:sign("ES256", 5) end, "^data: expected a string")
  end)

  it("compile", function()
    local key = key_of(keys.p256)
    local signature = key:sign("ES256", "x")
    traces.assert_compiles(function() return key:verify("ES256", "x", signature) end, 200)
    traces.assert_compiles(function() return key:verify("RS256", "x", signature) end, 200)
    traces.assert_compiles(function() return key:sign("ES256", "x", "der") end, 200)
  end)

  it("free their keys", function()
    for _ = 1, 300 do assert(crypto.key(keys.p256_public)) end
    collectgarbage()
    collectgarbage()
  end)
end)
